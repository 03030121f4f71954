"""all-MiniLM-L6-v2 as an ONNX graph, written from the weights of the installed package; no torch anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wandb_governance.errors import MissingExtraError
from wandb_governance.sweep.safetensors import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

GRAPH_VERSION = "1"
"""Changes whenever the graph may give other vectors."""

_HEADS = 12
_LAYERS = 6
_HIDDEN = 384
_EPSILON = 1e-12


def minilm_graph(weights: Path) -> bytes:
    """The model from token ids to one normalised vector per text, as ONNX bytes.

    Inputs ``input_ids`` and ``attention_mask``: int64 of shape (batch, tokens). Output ``vector``: float32 of shape
    (batch, 384), the mean of the last hidden states over real tokens, scaled to length 1.

    Raises:
        MissingExtraError: ``onnx`` is not installed.

    Source:
        Devlin et al., BERT, 2019 (encoder); Reimers and Gurevych, Sentence-BERT, 2019 (mean pooling).
    """
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingExtraError("onnx", extra="sweep") from error
    graph = _Graph(read_tensors(weights), helper)
    hidden = _embeddings(graph)
    keep = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    away = graph.node("Mul", graph.node("Sub", graph.constant(1.0), keep), graph.constant(-1e9))
    bias = graph.node("Unsqueeze", away, graph.axes(1, 2))
    for layer in range(_LAYERS):
        hidden = _layer(graph, hidden, bias, f"encoder.layer.{layer}")
    mask = graph.node("Unsqueeze", keep, graph.axes(2))
    total = graph.node("ReduceSum", graph.node("Mul", hidden, mask), graph.axes(1), keepdims=0)
    mean = graph.node("Div", total, graph.node("ReduceSum", keep, graph.axes(1), keepdims=1))
    graph.node("LpNormalization", mean, output="vector", axis=-1, p=2)
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", _HIDDEN])
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", ids, [vector], initializer=graph.initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


class _Graph:
    """Nodes and constants under construction."""

    def __init__(self, weights: dict[str, npt.NDArray[Any]], helper: Any) -> None:
        self._weights = weights
        self._helper = helper
        self._known: dict[str, str] = {}
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def tensor(self, name: str, values: npt.NDArray[Any]) -> str:
        """Add a constant tensor once; returns its name."""
        if name not in self._known:
            from onnx import numpy_helper

            self._known[name] = name
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def constant(self, value: float) -> str:
        """A float scalar."""
        return self.tensor(f"f:{value}", np.array(value, dtype=np.float32))

    def axes(self, *values: int) -> str:
        """An int64 list, as shapes and axes are given."""
        return self.tensor(f"i:{values}", np.array(values, dtype=np.int64))

    def weight(self, name: str, *, transposed: bool = False) -> str:
        """A weight of the model."""
        values = self._weights[name]
        return self.tensor(name, values.T if transposed else values)

    def dense(self, hidden: str, name: str) -> str:
        """Linear layer: x W^T + b."""
        product = self.node("MatMul", hidden, self.weight(f"{name}.weight", transposed=True))
        return self.node("Add", product, self.weight(f"{name}.bias"))

    def norm(self, hidden: str, name: str) -> str:
        """Layer normalisation over the last axis."""
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", hidden, scale, shift, axis=-1, epsilon=_EPSILON)


def _embeddings(graph: _Graph) -> str:
    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids", axis=0)
    length = graph.node("Slice", graph.node("Shape", "input_ids"), graph.axes(1), graph.axes(2))
    places = graph.node(
        "Slice", graph.weight("embeddings.position_embeddings.weight"), graph.axes(0), length, graph.axes(0)
    )
    kind = graph.node("Gather", graph.weight("embeddings.token_type_embeddings.weight"), graph.axes(0), axis=0)
    return graph.norm(graph.node("Add", graph.node("Add", words, places), kind), "embeddings.LayerNorm")


def _layer(graph: _Graph, hidden: str, bias: str, name: str) -> str:
    attention = f"{name}.attention"
    split = graph.axes(0, 0, _HEADS, _HIDDEN // _HEADS)
    heads = {
        part: graph.node("Reshape", graph.dense(hidden, f"{attention}.self.{part}"), split)
        for part in ("query", "key", "value")
    }
    query = graph.node("Transpose", heads["query"], perm=[0, 2, 1, 3])
    key = graph.node("Transpose", heads["key"], perm=[0, 2, 3, 1])
    value = graph.node("Transpose", heads["value"], perm=[0, 2, 1, 3])
    scores = graph.node("Div", graph.node("MatMul", query, key), graph.constant(float(np.sqrt(_HIDDEN // _HEADS))))
    weights = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
    context = graph.node("Transpose", graph.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    joined = graph.node("Reshape", context, graph.axes(0, 0, _HIDDEN))
    attended = graph.node("Add", graph.dense(joined, f"{attention}.output.dense"), hidden)
    hidden = graph.norm(attended, f"{attention}.output.LayerNorm")
    inner = graph.dense(hidden, f"{name}.intermediate.dense")
    erf = graph.node("Erf", graph.node("Div", inner, graph.constant(float(np.sqrt(2.0)))))
    gelu = graph.node("Mul", graph.node("Mul", inner, graph.node("Add", erf, graph.constant(1.0))), graph.constant(0.5))
    return graph.norm(graph.node("Add", graph.dense(gelu, f"{name}.output.dense"), hidden), f"{name}.output.LayerNorm")
