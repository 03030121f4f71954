"""One trial under ``wandb agent``, watched by this package's own recorder and policies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from wandb_governance.backend.sweeps import TrialRun, read_sweep
from wandb_governance.errors import GovernanceError
from wandb_governance.policy.verdict import Action, Scope
from wandb_governance.runtime import Governance
from wandb_governance.sweep.program import missing_points, run_trial
from wandb_governance.tracing.span import LlmCall, Retrieval, RetrievedDocument, SpanKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.sweep.answer import Answer
    from wandb_governance.sweep.build import Executor
    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.config import RagSweep
    from wandb_governance.sweep.questions import Question
    from wandb_governance.sweep.splitter import Chunk


class GovernedObserver:
    """Writes a trace for every question and asks the policies about question, chunks and answers.

    Args:
        governance: Recorder and policies of the trial's run.
    """

    def __init__(self, governance: Governance) -> None:
        self._governance = governance

    def question(
        self, question: Question, chunks: Sequence[tuple[Chunk, float]], answers: Sequence[Answer], model: str | None
    ) -> str:
        """The strictest verdict, as a word."""
        recorder, encoder = self._governance.recorder, self._governance.recorder.encoder
        chain = recorder.start(SpanKind.CHAIN, "rag")
        chain.input = encoder.encode(question.text)
        chain.attributes["question"] = question.id
        self._governance.judge(chain, [question.text], Scope.INPUT, enforced=False)
        retriever = recorder.start(SpanKind.RETRIEVER, "retrieve", parent=chain)
        retriever.input = encoder.encode(question.text)
        retriever.retrieval = Retrieval(
            documents=tuple(
                RetrievedDocument(id=chunk.id, rank=rank, score=score, source=chunk.doc)
                for rank, (chunk, score) in enumerate(chunks)
            )
        )
        self._governance.judge(retriever, [chunk.text for chunk, _ in chunks], Scope.RETRIEVAL, enforced=False)
        retriever.end()
        answered = (self._answer(chain, question, answer, model) for answer in answers)
        verdicts = [chain.verdict, retriever.verdict, *answered]
        if answers:
            chain.output = encoder.encode(answers[0].text)
        chain.end()
        return max((Action(verdict) for verdict in verdicts if verdict), key=lambda a: a.severity, default=Action.ALLOW)

    def _answer(self, chain: Any, question: Question, answer: Answer, model: str | None) -> str | None:
        recorder = self._governance.recorder
        span = recorder.start(SpanKind.LLM if model else SpanKind.CHAIN, model or "extractive reader", parent=chain)
        span.input, span.output = recorder.encoder.encode(question.text), recorder.encoder.encode(answer.text)
        if model:
            span.llm = LlmCall(
                provider="openai",
                request_model=model,
                usage={"prompt_tokens": answer.input_tokens, "completion_tokens": answer.output_tokens},
            )
        self._governance.judge(span, [answer.text], Scope.OUTPUT, enforced=False)
        span.end()
        verdict: str | None = span.verdict
        return verdict


def one_trial(sweep: RagSweep, store: Store, *, executor: Executor | None = None, run: TrialRun | None = None) -> None:
    """Run the trial that W&B asks for. A failure marks the run and is told; it never ends the sweep.

    An agent that sees three programs fail within a minute gives the whole sweep up, so this returns normally.
    """
    run = run or TrialRun.start(project=sweep.spec.project)
    try:
        result = run_trial(sweep, run, store, observer=_observer(sweep, run), executor=executor)
    except GovernanceError as error:
        click.secho(f"trial failed: {error}", fg="red", err=True)
        run.finish(exit_code=1)
        return
    for warning in result.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(f"{result.configuration.label}: {result.metric} {result.score:.4f}", err=True)
    run.finish()


def complete_grid(where: str, sweep: RagSweep, store: Store, *, silent_s: float = 90.0, poll_s: float = 5.0) -> int:
    """Run what dead agents left of a grid. W&B gives a point out once, so what was killed never comes again.

    Args:
        where: The sweep.
        sweep: Its file.
        store: Shared work.
        silent_s: A running run whose heartbeat does not move for this long is dead; the SDK sends one every 30 s.
        poll_s: How often W&B is asked.

    Returns:
        How many trials were run here.
    """
    heard: dict[str, tuple[str | None, float]] = {}
    done = 0
    while True:
        found = read_sweep(where, project=sweep.spec.project)
        now = time.monotonic()
        running = [run for run in found.runs if run.state == "running"]
        for run in running:
            if heard.get(run.id, ("", 0.0))[0] != run.heartbeat:
                heard[run.id] = (run.heartbeat, now)
        alive = {run.id for run in running if now - heard[run.id][1] < silent_s}
        missing = missing_points(found, sweep, alive=alive)
        if missing:
            entity, project, id_ = found.path.split("/")
            fresh = TrialRun.start(project=project, entity=entity, sweep=id_, parameters=missing[0])
            one_trial(sweep, store, run=fresh)
            done += 1
        elif alive:
            time.sleep(poll_s)
        else:
            return done


def _observer(sweep: RagSweep, run: TrialRun) -> GovernedObserver | None:
    """Traces cost time, so a trial that calls no model and has no policy is not traced question by question."""
    if not sweep.spec.policy and not sweep.spec.models:
        return None
    policy = sweep.file.parent / sweep.spec.policy if sweep.spec.policy else None
    return GovernedObserver(Governance(run=run.run, policy=policy))
