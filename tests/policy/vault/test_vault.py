"""Pseudonyms that can be turned back: by session, keyed, collision-safe, expiring, encrypted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.policy import vault as module
from wandb_governance.policy.redaction import Markers, redact
from wandb_governance.policy.vault import PLACEHOLDER, RestoreStream, Vault, VaultReplacer
from wandb_governance.policy.verdict import Finding

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
MAIL = "maria@example.com"


class SteppedClock:
    ns = 10**18

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def vault(tmp_path: Path, clock: SteppedClock) -> Vault:
    return Vault(tmp_path / "v.sqlite", KEY, clock=clock)


def test_a_value_has_one_placeholder_in_a_session_and_another_elsewhere(vault: Vault) -> None:
    """So a conversation stays coherent and two conversations can't be joined."""
    one = vault.issue("s1", "EMAIL_ADDRESS", MAIL, ttl_s=60)
    assert PLACEHOLDER.fullmatch(one)
    assert vault.issue("s1", "EMAIL_ADDRESS", MAIL, ttl_s=60) == one
    assert vault.issue("s2", "EMAIL_ADDRESS", MAIL, ttl_s=60) != one
    assert vault.restore("s1", f"to {one}!") == f"to {MAIL}!"
    assert vault.restore("s2", f"to {one}!") == f"to {one}!"


def test_what_has_expired_is_not_turned_back_and_is_purged(vault: Vault, clock: SteppedClock, tmp_path: Path) -> None:
    """Purged values are gone from the file too."""
    name = vault.issue("s", "EMAIL_ADDRESS", MAIL, ttl_s=60)
    clock.ns += 61 * 10**9
    assert vault.lookup("s", name) is None
    size = (tmp_path / "v.sqlite").stat().st_size
    assert vault.purge() == 1
    assert (tmp_path / "v.sqlite").stat().st_size <= size
    assert vault.purge() == 0


def test_the_file_tells_neither_value_nor_session(vault: Vault, tmp_path: Path) -> None:
    """Encrypted at rest, and of no use under another key."""
    name = vault.issue("session-of-maria", "EMAIL_ADDRESS", MAIL, ttl_s=60)
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"maria" not in data
    assert Vault(tmp_path / "v.sqlite", bytes(32), clock=SteppedClock()).lookup("session-of-maria", name) is None
    assert Vault(tmp_path / "v.sqlite", KEY, clock=SteppedClock()).lookup("session-of-maria", name) == MAIL
    assert (tmp_path / "v.sqlite").stat().st_mode & 0o077 == 0


def test_two_values_never_share_a_placeholder(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where eight letters are the same, more are taken."""
    letters = module._letters

    def colliding(digest: bytes) -> str:
        return "aaaaaaaa" + letters(digest)[8:]

    monkeypatch.setattr(module, "_letters", colliding)
    names = {vault.issue("s", "PERSON", f"name {n}", ttl_s=60) for n in range(5)}
    assert len(names) == 5
    assert {vault.lookup("s", name) for name in names} == {f"name {n}" for n in range(5)}
    assert {vault.issue("s", "PERSON", f"name {n}", ttl_s=60) for n in range(5)} == names


def test_only_what_was_allowed_is_turned_back(vault: Vault) -> None:
    """An answer can't ask for what this call never held."""
    name, other = (vault.issue("s", "PERSON", value, ttl_s=60) for value in ("Ann", "Bob"))
    assert vault.restore("s", f"{name} {other}", only={name}) == f"Ann {other}"


def test_inside_json_a_value_is_escaped(vault: Vault) -> None:
    """Arguments stay JSON."""
    name = vault.issue("s", "PERSON", 'A "B"\n', ttl_s=60)
    assert json.loads(vault.restore("s", json.dumps({"to": name}), in_json=True)) == {"to": 'A "B"\n'}


def test_a_placeholder_in_a_text_is_not_redacted_again(vault: Vault) -> None:
    """History comes back with placeholders in it."""
    replacer = VaultReplacer.over(vault, 60, Markers()).in_session("s")
    finding = Finding(rule="t", entity="EMAIL_ADDRESS", start=3, end=20, score=1.0)
    once = redact(f"to {MAIL}", [((finding,), replacer)])
    again = Finding(rule="t", entity="PERSON", start=0, end=len(once), score=1.0)
    assert PLACEHOLDER.findall(redact(once, [((again,), replacer)]))[-1] == PLACEHOLDER.findall(once)[0]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_stream_turns_back_as_the_whole_does(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Placeholders cut anywhere."""
    vault = Vault(tmp_path_factory.mktemp("v") / "v.sqlite", KEY)
    names = [vault.issue("s", "PERSON", value, ttl_s=60) for value in ("Ann", "Bob")]
    parts = st.sampled_from([*names, names[0][:9], "[", "]", "[x", " a ", "[PERSON]", "\n"])
    text = "".join(data.draw(st.lists(parts, max_size=12)))
    size = data.draw(st.integers(1, 9))
    stream = RestoreStream(vault, "s", only=set(names))
    out = "".join([*(stream.feed(text[i : i + size]) for i in range(0, len(text), size)), stream.finish()])
    assert out == vault.restore("s", text, only=set(names))


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    """A weak key would make all of this a show."""
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(tmp_path / "v.sqlite", b"short")
