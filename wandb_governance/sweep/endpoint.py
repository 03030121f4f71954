"""One JSON request to an OpenAI-compatible endpoint, with bounded retries."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from wandb_governance.errors import SweepError

_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})


def post_json(
    url: str, body: dict[str, Any], *, api_key: str = "", timeout_s: float = 120.0, attempts: int = 4
) -> dict[str, Any]:
    """The JSON object that the endpoint answers with.

    Args:
        url: Full address, http or https.
        body: Sent as JSON.
        api_key: Sent as a bearer token; empty for none. It never appears in an error.
        timeout_s: Seconds for one attempt.
        attempts: Tries in all; overload and lost connections are tried again after 0.5 s, 1 s, 2 s, ...

    Raises:
        SweepError: The endpoint refused, could not be reached, or did not answer with a JSON object.
    """
    if not url.startswith(("http://", "https://")):
        raise SweepError(f"{url!r} is not an http address")
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers, method="POST")  # noqa: S310 - http only, checked above
    for attempt in range(1, attempts + 1):
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            if error.code not in _RETRIED or attempt == attempts:
                detail = error.read(500).decode("utf-8", "replace")
                raise SweepError(f"{url} answered {error.code}: {detail}") from error
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if attempt == attempts:
                raise SweepError(f"{url} can't be reached: {error}") from error
        except json.JSONDecodeError as error:
            raise SweepError(f"{url} did not answer with JSON") from error
        else:
            if not isinstance(answer, dict):
                raise SweepError(f"{url} did not answer with a JSON object")
            return answer
        time.sleep(0.5 * 2 ** (attempt - 1))
    raise SweepError(f"{url} gave no answer in {attempts} attempts")
