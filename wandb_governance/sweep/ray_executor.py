"""Chunking and embedding on Ray, for a corpus that outgrows one process; the index has the same bytes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wandb_governance.errors import MissingExtraError
from wandb_governance.sweep.build import embed_texts
from wandb_governance.sweep.cache import MemoryStore
from wandb_governance.sweep.splitter import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wandb_governance.sweep.build import FloatArray, IndexSpec
    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.corpus import Corpus, Document

_TEXTS_IN_A_TASK = 256


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Cuts documents and embeds chunks in Ray tasks, and puts the parts together in order.

    A worker's vector of a text does not depend on what else it embeds, so the bytes are those of one process. Distinct
    texts of the whole corpus are embedded once; those that the store has are not sent out.
    """

    address: str | None = None
    """Cluster to join, such as ``ray://head:10001``; a local one is started without it."""
    workers: int | None = None
    """CPUs of a local cluster; all of them without it."""

    def parts(
        self, corpus: Corpus, spec: IndexSpec, store: Store, progress: Callable[[int], None]
    ) -> Iterator[tuple[Sequence[Chunk], FloatArray | None]]:
        """Chunks in order of document and start, with their vectors."""
        ray = self._start()
        cut = ray.remote(_cut)
        spans = ray.get([cut.remote(document, spec) for document in corpus.documents])
        chunks = (
            Chunk(doc=document.id, start=start, end=end, text=document.text[start:end])
            for document, found in zip(corpus.documents, spans, strict=True)
            for start, end in found
        )
        embedder = spec.embedder()
        while batch := list(itertools.islice(chunks, 16 * _TEXTS_IN_A_TASK)):
            vectors = None
            if embedder:
                remote = _RemoteEmbedder(ray=ray, spec=spec, embedder=embedder)
                texts = [chunk.text for chunk in batch]
                vectors = embed_texts(texts, remote, store, batch=16 * _TEXTS_IN_A_TASK)
            yield batch, vectors
            progress(len(batch))

    def _start(self) -> Any:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("ray", extra="ray") from error
        if not ray.is_initialized():
            ray.init(
                address=self.address,
                num_cpus=None if self.address else self.workers,
                include_dashboard=False,
                log_to_driver=False,
            )
        return ray


@dataclass(frozen=True, kw_only=True)
class _RemoteEmbedder:
    """The embedder of a spec whose work is done by Ray tasks."""

    ray: Any
    spec: IndexSpec
    embedder: Any

    @property
    def name(self) -> str:
        return str(self.embedder.name)

    @property
    def digest(self) -> str:
        return str(self.embedder.digest)

    @property
    def dimensions(self) -> int:
        return int(self.embedder.dimensions)

    @property
    def max_tokens(self) -> int | None:
        return self.embedder.max_tokens  # type: ignore[no-any-return]

    def embed(self, texts: Sequence[str]) -> FloatArray:
        task = self.ray.remote(_embed)
        parts = [list(texts[at : at + _TEXTS_IN_A_TASK]) for at in range(0, len(texts), _TEXTS_IN_A_TASK)]
        return np.concatenate(self.ray.get([task.remote(part, self.spec) for part in parts]))

    def truncated(self, texts: Sequence[str]) -> int:
        return int(self.embedder.truncated(texts))


def _cut(document: Document, spec: IndexSpec) -> list[tuple[int, int]]:
    return spec.make_splitter().spans(document.text)


def _embed(texts: list[str], spec: IndexSpec) -> FloatArray:
    embedder = spec.embedder()
    assert embedder is not None
    return embed_texts(texts, embedder, MemoryStore())
