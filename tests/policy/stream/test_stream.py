"""A stream's output equals the redaction of the whole text, whatever the pieces."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.chain import Link
from wandb_governance.policy.document import parse_document
from wandb_governance.policy.engine import PolicyEngine
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.stream import StreamRedactor
from wandb_governance.policy.stream_json import JsonStreamRedactor, evaluate_json
from wandb_governance.policy.verdict import Action, Finding, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OUTPUT = RuleContext(scope=Scope.OUTPUT)
ARGS = RuleContext(scope=Scope.TOOL_ARGS)
HARD = Path(__file__).parents[3].parent / "shared" / "data" / "hard_cases" / "stream.jsonl"

DOCUMENT = """
pack: {name: stream, version: "1"}
policies:
  chain: [pii-detector, secrets]
  policy:
    pii-detector:
      entities: [EMAIL, PHONE, CREDIT_CARD, SSN, IBAN, IP, MAC_ADDRESS, CRYPTO, DATE_OF_BIRTH, PASSPORT, BANK_ACCOUNT]
      detect_patterns: [{name: employee, pattern: 'EMP \\d{3}( [A-Z]+){0,3}-X'}]
"""

TEXTS = [
    "info@example.com.au now",
    "card 4111 1111 1111 1111 end",
    "x " + "a" * 58 + "." + "b" * 60 + "@mail." + "c" * 50 + ".example.com y",
    "maria@home tomorrow",
    "María González",
    "a <P> b",
    "mail maria (at) example (dot) com ok",
    "mail maria at example dot com please",
    "ip 192.168.114.203 and ssn 536-22-8145 or 536228145 is my ssn",
    "IBAN DE89 3704 0044 0532 0130 00 and then some words",
    "IBAN GB82 WEST 1234 5698 7654 32 no more",
    "mail maria\u200b@exam\u200bple.com now",
    "call +1 (415) 555-2671 ext. 33 office or so and my account number is 12345678 ok",
    "born on March 12, 1980 in x",
    "b64 bWFyaWFAZXhhbXBsZS5jb20gaXMgbXkgbWFpbA== end",
    "url maria%40example.com, html maria&#64;example.com, json maria\\u0040example.com.",
    "password: hunter2secret! and more",
    "to [EMAIL_ADDRESS] and maria@example.com.",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcdefgh\n-----END RSA PRIVATE KEY----- done",
    "EMP 123 AB CD-X and EMP 123 AB CD and EMP 12",
    "1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0",
    "手机 13812345678。邮箱 maria@example.com。",
    "a\ud800b maria@example.com \udc00",
]
ARGUMENTS = [
    '{"to":"maria\\u0040example.com","n": [1, 4111111111111111, "x\\n\\"q"], "ssn": "536228145"}',
    '{"k":{"maria@example.com": true}, "a":  [ ] , "b": -1.5e3}',
    '{"a": "b@c.com',
    "plain maria@example.com, no json 4111 1111 1111 1111",
    '"unterminated \\',
    '{"\u00e9":"jos\u00e9@example.com \u00fc", "emoji": "\\ud83d\\ude00"}',
    "",
]


@lru_cache(maxsize=1)
def engine() -> PolicyEngine:
    return PolicyEngine.from_document(*parse_document(DOCUMENT))


def whole(text: str) -> str:
    return engine().evaluate(text, OUTPUT).text


def stream(text: Sequence[str]) -> str:
    redactor = StreamRedactor(engine(), OUTPUT)
    return "".join([*(redactor.feed(piece) for piece in text), redactor.finish()])


def splits(text: str) -> Iterator[list[str]]:
    yield list(text)
    for size in (2, 3, 7):
        yield [text[i : i + size] for i in range(0, len(text), size)]
    for cut in range(len(text) + 1):
        yield [text[:cut], text[cut:]]


@pytest.mark.parametrize("text", TEXTS)
def test_every_split_gives_the_redaction_of_the_whole(text: str) -> None:
    """All two-way splits, single characters, and pieces of 2, 3 and 7."""
    expected = whole(text)
    for pieces in splits(text):
        assert stream(pieces) == expected, pieces


_PARTS = st.sampled_from(
    [
        "maria@example.com",
        "m.g+x@exam",
        "ple.co",
        ".uk",
        "4111 1111",
        " 1111 1111",
        "+1 415 555 2671",
        "office",
        "192.168.1.",
        "14",
        "DE89 3704 0044 0532 0130 00",
        "AB12",
        "passport ",
        "X1234567",
        " at ",
        " dot ",
        "com",
        "(at)",
        "( dot",
        " )",
        "\u200b",
        "&#64;",
        "born ",
        "12 March 1980",
        "ssn ",
        "536-22-8145",
        "536228145",
        "bWFyaWFAZXhhbXBsZS5jb20=",
        "%40",
        "\\u0040",
        "[EMAIL_ADDRESS]",
        "the",
        " ",
        " ",
        "\n",
        ".",
        ",",
        "-",
        "é",
        "手机",
        "password=",
        "s3cr3t-Value9",
        "EMP 123",
        " AB",
        "-X",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_PARTS, max_size=14).map("".join), st.data())
def test_any_text_in_any_pieces_gives_the_redaction_of_the_whole(text: str, data: st.DataObject) -> None:
    """Values, fragments of values and what stands between them, cut anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert stream(pieces) == whole(text)


