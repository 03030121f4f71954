"""The journal: what it took is there, in order, chained, after any crash."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.errors import JournalClosedError, JournalCorruptError, JournalError
from wandb_governance.journal import record
from wandb_governance.journal.journal import Journal, read, repair, segments, verify, writer_is_alive

if TYPE_CHECKING:
    from wandb_governance.journal.base import Cursor

payloads = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(-(2**53), 2**53) | st.none(), max_size=3),
    min_size=1,
    max_size=12,
)


def _bytes(values: list[object]) -> list[bytes]:
    import orjson

    return [orjson.dumps(value) for value in values]


def _texts(folder: Path, after: Cursor | None = None) -> list[bytes]:
    return [entry.payload for entry in read(folder, after)]


@given(batches=st.lists(payloads, min_size=1, max_size=4), segment_bytes=st.integers(60, 2_000))
def test_reads_back_what_was_appended_across_segments(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[object]], segment_bytes: int
) -> None:
    """Whatever is appended, in batches of any size, is read back in order, and the chain verifies."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, fsync="never", segment_bytes=segment_bytes)
    for batch in batches:
        journal.append(_bytes(batch))
    head = journal.head
    journal.close()
    assert _texts(folder) == [payload for batch in batches for payload in _bytes(batch)]
    assert verify(folder) == head


@given(values=payloads, data=st.data())
def test_a_journal_cut_at_any_byte_keeps_every_whole_record(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], data: st.DataObject
) -> None:
    """A machine that died in mid-write leaves a prefix; what was whole in it is kept, and writing goes on."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, fsync="never")
    journal.append(_bytes(values))
    journal.close()
    (path,) = segments(folder)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    again = Journal(folder, fsync="never")
    again.append([b'"after"'])
    again.close()
    assert _texts(folder) == [*_bytes(values)[:kept], b'"after"']
    assert verify(folder).records == kept + 1


@settings(max_examples=60)
@given(values=payloads, data=st.data())
def test_any_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], data: st.DataObject
) -> None:
    """Editing one byte anywhere but in the torn end shows."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, fsync="never")
    journal.append([*_bytes(values), b'"last"'])
    journal.close()
    (path,) = segments(folder)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 2))
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(whole))
    with pytest.raises(JournalCorruptError):
        verify(folder)


def test_a_removed_record_is_found(tmp_path: Path) -> None:
    """Taking a record out of the middle breaks the chain, and the error says where."""
    journal = Journal(tmp_path, fsync="never")
    journal.append([b"1", b"2", b"3"])
    journal.close()
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(JournalCorruptError) as caught:
        verify(tmp_path)
    assert caught.value.offset == len(lines[0])


def test_reading_goes_on_from_a_cursor_while_the_writer_lives(tmp_path: Path) -> None:
    """A reader sees what comes after its cursor, also in a new segment."""
    journal = Journal(tmp_path, fsync="never", segment_bytes=150)
    journal.append([b'"one"'])
    (first,) = read(tmp_path)
    journal.append([b'"two"'])
    journal.append([b'"three"'])
    assert len(segments(tmp_path)) > 1
    assert _texts(tmp_path, first.after) == [b'"two"', b'"three"']
    journal.close()


def test_a_second_writer_is_refused_and_liveness_shows(tmp_path: Path) -> None:
    """One live writer a folder; whether it lives can be told from outside."""
    journal = Journal(tmp_path)
    assert writer_is_alive(tmp_path)
    with pytest.raises(JournalError):
        Journal(tmp_path)
    journal.close()
    assert not writer_is_alive(tmp_path)


def test_a_full_disk_leaves_the_journal_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that the disk refuses half-way is undone and raised; later appends work."""
    journal = Journal(tmp_path, fsync="never")
    journal.append([b'"before"'])
    real_write = os.write

    def half(fd: int, data: bytes) -> int:
        if fd == journal._fd:
            real_write(fd, bytes(data)[:10])
            raise OSError(28, "No space left on device")
        return real_write(fd, data)

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        journal.append([b'"lost"'])
    monkeypatch.setattr(os, "write", real_write)
    journal.append([b'"after"'])
    journal.close()
    assert _texts(tmp_path) == [b'"before"', b'"after"']
    assert verify(tmp_path).records == 2


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    """Appending after closing is an error; closing twice is none."""
    journal = Journal(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(JournalClosedError):
        journal.append([b"1"])


def test_only_this_user_can_read_it(tmp_path: Path) -> None:
    """Files and folder are closed to other users."""
    journal = Journal(tmp_path / "j")
    journal.append([b"1"])
    journal.close()
    assert (tmp_path / "j").stat().st_mode & 0o077 == 0
    assert segments(tmp_path / "j")[0].stat().st_mode & 0o077 == 0


def test_journals_of_every_released_format_stay_readable() -> None:
    """A journal written by each released version verifies and reads."""
    assets = Path(__file__).parents[1] / "assets" / "journals"
    folders = sorted(assets.iterdir())
    assert folders
    for folder in folders:
        head = verify(folder)
        assert head.records == len(_texts(folder)) > 0


@given(
    payload=st.binary(max_size=50).filter(lambda data: b"\n" not in data), previous=st.binary(min_size=32, max_size=32)
)
def test_a_frame_decodes_to_what_was_encoded(payload: bytes, previous: bytes) -> None:
    """Encoding and decoding are inverse, and the chain value fits only its place."""
    line, chain = record.encode(previous, payload)
    frame = record.decode(line)
    assert frame is not None
    assert (frame.payload, frame.chain) == (payload, chain)
    assert record.follows(frame, previous)
    assert not record.follows(frame, bytes(32) if previous != bytes(32) else b"\x01" * 32)


def test_repair_of_nothing_is_nothing(tmp_path: Path) -> None:
    """An empty folder needs no repair and verifies as the start of a chain."""
    assert repair(tmp_path) == 0
    assert verify(tmp_path).chain == bytes(32).hex()
