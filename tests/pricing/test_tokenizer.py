"""Counting tokens offline: with the model's own tokenizer where its file is here, else by length."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading

import pytest

from wandb_governance.pricing.tokenizer import count_tokens
from wandb_governance.tracing.usage import UsageSource

needs_files = pytest.mark.skipif(
    not (importlib.util.find_spec("tiktoken") and importlib.util.find_spec("llama_index")),
    reason="needs tiktoken, and llama-index-core for the files it carries",
)

OFFLINE = """
import sys
def refuse(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        raise RuntimeError("network: " + event)
sys.addaudithook(refuse)
"""


def _run(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE + code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environ},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_files
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini-2024-07-18", "ft:gpt-4o:acme::x", "openai/gpt-4o", "gpt-5"])
def test_known_models_are_counted_with_their_tokenizer(model: str) -> None:
    """o200k_base cuts this sentence into seven tokens."""
    assert count_tokens("Tokenizers cut text into tokens.", model=model) == (7, UsageSource.TOKENIZER)


@pytest.mark.parametrize("model", [None, "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-6", ""])
def test_other_models_are_estimated_and_say_so(model: str | None) -> None:
    """A quarter of the characters, rounded up."""
    assert count_tokens("Tokenizers cut text into tokens.", model=model) == (8, UsageSource.HEURISTIC)
    assert count_tokens("a", model=model) == (1, UsageSource.HEURISTIC)
    assert count_tokens("", model=model) == (0, UsageSource.HEURISTIC)


@needs_files
def test_special_tokens_and_lone_surrogates_are_plain_text() -> None:
    """Text that a user wrote is never an instruction to the tokenizer, and never an error."""
    count, source = count_tokens("<|endoftext|> \ud800", model="gpt-4o")
    assert count > 3
    assert source is UsageSource.TOKENIZER


@needs_files
def test_a_very_long_word_does_not_take_forever() -> None:
    """A megabyte without a space is counted in pieces."""
    count, _ = count_tokens("a" * 1_000_000, model="gpt-4o")
    assert 100_000 < count < 150_000


@needs_files
def test_the_network_and_the_big_packages_are_left_alone() -> None:
    """With sockets refused, the count comes from a file; nothing but tiktoken is imported for it."""
    code = """
from wandb_governance.pricing.tokenizer import count_tokens
print(count_tokens("hello world", model="gpt-4o"))
print(sorted({"llama_index", "litellm", "requests"} & set(sys.modules)))
"""
    out = _run(code).splitlines()
    assert out[0] == "(2, <UsageSource.TOKENIZER: 'tokenizer'>)"
    assert out[1] in {"[]", "['requests']"}


def test_without_a_file_nothing_is_downloaded(tmp_path: object) -> None:
    """An encoding that no package carries is estimated, not fetched."""
    code = """
from wandb_governance.pricing.tokenizer import count_tokens
print(count_tokens("hello world", model="davinci"))
"""
    out = _run(code, TIKTOKEN_CACHE_DIR=str(tmp_path), DATA_GYM_CACHE_DIR=str(tmp_path), TMPDIR=str(tmp_path))
    assert out == "(3, <UsageSource.HEURISTIC: 'heuristic'>)"


def test_a_damaged_file_is_neither_used_nor_deleted_nor_fetched_again(tmp_path: object) -> None:
    """A file with a wrong digest makes tiktoken delete and download it; that must not happen."""
    code = f"""
import hashlib, pathlib
name = hashlib.sha1(b"https://openaipublic.blob.core.windows.net/encodings/r50k_base.tiktoken").hexdigest()
file = pathlib.Path({str(tmp_path)!r}) / name
file.write_bytes(b"damaged")
from wandb_governance.pricing.tokenizer import count_tokens
print(count_tokens("hello world", model="davinci"), file.exists())
"""
    out = _run(code, TIKTOKEN_CACHE_DIR=str(tmp_path), TMPDIR=str(tmp_path))
    assert out == "(3, <UsageSource.HEURISTIC: 'heuristic'>) True"


@pytest.mark.parametrize("before", [None, "/somewhere/else"])
def test_the_environment_is_as_it_was(before: str | None) -> None:
    """Other packages use the same variable."""
    code = """
import os
before = os.environ.get("TIKTOKEN_CACHE_DIR")
from wandb_governance.pricing.tokenizer import count_tokens
count_tokens("hello world", model="gpt-4o")
print(os.environ.get("TIKTOKEN_CACHE_DIR") == before)
"""
    assert _run(code, **({"TIKTOKEN_CACHE_DIR": before} if before else {})) == "True"


@needs_files
def test_many_threads_agree() -> None:
    """The first count of several threads at once loads the encoding without a race."""
    found: list[tuple[int, UsageSource]] = []
    threads = [
        threading.Thread(target=lambda: found.append(count_tokens("hello world", model="gpt-4"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(2, UsageSource.TOKENIZER)] * 8