@pytest.mark.parametrize(
    "case",
    [json.loads(line) for line in HARD.read_text().splitlines()] if HARD.exists() else [],
    ids=lambda c: str(c["note"]),
)
def test_hard_case(case: dict[str, object]) -> None:
    """The published hard cases that are texts."""
    if "deltas" in case:
        assert stream(case["deltas"]) == whole(str(case["must_equal_redaction_of"]))  # type: ignore[arg-type]
    elif "tool_args" in case:
        pieces: list[str] = case["tool_args"]  # type: ignore[assignment]
        redactor = JsonStreamRedactor(engine(), ARGS)
        out = "".join([*(redactor.feed(piece) for piece in pieces), redactor.finish()])
        assert out == evaluate_json(engine(), "".join(pieces), ARGS).text
        if "content" not in case:
            assert json.loads(out) == {"to": "[EMAIL_ADDRESS]"}
        else:
            assert out == "".join(pieces)
            assert stream(case["content"]) == "maria@"  # type: ignore[arg-type]


def test_no_raw_prefix_ever_leaves() -> None:
    """At no moment has a part of a value gone out."""
    for text, value in [("to maria@example.com.au now", "maria@example.com.au"), ("c 4111 1111 1111 1111 e", "4111")]:
        redactor = StreamRedactor(engine(), OUTPUT)
        out = ""
        for character in text:
            out += redactor.feed(character)
            assert value[:4] not in out


def test_ordinary_text_is_held_for_a_word() -> None:
    """Latency: what is held back of plain prose is the last word."""
    text = "The quick brown fox jumped over the lazy dog near the river bank. " * 20
    redactor = StreamRedactor(engine(), OUTPUT)
    fed = 0
    for word in text.split(" "):
        redactor.feed(word + " ")
        fed += len(word) + 1
        assert fed - redactor.released_chars <= 48


def test_findings_of_a_stream_stand_where_they_stand_in_the_whole() -> None:
    """The verdict's spans are those of the whole text."""
    text = "long " * 100 + "maria@example.com and 4111 1111 1111 1111 " * 3
    redactor = StreamRedactor(engine(), OUTPUT)
    for character in text:
        redactor.feed(character)
    redactor.finish()
    expected = engine().evaluate(text, OUTPUT)
    spans = [(f.entity, f.start, f.end) for v in redactor.decision.verdicts for f in v.findings]
    assert spans == [(f.entity, f.start, f.end) for v in expected.verdicts for f in v.findings]
    assert redactor.decision.text == expected.text


