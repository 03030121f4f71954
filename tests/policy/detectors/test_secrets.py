"""Credentials of every provider in the catalogue, and what only looks like one."""

from __future__ import annotations

import base64
import json
import random
import string

import pytest

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rules.secrets import SecretsRule
from wandb_governance.policy.rules.secrets_catalogue import crc_base62

RULE = SecretsRule()
_DRAW = random.Random(20)


def _random(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(_DRAW.choice(alphabet) for _ in range(length))


_HEX, _UPPER = "0123456789abcdef", string.ascii_uppercase + "234567"
_BODY = _random(30)
_JWT = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
    for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "admin": True}, {"s": "signature-like"})
)
TOKENS = {
    "OPENAI_API_KEY": "sk-proj-" + _random(48),
    "ANTHROPIC_API_KEY": "sk-ant-api03-" + _random(95),
    "AWS_ACCESS_KEY_ID": "AKIA" + _random(16, _UPPER),
    "GOOGLE_API_KEY": "AIza" + _random(35),
    "GITHUB_TOKEN": "ghp_" + _BODY + crc_base62(_BODY),
    "NPM_TOKEN": "npm_" + _BODY + crc_base62(_BODY),
    "GITLAB_TOKEN": "glpat-" + _random(20),
    "SLACK_TOKEN": "xoxb-" + _random(12, string.digits) + "-" + _random(24),
    "STRIPE_KEY": "sk_live_" + _random(24),
    "HUGGINGFACE_TOKEN": "hf_" + _random(34, string.ascii_letters),
    "SENDGRID_API_KEY": "SG." + _random(22) + "." + _random(43),
    "DATABRICKS_TOKEN": "dapi" + _random(32, _HEX),
    "LANGSMITH_API_KEY": "lsv2_pt_" + _random(32, _HEX) + "_" + _random(10, _HEX),
    "GROQ_API_KEY": "gsk_" + _random(52),
    "TELEGRAM_BOT_TOKEN": _random(9, "123456789") + ":AA" + _random(33),
    "JWT": _JWT,
}


@pytest.mark.parametrize("entity", TOKENS)
@pytest.mark.parametrize("frame", ["key {} end", '{{"k": "{}"}}', "X={}", "{}", "`{}`"])
def test_a_token_is_found_whole(entity: str, frame: str) -> None:
    """The finding is the token, however it is quoted."""
    text = frame.format(TOKENS[entity])
    assert [(f.entity, text[f.start : f.end]) for f in RULE.find(text)] == [(entity, TOKENS[entity])]


@pytest.mark.parametrize(
    ("text", "value", "entity"),
    [
        ("postgres://app:S3cr3t!pw@db.example.com:5432/x", "S3cr3t!pw", "URL_PASSWORD"),
        ("redis://:p4ssw0rd@cache:6379", "p4ssw0rd", "URL_PASSWORD"),
        ("password = Tr0ub4dor&3", "Tr0ub4dor&3", "SECRET"),
        ('{"client_secret": "a8f5f167f44f4964e6c998dee827110c"}', "a8f5f167f44f4964e6c998dee827110c", "SECRET"),
        ("Authorization: Bearer abcDEF123456ghiJKL7890", "abcDEF123456ghiJKL7890", "AUTHORIZATION"),
        ("WANDB_API_KEY=" + "0123456789abcdef" * 2 + "01234567", "0123456789abcdef" * 2 + "01234567", "WANDB_API_KEY"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzQWErty12",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzQWErty12",
            "AWS_SECRET_ACCESS_KEY",
        ),
    ],
)
def test_a_value_is_told_by_its_name(text: str, value: str, entity: str) -> None:
    """The name tells, the value is what is found."""
    assert [(f.entity, text[f.start : f.end]) for f in RULE.find(text)] == [(entity, value)]


@pytest.mark.parametrize("armour", ["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
def test_a_private_key_is_found_to_its_end_or_as_far_as_it_goes(armour: str) -> None:
    """Whole block, and a block that was cut off."""
    body = "\n".join(_random(64) for _ in range(3))
    whole = f"-----BEGIN {armour}-----\n{body}\nab12==\n-----END {armour}-----"
    cut = f"-----BEGIN {armour}-----\n{body}\nab12"
    for text in (whole, cut):
        assert [(f.start, f.end) for f in RULE.find(f"x {text}")] == [(2, 2 + len(text))]


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 1024, token_count = 123456789, token = tokenizer.encode(text)",
        'api_key = os.environ["OPENAI_API_KEY"], password=<your-password>, secret: ${SECRET}',
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx and AKIAIOSFODNN7EXAMPLE and ghp_" + "x" * 36,
        "git commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "The secret is: patience. Password is required. The token is invalid.",
        "postgres://user:password@localhost/db and https://example.com:8080/path@x",
        "uuid 6fba579b-3182-4e0a-84fd-2ec50d44edc5",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "eyJub3QiOiJhIGp3dCJ9.abcdefghij.abcdefghij",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    """Placeholders, code, hashes and prose."""
    assert [text[f.start : f.end] for f in RULE.find(text)] == []


def test_a_checksum_raises_the_score() -> None:
    """A GitHub token whose CRC fits is certain; one that was mistyped still counts."""
    good, bad = (
        TOKENS["GITHUB_TOKEN"],
        TOKENS["GITHUB_TOKEN"][:-1] + ("a" if TOKENS["GITHUB_TOKEN"][-1] != "a" else "b"),
    )
    assert [RULE.find(text)[0].score for text in (good, bad)] == [1.0, 0.7]


@pytest.mark.parametrize("encode", [lambda s: s.replace("A", "%41"), lambda s: base64.b64encode(s.encode()).decode()])
def test_an_encoded_key_is_found_where_it_stands(encode) -> None:
    """Percent signs or base64 don't hide it."""
    text = f"see {encode(TOKENS['AWS_ACCESS_KEY_ID'])} here"
    (finding,) = RULE.find(text)
    assert (finding.entity, finding.start, finding.end) == ("AWS_ACCESS_KEY_ID", 4, len(text) - 5)


def test_ordinary_prompts_hold_no_secret(shared_rows) -> None:
    """No false alarm on the shared benign prompts."""
    names = ("alpaca_seed_benign", "awesome_roleplay_benign", "notinject_one_two")
    texts = [row["text"] for name in names for row in shared_rows(name)]
    assert sum(len(RULE.find(text)) for text in texts) == 0


@pytest.mark.parametrize("options", [{"entities": ["NOPE"]}, {"kinds": []}, {"threshold": "high"}])
def test_a_wrong_option_is_refused(options: dict[str, object]) -> None:
    """The error names the key."""
    with pytest.raises(PolicyDocumentError) as caught:
        SecretsRule.from_options(options)
    assert caught.value.key in options
