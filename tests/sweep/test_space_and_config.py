"""``rag.yaml``: errors name line and key, and no impossible pair ever becomes a trial."""

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.errors import SweepConfigError
from wandb_governance.sweep.compile import sweep_config
from wandb_governance.sweep.config import load_sweep
from wandb_governance.sweep.space import Overlap, Range, Space

BASE = """name: demo
corpus:
  path: corpus
questions:
  path: questions.jsonl
space:
  chunk_size: [128, 256]
  chunk_overlap: [0, 32, 128, 256]
  top_k: [1, 5]
  embedding: [static]
metric:
  name: recall
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "one.md").write_text("One fox. Two dogs. Three cats.\n\nFour hens.")
    (tmp_path / "questions.jsonl").write_text(
        '{"question": "foxes?", "gold": [{"doc": "one", "start": 0, "end": 8}]}\n'
    )
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "rag.yaml").write_text(text)
    return folder / "rag.yaml"


def draw(parameters: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A draw from W&B parameters that knows nothing of chunking, as the server's search does."""
    chosen = {}
    for name, axis in parameters.items():
        if "value" in axis:
            chosen[name] = axis["value"]
        elif "values" in axis:
            chosen[name] = rng.choice(axis["values"])
        elif axis["distribution"] == "int_uniform":
            chosen[name] = rng.randint(axis["min"], axis["max"])
        else:
            chosen[name] = rng.uniform(axis["min"], axis["max"])
    return chosen


def test_impossible_pairs_are_no_trials(folder: Path) -> None:
    """An overlap that equals or exceeds a size is dropped before the sweep is made, and named."""
    space = load_sweep(write(folder, BASE)).space
    assert space.pairs() == ((128, 0), (128, 32), (256, 0), (256, 32), (256, 128))
    assert space.impossible_pairs() == ((128, 128), (128, 256), (256, 256))
    assert all(c.chunk_overlap < c.chunk_size for c in space.grid())
    assert len(space.grid()) == 5 * 2


@given(
    sizes=st.one_of(
        st.lists(st.integers(1, 600), min_size=1, max_size=4),
        st.tuples(st.integers(1, 100), st.integers(101, 900)),
    ),
    overlaps=st.one_of(
        st.lists(st.one_of(st.integers(1, 600), st.floats(0, 0.999)), min_size=1, max_size=4),
        st.tuples(st.floats(0, 0.4), st.floats(0.5, 0.999)),
    ),
    seed=st.integers(0, 100),
)
@settings(max_examples=150)
def test_every_draw_from_the_parameters_is_possible(sizes: Any, overlaps: Any, seed: int) -> None:
    """Grid, random and bayes only combine the parameters they are given: all combinations are possible pairs."""
    space = Space(
        splitter=("recursive",),
        tokenizer=("characters",),
        chunk_size=Range(low=sizes[0], high=sizes[1], whole=True) if isinstance(sizes, tuple) else tuple(sizes),
        chunk_overlap=Range(low=overlaps[0], high=overlaps[1], whole=False)
        if isinstance(overlaps, tuple)
        else tuple(Overlap(tokens=o) if isinstance(o, int) else Overlap(share=o) for o in overlaps),
        retriever=("bm25", "dense"),
        embedding=("static", "minilm"),
        reranker=("none",),
        top_k=(1, 3),
        llm=("none",),
        prompt=("default",),
        temperature=(0.0,),
    )
    if isinstance(sizes, tuple) and not space.uses_shares:
        return
    listed = not isinstance(sizes, tuple) and not isinstance(overlaps, tuple)
    if listed and not space.pairs():
        return
    rng = random.Random(seed)
    for _ in range(20):
        configuration = space.configuration(draw(space.parameters(), rng))
        assert 0 <= configuration.chunk_overlap < configuration.chunk_size
        if configuration.retriever == "bm25":
            assert configuration.embedding == "none"


def test_parameters_mean_exactly_the_grid(folder: Path) -> None:
    """Every combination of the W&B parameters is one configuration of the grid, and all of them come up."""
    text = BASE.replace("embedding: [static]", "embedding: [static, minilm]\n  retriever: [bm25, dense, hybrid]")
    space = load_sweep(write(folder, text)).space
    parameters = space.parameters()
    names = list(parameters)
    values = [axis.get("values", [axis.get("value")]) for axis in parameters.values()]
    found = [space.configuration(dict(zip(names, point, strict=True))).key for point in itertools.product(*values)]
    assert sorted(found) == sorted(c.key for c in space.grid())
    assert len(set(found)) == len(found) == 5 * 5 * 2


