"""The neutral vector index: three files that any program can read and none can be made to run."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson

from wandb_governance.errors import IndexIntegrityError
from wandb_governance.sweep.lexical import Bm25
from wandb_governance.sweep.safetensors import file_digest
from wandb_governance.sweep.splitter import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FORMAT = "wandb-governance-vector-index"
FORMAT_VERSION = 1
VECTORS, CHUNKS, MANIFEST = "vectors.npy", "chunks.jsonl", "manifest.json"
_NPY_HEADER = 128  # bytes: fixed, so that the header is written again when the number of rows is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the bytes of an index."""

    corpus: str
    """Digest of the corpus."""
    splitter: str
    splitter_version: str
    chunk_size: int
    """Tokens."""
    chunk_overlap: int
    """Tokens."""
    tokenizer: str
    tokenizer_digest: str
    embedding: str | None
    """Embedding model, or None for an index that is searched by words alone."""
    embedding_digest: str | None
    dimensions: int

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the recipe and the format version."""
        return hashlib.sha256(orjson.dumps([FORMAT_VERSION, asdict(self)], option=orjson.OPT_SORT_KEYS)).hexdigest()


class IndexWriter:
    """Writes an index row by row, so that memory does not grow with the corpus.

    Args:
        folder: Where the index will be; it appears complete or not at all.
        recipe: What it is made from.
        documents: Id and SHA-256 of each document.
    """

    def __init__(self, folder: Path, recipe: Recipe, documents: Sequence[tuple[str, str]]) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._recipe = recipe
        self._documents = documents
        self._work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        self._chunks = (self._work / CHUNKS).open("wb")
        self._vectors = (self._work / VECTORS).open("wb") if recipe.embedding else None
        if self._vectors:
            self._vectors.write(_npy_header(0, recipe.dimensions))
        self._rows = 0

    def add(self, chunks: Sequence[Chunk], vectors: npt.NDArray[np.float32] | None) -> None:
        """Append chunks and their vectors, shape (n_chunks, dimensions)."""
        for chunk in chunks:
            row = {"id": chunk.id, "doc": chunk.doc, "start": chunk.start, "end": chunk.end, "text": chunk.text}
            self._chunks.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
        if self._vectors and vectors is not None:
            self._vectors.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self._rows += len(chunks)

    def finish(self) -> VectorIndex:
        """Write the manifest and move the folder to its place."""
        self._chunks.close()
        files = [CHUNKS]
        if self._vectors:
            self._vectors.seek(0)
            self._vectors.write(_npy_header(self._rows, self._recipe.dimensions))
            self._vectors.close()
            files.append(VECTORS)
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "recipe": asdict(self._recipe),
            "metric": "inner product of unit vectors",
            "rows": self._rows,
            "documents": [{"id": id_, "sha256": sha} for id_, sha in self._documents],
            "files": {name: file_digest(self._work / name) for name in files},
        }
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=True)
        (self._work / MANIFEST).write_text(text + "\n", encoding="ascii")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._work.chmod(0o755)
        self._work.rename(self._folder)
        return VectorIndex(folder=self._folder, manifest=manifest)

    def abandon(self) -> None:
        """Remove what was written."""
        self._chunks.close()
        if self._vectors:
            self._vectors.close()
        shutil.rmtree(self._work, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class VectorIndex:
    """A verified index."""

    folder: Path
    manifest: dict[str, Any]
    derived: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was computed from it and does not change; kept as long as the index is."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the manifest, which holds the digests of the other files."""
        return file_digest(self.folder / MANIFEST)

    @property
    def recipe(self) -> Recipe:
        """What it is made from."""
        return Recipe(**self.manifest["recipe"])

    @property
    def rows(self) -> int:
        """Number of chunks."""
        return int(self.manifest["rows"])

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files."""
        return (MANIFEST, *sorted(self.manifest["files"]))

    @cached_property
    def words(self) -> Bm25:
        """Inverted index over the chunks, made when it is first needed."""
        return Bm25(chunk.text for chunk in self.iter_chunks())

    @cached_property
    def chunks(self) -> list[Chunk]:
        """Chunks in the order of the rows."""
        return list(self.iter_chunks())

    def iter_chunks(self) -> Iterator[Chunk]:
        """Chunks in the order of the rows, one at a time."""
        with (self.folder / CHUNKS).open("rb") as stream:
            for line in stream:
                row = orjson.loads(line)
                yield Chunk(doc=row["doc"], start=row["start"], end=row["end"], text=row["text"])

    @cached_property
    def vectors(self) -> npt.NDArray[np.float32]:
        """Vectors, shape (rows, dimensions), memory-mapped; no row where there is no embedding."""
        if VECTORS not in self.manifest["files"]:
            return np.zeros((0, 0), dtype=np.float32)
        loaded: npt.NDArray[np.float32] = np.load(self.folder / VECTORS, mmap_mode="r", allow_pickle=False)
        return loaded


def open_index(folder: Path, *, recipe: Recipe | None = None) -> VectorIndex:
    """Open an index after checking every byte against its manifest.

    Args:
        folder: The folder with the manifest.
        recipe: What it must have been made from, where the caller knows.

    Raises:
        IndexIntegrityError: A file is missing, extra, changed, not of this format, or made from another recipe.
    """
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        named: dict[str, str] = manifest["files"]
        made_from = Recipe(**manifest["recipe"])
        form = (manifest["format"], manifest["format_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexIntegrityError(f"{folder} holds no readable {MANIFEST}: {error}") from error
    if form != (FORMAT, FORMAT_VERSION):
        raise IndexIntegrityError(f"{folder} is {form[0]!r} version {form[1]}; this program reads {FORMAT_VERSION}")
    expected = {CHUNKS, VECTORS} if made_from.embedding else {CHUNKS}
    if set(named) != expected:
        raise IndexIntegrityError(f"{folder}: the manifest names {sorted(named)}, wanted {sorted(expected)}")
    extra = (
        {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - expected - {MANIFEST}
    )
    if extra:
        raise IndexIntegrityError(f"{folder} holds files that its manifest does not name: {sorted(extra)}; refused")
    for name, digest in named.items():
        file = folder / name
        if not file.is_file() or file.is_symlink() or file_digest(file) != digest:
            raise IndexIntegrityError(f"{file} is not what the manifest says; get the artifact again or rebuild it")
    if recipe is not None and made_from != recipe:
        raise IndexIntegrityError(f"{folder} was made from another recipe; rebuild it")
    index = VectorIndex(folder=folder, manifest=manifest)
    _check_vectors(index)
    return index


def write_index(
    folder: Path,
    recipe: Recipe,
    documents: Sequence[tuple[str, str]],
    parts: Iterable[tuple[Sequence[Chunk], npt.NDArray[np.float32] | None]],
) -> VectorIndex:
    """Write an index from batches of chunks and vectors."""
    writer = IndexWriter(folder, recipe, documents)
    try:
        for chunks, vectors in parts:
            writer.add(chunks, vectors)
        return writer.finish()
    except BaseException:
        writer.abandon()
        raise


def _check_vectors(index: VectorIndex) -> None:
    if VECTORS not in index.manifest["files"]:
        return
    try:
        shape, dtype = index.vectors.shape, index.vectors.dtype
    except ValueError as error:
        raise IndexIntegrityError(f"{index.folder / VECTORS} can't be read without unpickling; refused") from error
    if shape != (index.rows, index.recipe.dimensions) or dtype != np.dtype("<f4"):
        raise IndexIntegrityError(f"{index.folder / VECTORS} has shape {shape} of {dtype}, not what the manifest says")


def _npy_header(rows: int, dimensions: int) -> bytes:
    """A version 1.0 header of fixed length.

    Source:
        NumPy enhancement proposal 1, the .npy format.
    """
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimensions}), }}".encode()
    padding = b" " * (_NPY_HEADER - 10 - len(text) - 1)
    return b"\x93NUMPY\x01\x00" + (_NPY_HEADER - 10).to_bytes(2, "little") + text + padding + b"\n"
