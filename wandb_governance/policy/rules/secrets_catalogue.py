"""Every pattern of a credential: provider prefixes, checksums where the provider has one, assignments by name."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from wandb_governance.policy.rules.patterns import Pattern, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLACEHOLDER = re.compile(
    r"(?i)(?:x{4,}|\*{3,}|\.{3,}|…|<[^>]*>|\$\{|\{\{|%\(|\[redacted|redacted|your[_-]|my[_-]?(?:secret|key|token|password)|"
    r"example|changeme|change[_-]me|placeholder|dummy|insert|replace[_-]?me|todo|^\$|^%|^env[.:]|getenv|os\.environ|process\.env|"
    r"^null$|^none$|^true$|^false$|^undefined$|^(?:a-z|0-9)|^sk-\.\.)"
)
_COMMON_PASSWORDS = frozenset(
    {"password", "passwd", "pass", "pwd", "secret", "user", "username", "required", "optional", "string"}
)
_CODE = re.compile(
    r"[()\[\]{}]|^[a-z_]+(?:\.[a-z_]+)+$|^[a-z]+(?:[_-][a-z]+)*$|^[A-Z]+(?:_[A-Z]+)*$|^[A-Z][a-z]+(?:[A-Z][a-z]+)*$|^[a-z]+(?:[A-Z][a-z]+)+$|^/|^https?:|^\d{1,9}$"
)


def entropy_bits(value: str) -> float:
    """Shannon entropy of the characters of ``value``, in bits a character."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


def _whole(text: str, start: int, end: int) -> bool:
    """Whether neither neighbour could belong to the token."""
    previous = text[start - 1] if start else ""
    following = text[end] if end < len(text) else ""
    return not (previous.isalnum() or following.isalnum() or previous == "_" or following == "_")


def _random(score: float, *, bits: float = 2.8, prefix: int = 0) -> Callable[[str, int, int], Iterator[Span]]:
    """A judge for tokens with a known prefix: the rest must look random and be no placeholder."""

    def judge(text: str, start: int, end: int) -> Iterator[Span]:
        value = text[start:end]
        body = value[prefix:]
        if _whole(text, start, end) and entropy_bits(body) >= bits and not _PLACEHOLDER.search(body):
            yield Span(start, end, score)

    return judge


def crc_base62(body: str) -> str:
    """CRC-32 of ``body`` in six base-62 digits, as GitHub and npm append it to their tokens.

    Source:
        GitHub blog, "Behind GitHub's new authentication token formats" (2021-04-05).
    """
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, remainder = divmod(number, 62)
        digits = _BASE62[remainder] + digits
    return digits.rjust(6, "0")


def _checksummed(prefix: int) -> Callable[[str, int, int], Iterator[Span]]:
    def judge(text: str, start: int, end: int) -> Iterator[Span]:
        body = text[start + prefix : end]
        if not _whole(text, start, end):
            return
        if crc_base62(body[:-6]) == body[-6:]:
            yield Span(start, end, 1.0)
        elif entropy_bits(body) >= 3.0 and not _PLACEHOLDER.search(body):
            # A mistyped or cut token still tells most of the real one.
            yield Span(start, end, 0.7)

    return judge


