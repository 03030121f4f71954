"""What differs between the paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_governance.gateway import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wandb_governance.gateway.wire import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What differs between the paths."""

    name: str
    path: str
    request: Callable[[dict[str, Any]], Iterator[Slot]]
    response: Callable[[dict[str, Any]], Iterator[Slot]]


ENDPOINTS = {
    "/v1/chat/completions": Endpoint(
        name="chat", path="/chat/completions", request=wire.chat_request, response=wire.chat_response
    ),
    "/v1/responses": Endpoint(
        name="responses", path="/responses", request=wire.responses_request, response=wire.responses_response
    ),
    "/v1/embeddings": Endpoint(
        name="embeddings", path="/embeddings", request=wire.embeddings_request, response=wire.embeddings_response
    ),
}
