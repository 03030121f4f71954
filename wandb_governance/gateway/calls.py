"""One call through the gateway: policies on the request, the upstream, policies on the answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.gateway import wire
from wandb_governance.gateway.answers import ANSWERS, decision_scope, provider_error
from wandb_governance.gateway.responses_stream import ResponsesStream
from wandb_governance.gateway.spending import reserve
from wandb_governance.gateway.streaming import ChatStream, Redactors
from wandb_governance.gateway.upstream import read_limited, upstream_headers
from wandb_governance.gateway.wire import NO_RETRY, Slot, WireError
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.stream_json import evaluate_json
from wandb_governance.policy.vault import PLACEHOLDER, RestoreStream
from wandb_governance.policy.verdict import Action, Decision, Mode, Scope, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.gateway.deployment import Deployment, Upstream
    from wandb_governance.gateway.endpoints import Endpoint
    from wandb_governance.gateway.records import CallJournal, CallRecord
    from wandb_governance.gateway.streaming import StreamFilter
    from wandb_governance.gateway.upstream import Answer, UpstreamClient

_SLOW_NS = 3_000_000
_STOPS = frozenset({Action.BLOCK, Action.ESCALATE})


class Call:
    """One request. It belongs to one task; ``record`` is whole when the call is over.

    Args:
        deployment: The document in force when the request came.
        endpoint: Which path.
        record: What is written down.
        headers: The request's headers, by lower-case name.
    """

    def __init__(
        self, deployment: Deployment, endpoint: Endpoint, record: CallRecord, headers: dict[bytes, bytes]
    ) -> None:
        self.deployment = deployment
        self.endpoint = endpoint
        self.record = record
        self.headers = headers
        self._engine = deployment.engine
        self.body: dict[str, Any] = {}
        self.context = RuleContext(scope=Scope.INPUT)
        self._upstreams: Sequence[Upstream] = ()
        self._hold: str | None = None
        self.estimate = Decimal(0)
        """What the call may cost; it is reserved on its budgets before it goes out."""
        self._deferred: asyncio.Future[list[tuple[Slot, Decision]]] | None = None
        self._wants_usage = False
        self.redacted: dict[str, int] = {}
        self._issued: frozenset[str] = frozenset()

    def read(self, raw: bytes) -> None:
        """Read the body and find who serves it.

        Raises:
            WireError: The body is wrong, or no upstream takes the model.
        """
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise WireError(400, f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise WireError(400, "the body must be a JSON object")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise WireError(400, "model must be a text", param="model")
        self.body = body
        record, key = self.record, self.record.key
        record.model = model
        record.stream = body.get("stream") is True
        record.user = body["user"] if isinstance(body.get("user"), str) else None
        self._upstreams = self.deployment.route(model)
        if not self._upstreams:
            raise WireError(404, f"no upstream takes the model {model!r}", code="model_not_found", param="model")
        record.provider = self._upstreams[0].target.family
        attributes: dict[str, object] = {"key": key.id, "tier": key.tier} if key else {}
        self.context = RuleContext(
            scope=Scope.INPUT,
            provider=record.provider,
            model=model,
            user=record.user,
            team=key.team if key else None,
            project=key.project if key else None,
            run=key.run if key else None,
            session=self._session_id(),
            roles=key.roles if key else (),
            attributes=attributes,
        )

    async def check_request(self) -> None:
        """Ask the policies about the request, and put redactions into the body that goes upstream.

        Raises:
            WireError: A policy blocks, or a budget is used up.
        """
        slots = [slot for slot in self.endpoint.request(self.body) if slot.text]
        slots += wire.other_texts(self.body, slots)
        judged = await self._judge(slots, deferred=False if self._has_deferred else None)
        if not slots:
            judged = [(Slot({"": ""}, "", Scope.INPUT), self._engine.evaluate("", self.context))]
        for slot, decision in judged:
            self.record.decisions.append((slot.scope, decision))
        self._raise_if_stopped(judged)
        originals = [(slot, slot.text) for slot in slots] if self._has_deferred else []
        for slot, decision in judged:
            if slot.holder is not None and decision.text is not slot.text and slots:
                slot.write(decision.text)
                self._count(decision)
        self.record.input_texts = [slot.text for slot in slots]
        if self.deployment.vault is not None:
            self._issued = frozenset(PLACEHOLDER.findall("\n".join(self.record.input_texts)))
        self._reserve()
        if originals:
            self._deferred = asyncio.ensure_future(self._judge_texts(originals))

    async def send(self, client: UpstreamClient) -> Answer:
        """Send the request on.

        Raises:
            WireError: No upstream answers.
        """
        if self.record.stream and self.endpoint.name == "chat":
            options = self.body.get("stream_options")
            self._wants_usage = isinstance(options, dict) and options.get("include_usage") is True
            self.body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        answer = await client.send(self._upstreams, self.endpoint.path, self._body_for, self._headers_for)
        self.record.upstream = answer.upstream.target.id
        self.record.provider = answer.upstream.target.family
        self.record.attempts = answer.attempts
        return answer

    async def deferred_verdict(self) -> None:
        """Wait for the policies that ran beside the upstream call.

        Raises:
            WireError: One of them blocks: nothing of the answer has gone out.
        """
        if self._deferred is None:
            return
        judged = await self._deferred
        for slot, decision in judged:
            self.record.decisions.append((slot.scope, decision))
        self._raise_if_stopped(judged)

    async def whole_answer(self, answer: Answer) -> bytes:
        """The answer's body, judged and redacted.

        Raises:
            WireError: The answer is broken, or a policy blocks it.
        """
        raw = await read_limited(answer.response, self.deployment.document.gateway.limits.max_response_bytes)
        status = answer.response.status
        self.record.status = status
        if status >= 400:
            raise provider_error(status, raw, answer)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise WireError(502, "the upstream's answer is not JSON", kind="server_error") from error
        if not isinstance(body, dict):
            raise WireError(502, "the upstream's answer is not an object", kind="server_error")
        self._take_facts(body)
        await self.deferred_verdict()
        slots = [slot for slot in self.endpoint.response(body) if slot.text]
        if self.endpoint.name != "embeddings":
            slots += wire.other_texts(body, slots, Scope.OUTPUT)
        judges = any(self._engine.links_on(scope) for scope in {slot.scope for slot in slots})
        if not slots or not (judges or self._issued):
            self.record.output_text = "\n".join(slot.text for slot in slots)
            return raw
        judged = await self._judge(slots, context=replace(self.context, scope=Scope.OUTPUT))
        for slot, decision in judged:
            self.record.decisions.append((slot.scope, decision))
        self._raise_if_stopped(judged)
        changed = False
        for slot, decision in judged:
            if decision.text != slot.text:
                slot.write(decision.text)
                self._count(decision)
                changed = True
        self.record.output_text = "\n".join(slot.text for slot in slots)
        for slot in slots if self._issued else ():
            restore = self._restorer(slot.is_json)
            restored = restore.feed(slot.text) + restore.finish()
            changed = changed or restored != slot.text
            slot.write(restored)
        if not changed:
            return raw
        wire.drop_logprobs(body)
        return orjson.dumps(body)

    def stream_filter(self) -> StreamFilter:
        """The filter of a streamed answer."""
        context = replace(self.context, scope=Scope.OUTPUT, role="assistant")
        redactors = Redactors(self._engine, context, self.deployment.document.policies.stream)
        if self._issued:
            redactors.restore = self._restorer
        if self.endpoint.name == "responses":
            return ResponsesStream(redactors)
        return ChatStream(redactors, include_usage=self._wants_usage)

    def _session_id(self) -> str:
        """Whose pseudonyms are used: the session a client names, else its user, else this call alone."""
        named = self.headers.get(b"x-session-id", b"").decode("latin-1")
        owner = self.record.key.id if self.record.key else ""
        return f"{owner}|{named or self.record.user or self.record.request_id}"

    def _restorer(self, in_json: bool) -> RestoreStream:
        vault, session = self.deployment.vault, self.context.session
        assert vault is not None
        assert session is not None
        # Only what this call's own input held: no answer can name another's placeholder.
        return RestoreStream(vault, session, only=self._issued, in_json=in_json)

    def take_stream(self, stream: StreamFilter) -> None:
        """Write down what a stream was."""
        record = self.record
        record.released_chars = stream.redactors.released_chars
        record.decisions += [(decision_scope(d), d) for d in stream.redactors.decisions]
        record.output_text = stream.redactors.text
        record.finish_reason = stream.finish_reason
        record.response_model = stream.response_model
        record.usage = stream.usage

    def settle(self, journal: CallJournal) -> None:
        """Book what the call cost."""
        if self._deferred is not None and not self._deferred.done():
            self._deferred.cancel()
        self.record.cost_usd = journal.cost_of(self.record, self.record.usage)
        store = self.deployment.store
        if store is not None and self._hold is not None:
            store.settle(self._hold, self.record.cost_usd or Decimal(0))

    def _reserve(self) -> None:
        if self.deployment.store is not None:
            self._hold = reserve(self.deployment, self.record, self.context, self.estimate)

    @property
    def _has_deferred(self) -> bool:
        return self._engine.defers

    async def _judge(
        self, slots: Sequence[Slot], *, context: RuleContext | None = None, deferred: bool | None = None
    ) -> list[tuple[Slot, Decision]]:
        return await self._judge_texts([(slot, slot.text) for slot in slots], context=context, deferred=deferred)

    async def _judge_texts(
        self,
        texts: Sequence[tuple[Slot, str]],
        *,
        context: RuleContext | None = None,
        deferred: bool | None = True,
    ) -> list[tuple[Slot, Decision]]:
        base = context or self.context

        def work() -> list[tuple[Slot, Decision]]:
            groups: dict[tuple[Scope, str | None, str | None, bool], list[int]] = {}
            for index, (slot, _) in enumerate(texts):
                groups.setdefault((slot.scope, slot.role, slot.tool, slot.is_json), []).append(index)
            found: dict[int, Decision] = {}
            for (scope, role, tool, is_json), indices in groups.items():
                here = replace(base, scope=scope, role=role, tool=tool)
                given = [texts[index][1] for index in indices]
                if is_json:
                    decisions = [evaluate_json(self._engine, text, here) for text in given]
                else:
                    decisions = self._engine.evaluate_many(given, here, deferred=deferred)
                found.update(zip(indices, decisions, strict=True))
            return [(slot, found[index]) for index, (slot, _) in enumerate(texts)]

        slow = sum(
            self._engine.estimate_ns([text], replace(base, scope=slot.scope, role=slot.role), deferred=deferred)
            for slot, text in texts
        )
        # Long detector runs leave the event loop to others.
        return work() if slow < _SLOW_NS else await asyncio.get_running_loop().run_in_executor(None, work)

    def _raise_if_stopped(self, judged: Sequence[tuple[Slot, Decision]]) -> None:
        for slot, decision in judged:
            if decision.action in _STOPS:
                verdict = next(v for v in decision.verdicts if v.effective is decision.action)
                raise self.violation(verdict, slot.scope)

    def violation(self, verdict: Verdict, scope: Scope) -> WireError:
        """The answer to a call that a policy stops."""
        reasons = (
            (verdict.failure,)
            if verdict.failure
            else tuple(dict.fromkeys(f.explanation or f.entity for f in verdict.findings))
        )
        return self.stopped(verdict.policy, str(scope), reasons, escalated=verdict.action is Action.ESCALATE)

    def stopped(self, policy: str, scope: str, reasons: tuple[str, ...], *, escalated: bool = False) -> WireError:
        """The answer to a call that ``policy`` stops."""
        record = self.record
        record.blocked_by, record.reasons, record.outcome = policy, reasons, "blocked"
        link = self._engine.link(policy)
        message = link.message if link is not None and link.message else "; ".join(reasons)
        status, code = ANSWERS.get(link.kind if link else "", (400, "content_filter"))
        if escalated:
            status, code = 403, "policy_escalated"
        return WireError(
            status,
            f"blocked by policy {policy!r} on {scope}: {message}",
            kind="policy_violation",
            code=code,
            headers=NO_RETRY,
            details={"policy": policy, "scope": scope, "reasons": list(reasons), "request_id": record.request_id},
        )

    def _count(self, decision: Decision) -> None:
        for verdict in decision.verdicts:
            if verdict.effective is Action.REDACT and verdict.mode is Mode.ENFORCE:
                for finding in verdict.findings:
                    self.redacted[finding.entity] = self.redacted.get(finding.entity, 0) + 1

    def _take_facts(self, body: dict[str, Any]) -> None:
        record = self.record
        record.usage = body["usage"] if isinstance(body.get("usage"), dict) else None
        record.response_model = body["model"] if isinstance(body.get("model"), str) else None
        choices = body.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            reason = choices[0].get("finish_reason")
            record.finish_reason = reason if isinstance(reason, str) else None
        elif isinstance(body.get("status"), str):
            record.finish_reason = body["status"]

    def _body_for(self, upstream: Upstream) -> bytes:
        other = upstream.target.model
        if other is not None and upstream is not self._upstreams[0]:
            return orjson.dumps({**self.body, "model": other})
        return orjson.dumps(self.body)

    def _headers_for(self, upstream: Upstream) -> dict[str, str]:
        forwards_key = not self.deployment.keys
        return upstream_headers(upstream, self.headers, stream=self.record.stream, forwards_key=forwards_key)
