"""Write the trained weights as eight-bit ONNX, with the tokenizer, into the package.

python export.py RAMPART trained.pt ../../../wandb_governance/policy/data/ner
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import torch
from base_model import student
from onnxruntime.quantization import QuantType, quantize_dynamic

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def main(base: str, trained: str, out: str) -> None:
    model = student(Path(base))
    model.load_state_dict(torch.load(trained))
    model.config._attn_implementation = "eager"
    sample = torch.randint(5, 1000, (2, 16))
    axes = {name: {0: "batch", 1: "token"} for name in (*INPUTS, "logits")}
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "names.onnx"
        torch.onnx.export(
            _Logits(model.eval()),
            (sample, torch.ones_like(sample), torch.zeros_like(sample)),
            str(full),
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        quantize_dynamic(
            full,
            Path(out) / "names.int8.onnx",
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"],
            extra_options={"MatMulConstBOnly": True},
        )
    shutil.copy(Path(base) / "tokenizer.json", Path(out) / "tokenizer.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
