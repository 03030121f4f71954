"""Public data for sweep tests: Chroma's chunking evaluation, SQuAD 2 and small corpora."""

from pathlib import Path

import pytest

from wandb_governance.sweep.corpus import Corpus, load_corpus
from wandb_governance.sweep.questions import QuestionSet, load_questions

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def chroma_corpus() -> Corpus:
    return load_corpus(DATA / "chroma_chunking" / "corpora")


@pytest.fixture(scope="session")
def chroma_questions(chroma_corpus: Corpus) -> QuestionSet:
    return load_questions(DATA / "chroma_chunking" / "questions_df.csv", chroma_corpus)
