"""Redact JSON that arrives in pieces, such as a tool call's arguments: inside its strings, never across them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.engine import conclude, make_verdict
from wandb_governance.policy.redaction import redact
from wandb_governance.policy.verdict import Action, Decision, Mode

if TYPE_CHECKING:
    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.stream import StreamMode
    from wandb_governance.policy.verdict import Finding

_STOPS = frozenset({Action.BLOCK, Action.ESCALATE})
_PLAIN = re.compile(r'[^"\\]+')
_SPACE = re.compile(r"\s+")
_BARE = re.compile(r'[^"{}\[\],:]+')


class JsonStreamRedactor:
    """The arguments of one tool call. The same port as ``StreamRedactor``.

    Escapes are decoded before a value is looked at and written again after. A value is read together with its key, so
    that ``{"ssn": "536228145"}`` says what the number is. Text that is no JSON is redacted all the same.

    Args:
        engine: The policies.
        context: Scope and what else is known.
        mode: As for ``StreamRedactor``.
        max_hold_chars: A value longer than this is blocked.
    """

    def __init__(
        self,
        engine: PolicyEngine,
        context: RuleContext,
        *,
        mode: StreamMode = "exact",
        max_hold_chars: int | None = None,
    ) -> None:
        self._engine = engine
        self._context = context
        self._mode = mode
        self._max_hold = max_hold_chars
        self._rest: list[str] = []
        self._token: list[str] = []
        self._token_length = 0
        self._in_string = False
        self._escaped = False
        self._read = 0
        self._key: str | None = None
        self._last: str | None = None
        self._depth: list[str] = []
        self._found: dict[str, list[Finding]] = {}
        self._failed: dict[str, str] = {}
        self._out: list[str] = []
        self._closed = False
        self.released_chars = 0

    def feed(self, text: str) -> str:
        """Take a piece; return what may go out now.

        Raises:
            PolicyViolation: A policy blocks a value; neither it nor what follows goes out.
        """
        if self._closed:
            raise ValueError("the stream is finished")
        if self._mode == "exact":
            return self._release(self._consume(text))
        self._rest.append(text)
        return self._release(text) if self._mode == "observe" else ""

    def finish(self) -> str:
        """The rest, once the text is whole.

        Raises:
            PolicyViolation: A policy blocks.
        """
        if self._closed:
            return ""
        self._closed = True
        text = self._consume("".join(self._rest)) + self._end_token()
        return "" if self._mode == "observe" else self._release(text)

    @property
    def decision(self) -> Decision:
        """What was decided. A finding spans the whole JSON value that it is in."""
        links = self._engine.links_on(self._context.scope)
        verdicts = [
            make_verdict(link, self._context.scope, tuple(self._found.get(link.name, ())), self._failed.get(link.name))
            for link in links
        ]
        if self._mode == "observe":
            verdicts = [replace(verdict, mode=Mode.SHADOW) for verdict in verdicts]
        decision = conclude("", verdicts, links, digest=self._engine.digest)
        return replace(decision, text="".join(self._out))

    def _consume(self, text: str) -> str:
        parts: list[str] = []
        at = 0
        while at < len(text):
            if self._in_string:
                at = self._string(text, at, parts)
                continue
            match = _SPACE.match(text, at) if not self._token_length else None
            match = match or _BARE.match(text, at)
            if match is not None and self._token_length == 0 and match.re is _SPACE:
                self._read += len(match.group())
                parts.append(match.group())
            elif match is not None:
                self._take(match.group())
            else:
                parts.append(self._end_token() + self._mark(text[at]))
            at = match.end() if match is not None else at + 1
        return "".join(parts)

    def _string(self, text: str, at: int, parts: list[str]) -> int:
        if self._escaped:
            self._escaped = False
            self._take(text[at])
            return at + 1
        match = _PLAIN.match(text, at)
        if match is not None:
            self._take(match.group())
            return match.end()
        self._take(text[at])
        if text[at] == "\\":
            self._escaped = True
        else:
            self._in_string = False
            parts.append(self._end_token())
        return at + 1

    def _take(self, piece: str) -> None:
        self._token.append(piece)
        self._token_length += len(piece)
        if self._max_hold is not None and self._token_length > self._max_hold and self._mode == "exact":
            self._stop("stream", f"a value of more than {self._max_hold} characters")

    def _mark(self, character: str) -> str:
        """Take a quote or a bracket; what of it goes out at once."""
        if character == '"':
            self._in_string = True
            self._take(character)
            return ""
        self._read += 1
        if character == ":":
            self._key = self._last
        elif character in "{[":
            self._depth.append(character)
            self._key = None if character == "{" else self._key
        elif character in "}]":
            del self._depth[-1:]
            self._key = None
        elif self._depth[-1:] != ["["]:
            self._key = None
        return character

    def _end_token(self) -> str:
        lexeme = "".join(self._token)
        self._token.clear()
        self._token_length = 0
        self._in_string = self._escaped = False
        start = self._read
        self._read += len(lexeme)
        if not lexeme:
            return ""
        if not lexeme.startswith('"'):
            self._last = None
            value = self._judge(lexeme, start, len(lexeme))
            if value == lexeme:
                return lexeme
            return json.dumps(value) if _is_number(lexeme) else value
        value, closed = _decode(lexeme)
        self._last = value
        changed = self._judge(value, start, len(lexeme))
        if changed == value:
            return lexeme
        written = json.dumps(changed, ensure_ascii=lexeme.isascii())
        return written if closed else written[:-1]

    def _judge(self, value: str, start: int, length: int) -> str:
        prefix = f"{self._key}: " if self._key else ""
        decision = self._engine.evaluate(prefix + value, self._context)
        redacting: list[tuple[list[Finding], object]] = []
        for verdict, link in zip(decision.verdicts, self._engine.links_on(self._context.scope), strict=True):
            if verdict.failure:
                self._failed[verdict.policy] = verdict.failure
            inside = [
                replace(f, start=max(f.start - len(prefix), 0), end=f.end - len(prefix))
                for f in verdict.findings
                if f.end > len(prefix) or f.start == f.end
            ]
            if inside and verdict.effective is Action.REDACT:
                redacting.append((inside, link.replacer_in(self._context.scope, self._context.session)))
            kept = self._found.setdefault(verdict.policy, [])
            kept.extend(replace(f, start=start, end=start + length) for f in inside)
            if verdict.effective in _STOPS and (inside or verdict.failure) and self._mode != "observe":
                self._stop(verdict.policy, *(f.explanation or f.entity for f in inside))
        return redact(value, redacting) if redacting else value  # type: ignore[arg-type]

    def _stop(self, policy: str, *reasons: str) -> None:
        self._closed = True
        self._token.clear()
        raise PolicyViolation(policy=policy, scope=self._context.scope, reasons=reasons)

    def _release(self, text: str) -> str:
        self._out.append(text)
        self.released_chars += len(text)
        return text


def evaluate_json(engine: PolicyEngine, text: str, context: RuleContext) -> Decision:
    """Decide on JSON that is whole, with the same answer as a stream of it."""
    redactor = JsonStreamRedactor(engine, context)
    try:
        redactor.feed(text)
        redactor.finish()
    except PolicyViolation:
        return replace(redactor.decision, text="")
    return redactor.decision


def _decode(lexeme: str) -> tuple[str, bool]:
    """The text of a JSON string, and whether it was closed; what is wrongly escaped is taken as it stands."""
    closed = len(lexeme) > 1 and lexeme.endswith('"') and not _ends_escaped(lexeme)
    try:
        value = json.loads(lexeme if closed else lexeme + '"', strict=False)
    except ValueError:
        return lexeme[1:-1] if closed else lexeme[1:], closed
    return str(value), closed


def _ends_escaped(lexeme: str) -> bool:
    body = lexeme[1:-1]
    return (len(body) - len(body.rstrip("\\"))) % 2 == 1


def _is_number(lexeme: str) -> bool:
    try:
        return isinstance(json.loads(lexeme), int | float)
    except ValueError:
        return False
