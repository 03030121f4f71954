"""Fine-tune the name model in two rounds.

    python generate.py round1.jsonl 110000 11
    python train.py RAMPART ../../../../shared/data round1.jsonl 1 28 round1.pt
    python export.py RAMPART round1.pt ../../../wandb_governance/policy/data/ner
    python generate_carriers.py ../../../../shared/data round2.jsonl 60000 77
    python train.py RAMPART ../../../../shared/data round2.jsonl 2 20 round2.pt round1.pt
    python export.py RAMPART round2.pt ../../../wandb_governance/policy/data/ner

RAMPART is the folder that ``base_model.py`` tells of; carriers are labelled with the model of round 1. Round 1 adds
presidio-research generated_large (MIT) three times and the even rows of WNUT-17 dev (CC BY 4.0) four times, round 2
once and twice. Reported on: presidio-research synth_dataset_v2, the odd rows of WNUT-17, and prompts of
``../report_prompts.py`` with seed 202; none of them is read here. Thresholds and lists were tuned with seed 101.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import torch
from base_model import LABELS, student
from tokenizers import Tokenizer

LENGTHS = (16, 32, 48, 64, 96, 128, 192)
TOKENS_PER_STEP = 2048
PRESIDIO = {"PERSON": "PER", "LOCATION": "LOC", "ADDRESS": "LOC"}
WNUT = {"PERSON": "PER", "location": "LOC"}
# (copies of presidio, copies of WNUT, learning rate of embeddings, of the rest, steps of warm-up)
ROUNDS = {1: (3, 4, 5e-5, 2e-4, 150), 2: (1, 2, 6e-5, 1.5e-4, 50)}
Example = tuple[list[int], list[int], list[int]]


def encode(tokenizer: Tokenizer, text: str, spans: list[tuple[int, int, str]]) -> Example:
    """Pieces, case of the word of each piece, label of each piece; the two ends are not scored."""
    encoding = tokenizer.encode(text)
    labels = [0] * len(encoding.ids)
    for start, end, kind in spans:
        inside = [i for i, (a, b) in enumerate(encoding.offsets) if a < end and b > start and b > a]
        for rank, index in enumerate(inside):
            labels[index] = LABELS.index(f"{'I' if rank else 'B'}-{kind}")
    cases = []
    for word in encoding.word_ids:
        shown = "" if word is None else text[slice(*encoding.word_to_chars(word))]
        cases.append(2 if len(shown) > 1 and shown.isupper() else 1 if shown[:1].isupper() else 0)
    labels[0] = labels[-1] = -100
    longest = LENGTHS[-1]
    return encoding.ids[:longest], cases[:longest], labels[:longest]


def labelled(path: Path, kinds: dict[str, str] | None = None, *, even_only: bool = False) -> list[tuple[str, list]]:
    rows = [json.loads(line) for line in path.open(encoding="utf-8")][:: 2 if even_only else 1]
    return [
        (r["text"], [(s, e, kinds[k] if kinds else k) for s, e, k in r["spans"] if not kinds or k in kinds])
        for r in rows
    ]


def batches(examples: list[Example]) -> list[list[Example]]:
    """Steps of one length each, so that kernels are compiled for seven shapes only."""
    waiting: dict[int, list[Example]] = {}
    full = []
    for example in examples:
        length = next(n for n in LENGTHS if len(example[0]) <= n)
        bucket = waiting.setdefault(length, [])
        bucket.append(example)
        if len(bucket) * length > TOKENS_PER_STEP - length:
            full.append(bucket)
            waiting[length] = []
    return full


def padded(batch: list[Example], part: int, value: int) -> torch.Tensor:
    length = next(n for n in LENGTHS if max(len(example[0]) for example in batch) <= n)
    return torch.tensor([example[part] + [value] * (length - len(example[part])) for example in batch])


def main(base: str, data: str, texts: str, round_: str, minutes: str, out: str, start: str = "") -> None:
    torch.manual_seed(0)
    random.seed(0)
    presidio, wnut, slow, fast, warm_up = ROUNDS[int(round_)]
    tokenizer = Tokenizer.from_file(str(Path(base) / "tokenizer.json"))
    rows = labelled(Path(texts))
    rows += labelled(Path(data) / "pii_presidio_gen_large" / "data.jsonl", PRESIDIO) * presidio
    rows += labelled(Path(data) / "pii_wnut17_dev" / "data.jsonl", WNUT, even_only=True) * wnut
    examples = [encode(tokenizer, text, spans) for text, spans in rows]
    random.shuffle(examples)
    steps = batches(examples)
    model = student(Path(base))
    if start:
        model.load_state_dict(torch.load(start))
    model.train()
    embeddings = [p for n, p in model.named_parameters() if "word_emb" in n]
    others = [p for n, p in model.named_parameters() if "word_emb" not in n]
    optimizer = torch.optim.AdamW(
        [{"params": embeddings, "lr": slow}, {"params": others, "lr": fast}], weight_decay=0.01
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    weight = torch.tensor([1.0, 1.2, 1.2, 0.8, 0.8])
    began, step, share = time.time(), 0, 0.0
    while share < 1:
        batch = steps[step % len(steps)]
        share = min(1.0, (time.time() - began) / (60 * float(minutes)))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1, step / warm_up) * (1 - share) + 1e-7
        ids, cases, labels = padded(batch, 0, 0), padded(batch, 1, 0), padded(batch, 2, -100)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=(ids != 0).long(), token_type_ids=cases).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().view(-1, len(LABELS)), labels.view(-1), weight=weight, label_smoothing=0.02
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(step, round(share, 3), round(float(loss), 4), flush=True)
    torch.save(model.state_dict(), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
