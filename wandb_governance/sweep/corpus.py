"""The documents a sweep indexes, read byte for byte so that offsets stay exact."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_governance.errors import SweepConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TEXT_SUFFIXES = frozenset({".md", ".txt", ".text", ".rst", ".markdown", ".html"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a corpus."""

    id: str
    """Path below the corpus folder without its suffix, or the ``id`` of a JSONL row."""
    text: str
    """The text as stored; line ends are not changed, a byte order mark is removed."""

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the text in UTF-8."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """An ordered set of documents with one digest."""

    documents: tuple[Document, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over ids and texts in order; one changed byte changes it."""
        sha = hashlib.sha256()
        for document in self.documents:
            sha.update(f"{len(document.id.encode())}:".encode() + document.id.encode())
            sha.update(bytes.fromhex(document.sha256))
        return sha.hexdigest()

    @cached_property
    def texts(self) -> dict[str, str]:
        """Text by document id."""
        return {document.id: document.text for document in self.documents}

    @property
    def empty_ids(self) -> tuple[str, ...]:
        """Documents with nothing but white space; they give no chunk."""
        return tuple(document.id for document in self.documents if not document.text.strip())

    @property
    def duplicate_ids(self) -> tuple[str, ...]:
        """Documents whose text an earlier document already has."""
        seen: set[str] = set()
        duplicates = []
        for document in self.documents:
            if document.sha256 in seen:
                duplicates.append(document.id)
            seen.add(document.sha256)
        return tuple(duplicates)

    @property
    def characters(self) -> int:
        """Code points in all documents."""
        return sum(len(document.text) for document in self.documents)


def load_corpus(path: str | Path, *, encoding: str = "utf-8") -> Corpus:
    """Read a corpus from a folder of text files, one text file, or a JSONL file of ``id`` and ``text``.

    Args:
        path: Folder (read recursively, in order of name) or file.
        encoding: How the bytes are read. UTF-8 unless told; nothing is guessed.

    Raises:
        SweepConfigError: Nothing to read, bytes that are not of this encoding, or an id that comes twice.
    """
    root = Path(path)
    if root.is_dir():
        files = sorted(file for file in root.rglob("*") if file.is_file() and file.suffix.lower() in _TEXT_SUFFIXES)
        documents: Iterable[Document] = (
            Document(id=file.relative_to(root).with_suffix("").as_posix(), text=read_text(file, encoding=encoding))
            for file in files
        )
    elif root.is_file() and root.suffix.lower() == ".jsonl":
        documents = _jsonl_documents(root, encoding=encoding)
    elif root.is_file():
        documents = [Document(id=root.stem, text=read_text(root, encoding=encoding))]
    else:
        raise SweepConfigError(f"no such file or folder: {str(root)!r}", key="corpus.path")
    return make_corpus(documents, origin=root)


def make_corpus(documents: Iterable[Document], *, origin: str | Path | None = None) -> Corpus:
    """A corpus of these documents, after checking that every id is there once.

    Raises:
        SweepConfigError: There is no document, or an id comes twice.
    """
    found = tuple(documents)
    if not found:
        wanted = ", ".join(sorted(_TEXT_SUFFIXES))
        raise SweepConfigError(f"no documents; wanted files ending in {wanted} or a .jsonl file", file=origin)
    seen: set[str] = set()
    for document in found:
        if document.id in seen:
            raise SweepConfigError(f"document id {document.id!r} comes twice; give each document its own", file=origin)
        seen.add(document.id)
    return Corpus(documents=found)


def read_text(file: Path, *, encoding: str = "utf-8") -> str:
    """The text of a file with its line ends as they are and without a byte order mark.

    Raises:
        SweepConfigError: The bytes are not of this encoding.
    """
    data = file.read_bytes()
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError) as error:
        at = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise SweepConfigError(
            f"not {encoding}{at}; set 'encoding' under 'corpus' (for example cp1252) or convert the file",
            file=file,
            key="corpus.encoding",
        ) from error


def _jsonl_documents(file: Path, *, encoding: str) -> Iterator[Document]:
    for number, line in enumerate(read_text(file, encoding=encoding).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield Document(id=str(row["id"]), text=str(row["text"]))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise SweepConfigError(
                f"wanted a JSON object with 'id' and 'text': {error}", file=file, line=number
            ) from error
