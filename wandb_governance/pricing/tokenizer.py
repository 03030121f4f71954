"""Token counts where a provider reports none: offline, and honest about how they were made."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_governance.tracing.usage import UsageSource

if TYPE_CHECKING:
    from tiktoken import Encoding

_BPE_HOST = "https://openaipublic.blob.core.windows.net/encodings/"
_BPE_FILES = {
    "cl100k_base": "cl100k_base.tiktoken",
    "o200k_base": "o200k_base.tiktoken",
    "o200k_harmony": "o200k_base.tiktoken",
    "p50k_base": "p50k_base.tiktoken",
    "p50k_edit": "p50k_base.tiktoken",
    "r50k_base": "r50k_base.tiktoken",
}
"""Encoding -> the one file it is built from."""
_SHA256 = {
    "cl100k_base.tiktoken": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base.tiktoken": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "p50k_base.tiktoken": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "r50k_base.tiktoken": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
}
"""What tiktoken expects of each file. It deletes and downloads a file that is not so, which is checked here first."""
_FOLDERS = (
    ("llama_index", "core/_static/tiktoken_cache"),
    ("litellm", "litellm_core_utils/tokenizers"),
)
"""Packages that carry such files in their wheels: import name, folder below it."""
_CHARACTERS_PER_TOKEN = 4
_CHUNK = 200_000
"""Characters encoded at once: tiktoken's memory grows with the length of one piece of text."""
_environment = threading.Lock()


def count_tokens(text: str, *, model: str | None) -> tuple[int, UsageSource]:
    """Number of tokens in ``text``, with the way it was counted.

    Counts the text alone: chat framing, tool schemas and images are not in it. Never uses the network. The first count
    with an encoding takes about a second, so this belongs to the export thread.

    Args:
        text: Any text; lone surrogates are counted as replacement characters.
        model: The model; None where it is not known.

    Returns:
        The model's own count with ``TOKENIZER`` where its encoding is known and on disk, else a quarter of the number
        of characters, rounded up, with ``HEURISTIC``.
    """
    encoding = _encoding_for(model) if model and text else None
    if encoding is None:
        return -(-len(text) // _CHARACTERS_PER_TOKEN), UsageSource.HEURISTIC
    pieces = (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))
    return sum(len(encoding.encode(piece, disallowed_special=())) for piece in pieces), UsageSource.TOKENIZER


def _encoding_for(model: str) -> Encoding | None:
    if importlib.util.find_spec("tiktoken") is None:
        return None
    from tiktoken.model import encoding_name_for_model

    name = model.strip().lower().removeprefix("ft:").partition(":")[0].rpartition("/")[2]
    try:
        return _load(encoding_name_for_model(name))
    except KeyError:
        return None


@cache
def _load(name: str) -> Encoding | None:
    """The encoding from a file on this machine, or None."""
    from tiktoken import get_encoding, registry

    if name in registry.ENCODINGS:
        return registry.ENCODINGS[name]
    folder = _folder_with(_BPE_FILES.get(name))
    if folder is None:
        return None
    # Other packages set the same variable around their own loads: change it only under a lock and put it back.
    with _environment:
        before = os.environ.get("TIKTOKEN_CACHE_DIR")
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
        try:
            return get_encoding(name)
        except (OSError, ValueError):
            return None
        finally:
            if before is None:
                os.environ.pop("TIKTOKEN_CACHE_DIR", None)
            else:
                os.environ["TIKTOKEN_CACHE_DIR"] = before


def _folder_with(file: str | None) -> Path | None:
    if file is None:
        return None
    name = hashlib.sha1((_BPE_HOST + file).encode(), usedforsecurity=False).hexdigest()
    return next((folder for folder in _folders() if _is_intact(folder / name, _SHA256[file])), None)


def _is_intact(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _folders() -> list[Path]:
    configured = (os.environ.get(name) for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"))
    found = [Path(folder) for folder in configured if folder]
    found.append(Path(tempfile.gettempdir()) / "data-gym-cache")
    for package, below in _FOLDERS:
        # Found, not imported: importing these takes seconds.
        spec = importlib.util.find_spec(package)
        found.extend(Path(root) / below for root in (spec.submodule_search_locations or () if spec else ()))
    return found