def _jwt(text: str, start: int, end: int) -> Iterator[Span]:
    head = text[start:end].split(".", 1)[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return
    if isinstance(header, dict) and ("alg" in header or "typ" in header):
        yield Span(start, end, 0.95)


def _password_in_url(text: str, start: int, end: int) -> Iterator[Span]:
    value = text[start:end]
    if not _PLACEHOLDER.search(value) and value.lower() not in _COMMON_PASSWORDS:
        yield Span(start, end, 0.9)


def _assigned(text: str, start: int, end: int) -> Iterator[Span]:
    while end > start and text[end - 1] in ".,;:!?)]}'\"`":
        end -= 1
    value = text[start:end]
    if len(value) < 8 or _PLACEHOLDER.search(value) or _CODE.search(value) or value.lower() in _COMMON_PASSWORDS:
        return
    kinds = sum(
        (any(map(str.isdigit, value)), any(map(str.islower, value)), any(map(str.isupper, value)), not value.isalnum())
    )
    if len(value) >= 16 and entropy_bits(value) >= 3.0 and any(map(str.isdigit, value)):
        yield Span(start, end, 0.8)
    elif kinds >= 3 or (kinds == 2 and entropy_bits(value) >= 2.5 and any(map(str.isdigit, value))):
        yield Span(start, end, 0.6)


# entity, regex, characters of the fixed prefix
_TOKENS: tuple[tuple[str, str, int], ...] = (
    ("AWS_ACCESS_KEY_ID", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", 4),
    ("OPENAI_API_KEY", r"\bsk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}", 8),
    ("OPENAI_API_KEY", r"\bsk-[A-Za-z0-9]{32,}\b", 3),
    ("ANTHROPIC_API_KEY", r"\bsk-ant-[A-Za-z0-9]{3,10}-[A-Za-z0-9_-]{20,}", 13),
    ("OPENROUTER_API_KEY", r"\bsk-or-v1-[0-9a-f]{32,64}\b", 9),
    ("GOOGLE_API_KEY", r"\bAIza[0-9A-Za-z_-]{35}", 4),
    ("GOOGLE_OAUTH_TOKEN", r"\bya29\.[0-9A-Za-z_-]{20,}", 5),
    ("GOOGLE_OAUTH_SECRET", r"\bGOCSPX-[0-9A-Za-z_-]{28}", 7),
    ("AZURE_CLIENT_SECRET", r"\b[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", 6),
    ("AZURE_AI_KEY", r"\b[A-Za-z0-9]{44,60}JQQJ99[A-Za-z0-9]{16,32}\b", 0),
    ("GITLAB_TOKEN", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas)-[\w-]{20,}(?:\.[0-9a-z]{2}\.?[0-9a-z]{7,})?", 6),
    ("SLACK_TOKEN", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}", 5),
    ("SLACK_TOKEN", r"\bxapp-\d-[0-9A-Z]+-\d+-[0-9a-f]{32,}", 7),
    ("SLACK_WEBHOOK", r"\bhooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}", 24),
    ("STRIPE_KEY", r"\b(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16,}", 8),
    ("STRIPE_WEBHOOK_SECRET", r"\bwhsec_[0-9A-Za-z+/=]{24,}", 6),
    ("HUGGINGFACE_TOKEN", r"\b(?:hf|api_org)_[A-Za-z0-9]{30,40}\b", 3),
    ("WANDB_API_KEY", r"\bwandb_v1_[A-Za-z0-9_]{32,}", 9),
    ("PYPI_TOKEN", r"\bpypi-AgE[0-9A-Za-z_-]{40,}", 8),
    ("GROQ_API_KEY", r"\bgsk_[A-Za-z0-9]{40,60}\b", 4),
    ("XAI_API_KEY", r"\bxai-[A-Za-z0-9]{60,90}\b", 4),
    ("PERPLEXITY_API_KEY", r"\bpplx-[A-Za-z0-9]{40,60}\b", 5),
    ("REPLICATE_TOKEN", r"\br8_[A-Za-z0-9]{37}\b", 3),
    ("LANGSMITH_API_KEY", r"\blsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}\b", 8),
    ("LANGFUSE_KEY", r"\bsk-lf-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", 6),
    ("PINECONE_API_KEY", r"\bpcsk_[A-Za-z0-9_]{40,}", 5),
    ("SENDGRID_API_KEY", r"\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}", 3),
    ("TWILIO_KEY", r"\b(?:SK|AC)[0-9a-f]{32}\b", 2),
    ("MAILGUN_KEY", r"\bkey-[0-9a-f]{32}\b", 4),
    ("DIGITALOCEAN_TOKEN", r"\bdo[opr]_v1_[0-9a-f]{64}\b", 7),
    ("DATABRICKS_TOKEN", r"\bdapi[0-9a-f]{32}(?:-\d)?\b", 4),
    ("SHOPIFY_TOKEN", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b", 6),
    ("SQUARE_TOKEN", r"\bsq0(?:atp|csp|idp)-[0-9A-Za-z_-]{22,43}", 7),
    ("TELEGRAM_BOT_TOKEN", r"\b\d{8,10}:AA[0-9A-Za-z_-]{32,33}", 0),
    ("DISCORD_TOKEN", r"\b[MNO][A-Za-z\d_-]{23,27}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,38}", 0),
    ("NOTION_TOKEN", r"\b(?:ntn_|secret_)[A-Za-z0-9]{40,50}\b", 4),
    ("LINEAR_API_KEY", r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,64}\b", 8),
    ("VAULT_TOKEN", r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}", 4),
    ("GRAFANA_TOKEN", r"\bgl(?:sa|c)_[A-Za-z0-9+/=_]{32,}", 4),
    ("NEW_RELIC_KEY", r"\bNRAK-[A-Z0-9]{27}\b", 5),
    ("SENTRY_TOKEN", r"\bsntry[su]_[A-Za-z0-9+/=_]{40,}", 7),
    ("FIGMA_TOKEN", r"\bfig[dour]_[A-Za-z0-9_-]{40,}", 5),
    ("DOCKER_TOKEN", r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}", 9),
    ("POSTMAN_KEY", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b", 5),
    ("DOPPLER_TOKEN", r"\bdp\.(?:pt|st|ct|sa)\.[A-Za-z0-9._-]{40,}", 6),
    ("PLANETSCALE_TOKEN", r"\bpscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{32,}", 11),
    ("AGE_SECRET_KEY", r"\bAGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}\b", 16),
    ("TAVILY_API_KEY", r"\btvly-(?:dev-|prod-)?[A-Za-z0-9]{20,}\b", 5),
    ("NVIDIA_API_KEY", r"\bnvapi-[A-Za-z0-9_-]{40,}", 6),
    ("FIREWORKS_API_KEY", r"\bfw_[A-Za-z0-9]{22,40}\b", 3),
)  # fmt: skip

_NAMES = (
    r"(?:api[_ -]?key|apikey|secret(?:[_ -]?(?:key|access[_ -]?key))?|access[_ -]?key|"
    r"(?:auth|access|refresh|bearer|session|id)[_ -]?token|"
    r"token|passwd|password|passwort|passphrase|pwd|client[_ -]?secret|private[_ -]?key|credentials?|"
    r"contraseña|mot de passe)"
)
_OPEN, _VALUE = r"[\"'`]?", r"([^\s\"'`,;<>|]{8,256})"

_GIVEN = r"[\"'`]?\s{0,3}(?:=|:|is|=>|:=)\s{0,3}[\"'`]?"
_ARMOUR = r"[A-Z0-9 ]{0,20}PRIVATE KEY(?: BLOCK)?"
_LINE_END = r"(?:\\[nr]|\s)"

_SPECIAL: tuple[Pattern, ...] = (
    Pattern(
        rule="secrets.github_token",
        entity="GITHUB_TOKEN",
        regex=r"\bgh[pousr]_[A-Za-z0-9]{36}\b",
        judge=_checksummed(4),
        explanation="prefix and CRC-32",
    ),
    Pattern(
        rule="secrets.github_fine_grained_token",
        entity="GITHUB_TOKEN",
        regex=r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b",
        judge=_random(0.95, prefix=11),
        explanation="prefix and length",
    ),
    Pattern(
        rule="secrets.npm_token",
        entity="NPM_TOKEN",
        regex=r"\bnpm_[A-Za-z0-9]{36}\b",
        judge=_checksummed(4),
        explanation="prefix and CRC-32",
    ),
    Pattern(
        rule="secrets.jwt",
        entity="JWT",
        regex=r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        judge=_jwt,
        explanation="three parts, of which the first is a JOSE header",
    ),
    Pattern(
        rule="secrets.private_key",
        entity="PRIVATE_KEY",
        regex=rf"(?s)-----BEGIN {_ARMOUR}-----.*?-----END {_ARMOUR}-----",
        score=1.0,
        explanation="PEM block",
    ),
    Pattern(
        rule="secrets.private_key_cut",
        entity="PRIVATE_KEY",
        regex=rf"-----BEGIN {_ARMOUR}-----{_LINE_END}*(?:[A-Za-z0-9+/=]{{16,}}{_LINE_END}+)*[A-Za-z0-9+/=]*",
        score=0.95,
        explanation="PEM block whose end is missing",
    ),
    Pattern(
        rule="secrets.url_password",
        entity="URL_PASSWORD",
        regex=r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]*:([^\s/@\"'<>]{3,}(?:@[^\s/@\"'<>.]+)*)@[a-z0-9\[]",
        group=1,
        judge=_password_in_url,
        explanation="password in a URL",
    ),
    Pattern(
        rule="secrets.azure_account_key",
        entity="AZURE_STORAGE_KEY",
        regex=r"(?i)AccountKey=([A-Za-z0-9+/]{60,90}={0,2})",
        group=1,
        score=1.0,
        explanation="storage connection string",
    ),
    Pattern(
        rule="secrets.azure_sas",
        entity="AZURE_SAS_SIGNATURE",
        regex=r"[?&]s(?:v|ig|p|e)=[^\s\"']{10,}[?&]sig=([A-Za-z0-9%+/]{40,70}(?:%3[dD]|=)?)",
        group=1,
        score=0.95,
        explanation="shared access signature",
    ),
    Pattern(
        rule="secrets.aws_secret_key",
        entity="AWS_SECRET_ACCESS_KEY",
        regex=r"(?i)aws[a-z0-9_ .-]{0,20}(?:secret|sk)[a-z0-9_ .-]{0,20}"
        + _GIVEN
        + r"([A-Za-z0-9/+]{40})\b",
        group=1,
        judge=_random(1.0, bits=3.5),
        explanation="40 characters after the name of an AWS secret",
    ),
    Pattern(
        rule="secrets.wandb_api_key",
        entity="WANDB_API_KEY",
        regex=r"(?i)(?:wandb|weights ?(?:&|and) ?biases|w&b)[a-z0-9_ .-]{0,30}"
        r"[\"'`]?\s{0,3}(?:=|:|is|=>|:=|login)?\s{0,3}[\"'`]?\b([0-9a-f]{40})\b",
        group=1,
        judge=_random(0.95, bits=2.8),
        explanation="40 hexadecimal digits after the name of W&B",
    ),
    Pattern(
        rule="secrets.authorization",
        entity="AUTHORIZATION",
        regex=r"(?i)\b(?:bearer|basic|authorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?:token|apikey|bearer|basic)?)\s{1,3}([A-Za-z0-9._~+/-]{16,}={0,2})",
        group=1,
        judge=_assigned,
        explanation="credentials of an authorization header",
    ),
    Pattern(
        rule="secrets.assignment",
        entity="SECRET",
        regex=rf"(?i)\b[a-z0-9_.-]{{0,40}}{_NAMES}\b[a-z0-9_.-]{{0,20}}{_OPEN}\s{{0,3}}(?:=>|:=|==?|:|\bis\b)\s{{0,3}}{_OPEN}{_VALUE}",
        group=1,
        judge=_assigned,
        explanation="a random-looking value given to a name that means a secret",
    ),
)  # fmt: skip


@lru_cache(maxsize=1)
def catalogue() -> tuple[Pattern, ...]:
    """All shipped patterns of credentials."""
    tokens = tuple(
        Pattern(
            rule=f"secrets.{entity.lower()}",
            entity=entity,
            regex=regex,
            judge=_random(0.95, prefix=prefix),
            explanation="prefix, length and randomness",
        )
        for entity, regex, prefix in _TOKENS
    )
    return tokens + _SPECIAL


ENTITIES = tuple(dict.fromkeys([entity for entity, _, _ in _TOKENS] + [pattern.entity for pattern in _SPECIAL]))
