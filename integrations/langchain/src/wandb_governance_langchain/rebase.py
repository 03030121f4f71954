"""Put one model in the place of another within a runnable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableBinding, RunnableParallel, RunnableSequence, RunnableWithFallbacks

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel


def replace_model(runnable: Any, old: BaseChatModel, new: BaseChatModel) -> tuple[Any, int]:
    """``runnable`` with ``new`` wherever ``old`` stands in it, and how often that was."""
    if runnable is old:
        return new, 1
    if isinstance(runnable, RunnableBinding):
        bound, count = replace_model(runnable.bound, old, new)
        return runnable.model_copy(update={"bound": bound}), count
    if isinstance(runnable, RunnableSequence):
        steps = [replace_model(step, old, new) for step in runnable.steps]
        return RunnableSequence(*(step for step, _ in steps), name=runnable.name), sum(count for _, count in steps)
    if isinstance(runnable, RunnableParallel):
        branches = {key: replace_model(step, old, new) for key, step in runnable.steps__.items()}
        made = RunnableParallel({key: step for key, (step, _) in branches.items()})
        return made, sum(count for _, count in branches.values())
    if isinstance(runnable, RunnableWithFallbacks):
        (first, count), *others = (replace_model(item, old, new) for item in runnable.runnables)
        update = {"runnable": first, "fallbacks": [item for item, _ in others]}
        return runnable.model_copy(update=update), count + sum(number for _, number in others)
    return runnable, 0
