"""Questions that the search never sees, and the order in which it sees the others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_governance.sweep.questions import Question, QuestionSet


def split_questions(
    questions: QuestionSet, *, holdout: float, seed: int
) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Questions to search with and questions to confirm with.

    A question's side depends on its id and the seed alone, so a question that is added later moves no other.

    Args:
        questions: All questions.
        holdout: Share to keep apart, in [0, 1).
        seed: Of the draw.
    """
    search = tuple(q for q in questions.questions if _place(q.id, f"holdout-{seed}") >= holdout)
    seen = {q.id for q in search}
    return search, tuple(q for q in questions.questions if q.id not in seen)


def shuffled(questions: Iterable[Question], *, seed: int) -> list[Question]:
    """The questions in an order that depends on ids and seed alone; each beginning of it is a fair sample."""
    return sorted(questions, key=lambda q: (_place(q.id, f"order-{seed}"), q.id))


def _place(id_: str, salt: str) -> float:
    """A number in [0, 1), the same for ever."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{id_}".encode()).digest()[:8], "big") / 2**64
