"""Which steps are open, how they nest, and which of nested model calls is the one that counts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from llama_index.core.node_parser import TextSplitter

from wandb_governance.tracing.span import SpanKind, SpanStatus
from wandb_governance_llama_index import convert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

    from wandb_governance.runtime import Governance
    from wandb_governance.tracing.recorder import OpenSpan

Signature = tuple[object, ...]


class Step:
    """One decorated call of LlamaIndex, from its span's entry to its last event. Not a value."""

    __slots__ = ("exited", "id", "instance_key", "last", "method", "nested_in", "open", "parent", "signature")

    def __init__(self, step_id: str, span: OpenSpan, parent: Step | None, instance: object, method: str) -> None:
        self.id = step_id
        self.open = span
        self.parent = parent
        self.instance_key = id(instance)
        self.method = method
        self.signature: Signature | None = None
        """What a model call was asked; None where the step is not one."""
        self.nested_in: Step | None = None
        """The model call that this one only carries out."""
        self.last: ChatResponse | CompletionResponse | None = None
        self.exited = False

    @property
    def is_call(self) -> bool:
        """Whether it is a model call that counts."""
        return self.signature is not None and self.nested_in is None

    def ancestors(self) -> Iterator[Step]:
        """The steps around it, inside out."""
        step = self.parent
        while step is not None:
            yield step
            step = step.parent


class Tracker:
    """The open steps of one instrumentation. Safe from any thread.

    Args:
        governance: Makes spans.
    """

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self._steps: dict[str, Step] = {}
        self._chats: dict[int, Step] = {}
        self._lock = threading.RLock()

    def enter(self, step_id: str, parent_id: str | None, instance: object, name: str) -> Step | None:
        """A decorated call begins.

        Returns:
            Its step; None where it is machinery inside its parent's step, such as ``_retrieve`` inside ``retrieve``.
        """
        method = name.rpartition(".")[2]
        parent = self._steps.get(parent_id) if parent_id is not None else None
        if parent is not None and _is_machinery(parent, instance, method):
            with self._lock:
                self._steps[step_id] = parent
            return None
        span = self.governance.recorder.start(
            convert.kind_of(instance, method), name, parent=None if parent is None else parent.open
        )
        span.framework = "llama_index"
        step = Step(step_id, span, parent, instance, method)
        with self._lock:
            self._steps[step_id] = step
        return step

    def get(self, step_id: str | None) -> Step | None:
        """The open step of that id."""
        return None if step_id is None else self._steps.get(step_id)

    def span_of(self, step_id: str | None) -> OpenSpan | None:
        """The open span of that step, or of the model call it carries out."""
        step = self.get(step_id)
        if step is None:
            return None
        return (step.nested_in or step).open

    def exit(self, step_id: str) -> Step | None:
        """A decorated call is over.

        Returns:
            Its step; None where it was machinery inside another.
        """
        step = self._steps.get(step_id)
        if step is not None and step.id != step_id:
            with self._lock:
                self._steps.pop(step_id, None)
            return None
        return step

    def wait_for(self, chat: object, step: Step) -> None:
        """``step`` goes on until the answer that is written into ``chat`` is whole."""
        self._chats[id(chat)] = step

    def chat_written(self, chat: object) -> Step | None:
        """The step that waited for ``chat``."""
        return self._chats.pop(id(chat), None)

    def __len__(self) -> int:
        return len(self._steps)

    def begin_call(self, step: Step, signature: Signature) -> bool:
        """A step turns out to be a model call.

        LlamaIndex's own classes carry one call out through others (``achat`` by ``chat`` by ``complete``), each with
        its own events. Only the outermost counts. An inner one that runs when an outer stream is read is not inside the
        outer span any more; it is told by the same model being asked the same thing.

        Returns:
            Whether it is the outermost.
        """
        step.signature = signature
        for outer in step.ancestors():
            if outer.signature is not None:
                step.nested_in = outer.nested_in or outer
                return False
        with self._lock:
            for outer in set(self._steps.values()):
                waiting = outer.exited and outer.is_call and outer.last is None and outer is not step
                if waiting and outer.instance_key == step.instance_key and outer.signature == signature:
                    step.nested_in = outer
                    step.open.parent_id, step.open.trace_id = outer.open.span_id, outer.open.trace_id
                    return False
        step.open.kind = SpanKind.LLM
        return True

    def end(self, step: Step, status: SpanStatus = SpanStatus.OK, error: BaseException | None = None) -> None:
        """A step is over."""
        with self._lock:
            self._steps.pop(step.id, None)
        if error is not None:
            step.open.fail(error, status=None if status is SpanStatus.OK else status)
        else:
            step.open.end(status)

    def sweep(self, *, older_than_s: float = 0.0) -> None:
        """End what nothing will end any more: its stream was never read, or its task is gone."""
        limit_ns = time.time_ns() - int(older_than_s * 1e9)
        for step in {item for item in self._steps.values() if item.exited and item.open.start_ns <= limit_ns}:
            self.end(step, SpanStatus.ABANDONED)


def _is_machinery(parent: Step, instance: object, method: str) -> bool:
    """Whether a call only carries out its parent's: the same method of the same object, or the cutting of a text."""
    if isinstance(instance, TextSplitter):
        return True
    return parent.instance_key == id(instance) and parent.method.lstrip("_") == method.lstrip("_")


def signature_of(payload: Any) -> Signature:
    """What identifies a prompt or a list of messages while it is passed on: the same objects."""
    if isinstance(payload, str):
        return (payload,)
    return tuple(id(item) for item in payload)
