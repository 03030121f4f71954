"""One governed call: what is asked of the policies, what is written down, and its one end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openai import OpenAIError

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.guard import fault, observed
from wandb_governance.tracing.span import LlmCall, SpanStatus
from wandb_governance_openai import convert

if TYPE_CHECKING:
    from wandb_governance.runtime import Governance, Judgement
    from wandb_governance.tracing.recorder import OpenSpan
    from wandb_governance_openai.convert import Endpoint, Path, Slot


class OpenAIPolicyViolation(PolicyViolation, OpenAIError):
    """A policy blocked a call of the openai client.

    An ``OpenAIError`` as well, since the client hands those on at once: anything else that is raised below it is
    retried and wrapped by openai 1 and 2.
    """


def as_openai_error(violation: PolicyViolation) -> OpenAIPolicyViolation:
    """The violation as the openai client lets it through."""
    return OpenAIPolicyViolation(
        policy=violation.policy,
        scope=violation.scope,
        reasons=violation.reasons,
        verdict_id=violation.verdict_id,
    )


class GovernedCall:
    """A call from its request to the end of its answer.

    Args:
        governance: Recorder and policies.
        endpoint: What is called.
        body: The request as it would go out.
        provider: Who serves it.
    """

    def __init__(self, governance: Governance, endpoint: Endpoint, body: Mapping[str, Any], *, provider: str) -> None:
        self.governance = governance
        self.endpoint = endpoint
        name = f"{endpoint.operation} {body.get('model') or ''}".rstrip()
        self.span: OpenSpan = governance.recorder.start(endpoint.kind, name)
        self.span.framework = "openai"
        self.span.llm = LlmCall(provider=provider)
        self._provider = provider

    def admit(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request to send: redacted where a policy says so; the caller's own objects stay as they are.

        Raises:
            OpenAIPolicyViolation: A policy blocks. The call is recorded as blocked, and nothing was sent.
        """
        try:
            slots = self._slots(Scope.INPUT, lambda: convert.input_slots(self.endpoint, body))
            self.span.llm = convert.started(body, provider=self._provider, slots=slots)
            changes = self._judged(slots)
        except PolicyViolation as violation:
            self._note_input(body)
            error = as_openai_error(violation)
            self.span.fail(error)
            raise error from None
        admitted = convert.replaced(body, changes) if changes else body
        self._note_input(admitted)
        return admitted

    def judged(self, answer: object) -> dict[Path, str]:
        """Note a whole answer and judge it; ``complete`` comes after.

        Returns:
            Texts that a policy redacted, by their path in the answer.

        Raises:
            OpenAIPolicyViolation: A policy blocks the answer; the call is recorded as blocked.
        """
        self._note_answer(answer)
        try:
            return self._judged(self._slots(Scope.OUTPUT, lambda: convert.output_slots(answer)))
        except PolicyViolation as violation:
            error = as_openai_error(violation)
            self.span.fail(error)
            raise error from None

    def complete(self, answer: object) -> None:
        """End the call with the answer as it goes out."""
        self._note_output(answer)
        failed = self.span.llm is not None and self.span.llm.finish_reason == "failed"
        self.end(SpanStatus.ERROR if failed else SpanStatus.OK)

    def _slots(self, scope: Scope, read: Callable[[], list[Slot]]) -> list[Slot]:
        """Texts of a body or an answer. One that can't be read goes through unless a policy would have to see it."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - the application may pass anything; the server will say what it thinks
            fault("openai.convert", error)
            if self.acts_on(scope) or (scope is Scope.OUTPUT and self.acts_on_answers):
                reasons = (f"it could not be read ({type(error).__name__}), so it can't be judged",)
                raise PolicyViolation(policy="engine", scope=scope, reasons=reasons) from None
            return []

    def acts_on(self, scope: Scope) -> bool:
        """Whether a policy may stop or change a text of ``scope``."""
        engine = self.governance.engine
        return engine is not None and (engine.blocks_on(scope) or engine.redacts_on(scope))

    @property
    def acts_on_answers(self) -> bool:
        """Whether a policy may stop or change what the model answers."""
        return self.acts_on(Scope.OUTPUT) or self.acts_on(Scope.TOOL_ARGS)

    def _judged(self, slots: Sequence[Slot]) -> dict[Path, str]:
        """Texts to put in place of others, by path; raises where a policy blocks."""
        if self.governance.engine is None:
            return {}
        groups: dict[tuple[Scope, str | None, bool], list[Slot]] = defaultdict(list)
        for slot in slots:
            groups[slot.scope, slot.tool, slot.is_json].append(slot)
        changes: dict[Path, str] = {}
        for (scope, tool, is_json), group in groups.items():
            texts = [slot.text for slot in group]
            if is_json:
                judgement = self._judge_json(texts, scope, tool)
            else:
                judgement = self.governance.judge(self.span, texts, scope, tool=tool)
            if judgement is None:
                if self.acts_on(scope):
                    raise PolicyViolation(policy="engine", scope=scope, reasons=("the policies could not be asked",))
                continue
            if judgement.violation is not None:
                raise judgement.violation
            new = zip(group, judgement.texts, strict=True)
            changes.update({slot.path: text for slot, text in new if text != slot.text})
        return changes

    @observed
    def _judge_json(self, texts: Sequence[str], scope: Scope, tool: str | None) -> Judgement:
        """Judge JSON: redacted inside its strings, so that it stays JSON."""
        from wandb_governance.policy.stream_json import evaluate_json

        assert self.governance.engine is not None
        context = self.governance.rule_context(self.span, scope, tool=tool)
        decisions = [evaluate_json(self.governance.engine, text, context) for text in texts]
        return self.governance.record(self.span, decisions, scope)

    @observed
    def _note_input(self, body: Mapping[str, Any]) -> None:
        self.span.input = self.governance.recorder.encoder.encode(convert.recorded_input(body, self.endpoint))
        prompt = body.get("prompt")
        if isinstance(prompt, Mapping):
            self.span.prompt_name = prompt.get("id") or self.span.prompt_name
            self.span.prompt_version = prompt.get("version") or self.span.prompt_version

    @observed
    def _note_answer(self, answer: object) -> None:
        chars = sum(len(slot.text) for slot in convert.output_slots(answer))
        self.note(
            response_model=convert.get(answer, "model"),
            usage=convert.usage_of(answer),
            finish_reason=convert.finish_reason_of(answer),
            service_tier=convert.get(answer, "service_tier"),
            output_chars=chars,
        )

    def note(self, **facts: Any) -> None:
        """Facts of the call; those that are not known leave what was there."""
        known = {name: value for name, value in facts.items() if value is not None}
        self.span.llm = replace(self.span.llm or LlmCall(), **known)

    @observed
    def _note_output(self, answer: object) -> None:
        self.note_output(convert.recorded_output(answer))

    def note_output(self, output: object) -> None:
        """What the model answered, for the trace."""
        self.span.output = self.governance.recorder.encoder.encode(convert.without_media(output))

    def end(self, status: SpanStatus | None = None, *, error: BaseException | None = None) -> None:
        """End it once; later ends are ignored. Without a status it follows from the error."""
        if error is not None:
            self.span.fail(error, status=status)
        else:
            self.span.end(status or SpanStatus.OK)
