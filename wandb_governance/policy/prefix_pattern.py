"""From a pattern to one that matches every beginning of its matches.

A stream may release a text only up to where no pattern can still grow. ``prefix_pattern`` gives, for any RE2 pattern,
the pattern of all prefixes of what it matches; anchored to the end of a buffer, its leftmost match is where to stop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d+)(,(\d*))?\})\??")
_ESCAPE = re.compile(r"\\(?:[pP](?:\{\^?\w+\}|\w)|x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|[0-7]{1,3}|.)", re.DOTALL)
_POSIX = re.compile(r"\[:\^?\w+:\]")
_FLAGS = re.compile(r"\(\?([a-zA-Z-]*)(:|\))")
_NAMED = re.compile(r"\(\?P?<\w+>")
_ZERO_WIDTH = frozenset({"\\b", "\\B", "\\A", "\\z", "^", "$"})


def prefix_pattern(regex: str) -> str:
    r"""A pattern for every prefix, empty and whole included, of every text that ``regex`` matches.

    Args:
        regex: RE2 syntax. Groups of the result do not capture.

    Raises:
        ValueError: The pattern uses ``\Q``, which is not read here, or is no pattern.
    """
    reader = _Reader(regex)
    node = reader.alternatives()
    if reader.at < len(regex):
        raise ValueError(f"unbalanced bracket in {regex!r}")
    return node.prefixes()


@dataclass(slots=True)
class _Atom:
    source: str

    def whole(self) -> str:
        return self.source

    def prefixes(self) -> str:
        return "" if self.source in _ZERO_WIDTH or self.source.startswith("(?") else f"(?:{self.source})?"


@dataclass(slots=True)
class _Concat:
    parts: list[_Node] = field(default_factory=list)

    def whole(self) -> str:
        return "(?:" + "".join(part.whole() for part in self.parts) + ")"

    def prefixes(self) -> str:
        rest = ""
        for part in reversed(self.parts):
            first = part.prefixes()
            # The whole part followed by a prefix of the rest, or a prefix of the part alone.
            rest = f"(?:{part.whole()}{rest}|{first})" if rest or not first else first
        return rest


@dataclass(slots=True)
class _Alternatives:
    branches: list[_Concat]

    def whole(self) -> str:
        return "(?:" + "|".join(branch.whole() for branch in self.branches) + ")"

    def prefixes(self) -> str:
        return "(?:" + "|".join(branch.prefixes() for branch in self.branches) + ")"


@dataclass(slots=True)
class _Group:
    opening: str
    inner: _Alternatives

    def whole(self) -> str:
        return f"{self.opening}{self.inner.whole()})"

    def prefixes(self) -> str:
        return f"{self.opening}{self.inner.prefixes()})"


@dataclass(slots=True)
class _Repeat:
    part: _Node
    quantifier: str
    most: int | None
    """None for no limit."""

    def whole(self) -> str:
        return f"(?:{self.part.whole()}){self.quantifier}"

    def prefixes(self) -> str:
        before = f"(?:{self.part.whole()})" + ("*" if self.most is None else f"{{0,{max(self.most - 1, 0)}}}")
        return f"(?:{before}{self.part.prefixes()})"


_Node = _Atom | _Concat | _Alternatives | _Group | _Repeat


class _Reader:
    def __init__(self, regex: str) -> None:
        self._regex = regex
        self.at = 0

    def alternatives(self) -> _Alternatives:
        branches = [_Concat()]
        while self.at < len(self._regex) and self._regex[self.at] != ")":
            if self._regex[self.at] == "|":
                self.at += 1
                branches.append(_Concat())
                continue
            branches[-1].parts.append(self._quantified(self._one()))
        return _Alternatives(branches)

    def _quantified(self, node: _Node) -> _Node:
        while match := _QUANTIFIER.match(self._regex, self.at):
            self.at = match.end()
            node = _Repeat(node, match.group().rstrip("?") or "?", _most(match))
        return node

    def _one(self) -> _Node:
        character = self._regex[self.at]
        if character == "(":
            return self._group()
        if character == "[":
            return _Atom(self._class())
        if character == "\\":
            match = _ESCAPE.match(self._regex, self.at)
            if match is None or match.group() in {"\\Q", "\\E"}:
                raise ValueError(f"can't read the escape at {self.at} of {self._regex!r}")
            self.at = match.end()
            return _Atom(match.group())
        self.at += 1
        return _Atom(character)

    def _group(self) -> _Node:
        opening = "(?:"
        if match := _NAMED.match(self._regex, self.at):
            self.at = match.end()
        elif match := _FLAGS.match(self._regex, self.at):
            self.at = match.end()
            if match.group(2) == ")":
                return _Atom(match.group())
            opening = match.group()
        else:
            self.at += 1
        inner = self.alternatives()
        if self.at >= len(self._regex):
            raise ValueError(f"unbalanced bracket in {self._regex!r}")
        self.at += 1
        return _Group(opening, inner)

    def _class(self) -> str:
        start = self.at
        self.at += 2 if self._regex.startswith("[^", start) else 1
        if self._regex.startswith("]", self.at):
            self.at += 1
        while self.at < len(self._regex) and self._regex[self.at] != "]":
            posix = _POSIX.match(self._regex, self.at)
            escape = _ESCAPE.match(self._regex, self.at)
            self.at = posix.end() if posix else escape.end() if escape else self.at + 1
        self.at += 1
        return self._regex[start : self.at]


def _most(match: re.Match[str]) -> int | None:
    quantifier = match.group()
    if quantifier[0] == "?":
        return 1
    if quantifier[0] in "*+":
        return None
    least, comma, most = match.groups()
    if not comma:
        return int(least)
    return int(most) if most else None