def test_the_compiled_configuration_is_valid_for_the_sdk(folder: Path) -> None:
    """The schema of W&B's ``sweeps`` takes it: grid, random with hyperband, bayes. It is older than ``run_cap``."""
    from sweeps.config import SweepConfig

    for search in ("method: grid", "method: random, runs: 5, early_stop: true", "method: bayes, runs: 5"):
        compiled = sweep_config(load_sweep(write(folder, BASE + f"search: {{{search}}}\n")))
        known = {key: value for key, value in compiled.items() if key != "run_cap"}
        assert SweepConfig(known)["method"] == compiled["method"]
        assert yaml.safe_load(yaml.safe_dump(compiled)) == compiled


@pytest.mark.parametrize(
    ("change", "line", "key"),
    [
        (("top_k: [1, 5]", "top_k: [1, 0]"), 9, "space.top_k[1]"),
        (("top_k: [1, 5]", "topk: [1]\n  top_k: [1]"), 9, "space.topk"),
        (("[0, 32, 128, 256]", "[0, 150%]"), 8, "space.chunk_overlap[1]"),
        (("[0, 32, 128, 256]", "[-1]"), 8, "space.chunk_overlap[0]"),
        (("[0, 32, 128, 256]", "[256, 300]"), 8, "space.chunk_overlap"),
        (("embedding: [static]", "embedding: [static, bert]"), 10, "space.embedding[1]"),
        (("name: recall", "name: recal"), 12, "metric.name"),
        (("name: recall", "name: f1"), 12, "metric.name"),
        (("chunk_size: [128, 256]", "chunk_size: {min: 64, max: 32}"), 7, "space.chunk_size"),
        (("chunk_size: [128, 256]", "chunk_size: {min: 64, max: 512}"), 8, "space.chunk_overlap"),
        (("metric:", "search: {method: random}\nmetric:"), 11, "search"),
        (("name: demo", "name: demo\nprompts: {p: no fields}"), 2, "prompts.p"),
        (("corpus:\n", "corpus: &a\n"), None, None),
    ],
)
def test_an_error_names_file_line_and_key(
    change: tuple[str, str], line: int | None, key: str | None, folder: Path
) -> None:
    """A person can go to the place at once."""
    text = BASE.replace(*change)
    if key is None:
        load_sweep(write(folder, text))
        return
    with pytest.raises(SweepConfigError) as raised:
        load_sweep(write(folder, text))
    assert (raised.value.line, raised.value.key) == (line, key)
    assert raised.value.file is not None
    assert raised.value.file.endswith("rag.yaml")


def test_a_share_is_rounded_down_and_equal_pairs_are_one(folder: Path) -> None:
    """12.5% of 128 is 16, and 16 beside it is the same configuration."""
    text = BASE.replace("[0, 32, 128, 256]", "[12.5%, 16]").replace("[128, 256]", "[128]")
    assert load_sweep(write(folder, text)).space.pairs() == ((128, 16),)


def test_random_search_is_decided_by_its_seed(folder: Path) -> None:
    """The same file asks for the same trials; another seed for others."""
    space = load_sweep(write(folder, BASE)).space
    assert space.sample(6, seed=1) == space.sample(6, seed=1)
    assert space.sample(6, seed=1) != space.sample(6, seed=2)
    assert len({c.key for c in space.sample(100, seed=0)}) == len(space.grid())


def test_the_optuna_space_never_suggests_an_impossible_pair(folder: Path) -> None:
    """Define-by-run over the compiled axes, as W&B's sweep-scheduler calls it."""
    from wandb_governance.sweep.scheduler import study, suggest

    sweep = load_sweep(write(folder, BASE + "search: {method: bayes, runs: 20, scheduler: optuna}\n"))
    chosen = study(sweep)
    for _ in range(20):
        trial = chosen.ask()
        configuration = sweep.space.configuration(suggest(trial, sweep))
        assert configuration.chunk_overlap < configuration.chunk_size
        chosen.tell(trial, configuration.chunk_size)