def test_a_long_run_costs_linear_time() -> None:
    """A megabyte without a place to cut does not stop the stream."""
    redactor = StreamRedactor(engine(), OUTPUT)
    for _ in range(200):
        redactor.feed("a" * 100)
    assert redactor.finish() == "a" * 20_000


def test_more_held_back_than_allowed_blocks() -> None:
    """Memory of one stream is bounded."""
    redactor = StreamRedactor(engine(), OUTPUT, max_hold_chars=1_000)

    def feed_all() -> None:
        for _ in range(50):
            redactor.feed("a" * 100)

    with pytest.raises(PolicyViolation, match="1000 characters"):
        feed_all()
    assert redactor.released_chars == 0


class Denied:
    """Blocks a word wherever it stands; it has no bounds, so it judges the whole."""

    name, version = "denied", "1"

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        at = text.find("forbidden")
        return (
            ()
            if at < 0
            else (Finding(rule="d", entity="TOPIC", start=at, end=at + 9, score=1.0, explanation="denied"),)
        )


def test_a_block_in_mid_stream_says_how_much_had_gone() -> None:
    """The count is what the client has seen."""
    block = Link(name="denied", rule=Denied(), kind="topic", action=Action.BLOCK)
    redactor = StreamRedactor(PolicyEngine([block], digest="d"), OUTPUT)
    out: list[str] = []

    def feed_all() -> None:
        for n in range(200):
            out.append(redactor.feed("some words " if n != 60 else "forbidden "))

    with pytest.raises(PolicyViolation) as caught:
        feed_all()
    assert caught.value.policy == "denied"
    assert redactor.released_chars == len("".join(out)) > 400
    assert redactor.decision.action is Action.BLOCK


def test_buffer_releases_nothing_before_the_end() -> None:
    """For judges of the whole answer."""
    redactor = StreamRedactor(engine(), OUTPUT, mode="buffer")
    assert redactor.feed("plain text, plain text. ") == ""
    redactor.feed("maria@example.com")
    assert redactor.finish() == "plain text, plain text. [EMAIL_ADDRESS]"


def test_a_rule_that_needs_the_whole_text_is_waited_for() -> None:
    """A redacting rule without bounds holds all; exactness comes before latency."""
    redact = Link(name="denied", rule=Denied(), kind="x", action=Action.REDACT)
    redactor = StreamRedactor(PolicyEngine([redact], digest="d"), OUTPUT)
    assert redactor.feed("a forbidden ") == ""
    assert redactor.finish() == "a [TOPIC] "


def test_observe_changes_nothing_and_decides() -> None:
    """Shadow for streams."""
    redactor = StreamRedactor(engine(), OUTPUT, mode="observe")
    assert redactor.feed("maria@exam") + redactor.feed("ple.com") + redactor.finish() == "maria@example.com"
    assert redactor.decision.action is Action.ALLOW
    assert redactor.decision.verdicts[0].action is Action.REDACT


@pytest.mark.parametrize("text", ARGUMENTS)
def test_every_split_of_arguments_gives_the_redaction_of_the_whole(text: str) -> None:
    """Escapes cut in the middle included."""
    expected = evaluate_json(engine(), text, ARGS).text
    assert "maria" not in expected
    for pieces in splits(text):
        redactor = JsonStreamRedactor(engine(), ARGS)
        assert "".join([*(redactor.feed(piece) for piece in pieces), redactor.finish()]) == expected, pieces


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from(["a@example.com", "4111111111111111", 4111111111111111]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(_JSON, st.booleans(), st.integers(1, 9))
def test_arguments_stay_json_and_lose_every_value(value: object, ascii_only: bool, size: int) -> None:
    """What was JSON is JSON, and pieces of any size give the same."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    redactor = JsonStreamRedactor(engine(), ARGS)
    out = "".join([*(redactor.feed(text[i : i + size]) for i in range(0, len(text), size)), redactor.finish()])
    json.loads(out)
    assert out == evaluate_json(engine(), text, ARGS).text
    assert "a@example.com" not in out
    assert "4111111111111111" not in out
