"""Read weights from a safetensors file: a JSON header and raw bytes, so nothing in it can run."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wandb_governance.errors import SweepError

if TYPE_CHECKING:
    from pathlib import Path

_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}
_HEADER_LIMIT = 100_000_000  # bytes; the format's own bound


def read_tensors(file: Path) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of the file by name.

    Raises:
        SweepError: The file is not in this format.

    Source:
        Safetensors format: 8 bytes little-endian header length, JSON header, then the data it points into.
    """
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(_HEADER_LIMIT, len(data) - 8):
        raise SweepError(f"{file} is not a safetensors file")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(body[begin:end], dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def file_digest(file: Path) -> str:
    """SHA-256 (hex) of a file, read in blocks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
