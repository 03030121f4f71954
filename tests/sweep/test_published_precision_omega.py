"""Precision-omega depends on splitter and metric alone, so published values must come out to the last digit."""

import numpy as np
import pytest

from wandb_governance.sweep.corpus import Corpus
from wandb_governance.sweep.metrics import precision_omega
from wandb_governance.sweep.questions import QuestionSet
from wandb_governance.sweep.splitter import SearchedSplitter, Splitter, make_splitter

OPENAI_TABLE = [
    ("recursive", 800, 400, "6.7 ± 5.2"),
    ("token", 800, 400, "4.7 ± 3.1"),
    ("recursive", 400, 200, "13.9 ± 10.4"),
    ("token", 400, 200, "8.4 ± 5.1"),
    ("recursive", 400, 0, "17.7 ± 14.0"),
    ("token", 400, 0, "12.5 ± 8.1"),
    ("recursive", 200, 0, "29.9 ± 18.4"),
    ("token", 200, 0, "21.0 ± 11.9"),
]
MINILM_TABLE = [
    ("recursive", 250, 125, "21.9 ± 14.9"),
    ("recursive", 250, 0, "26.7 ± 18.3"),
    ("recursive", 200, 0, "31.2 ± 18.4"),
]


def omega(corpus: Corpus, questions: QuestionSet, splitter: Splitter, *, touching: bool) -> str:
    chunks = {
        document.id: tuple(np.array(spans, dtype=np.int64).T)
        for document in corpus.documents
        if (spans := splitter.spans(document.text))
    }
    scores = [
        100 * precision_omega([(g.doc, g.start, g.end) for g in q.gold], chunks, touching=touching)
        for q in questions.questions
    ]
    return f"{np.mean(scores):.1f} ± {np.std(scores):.1f}"


@pytest.mark.parametrize(("name", "size", "overlap", "published"), OPENAI_TABLE)
def test_openai_table_comes_out_to_the_last_digit(
    name: str, size: int, overlap: int, published: str, chroma_corpus: Corpus, chroma_questions: QuestionSet
) -> None:
    """All eight Recursive and TokenText rows of the report (cl100k tokens)."""
    splitter = SearchedSplitter(make_splitter(name, size=size, overlap=overlap, tokenizer="cl100k_base"))
    assert omega(chroma_corpus, chroma_questions, splitter, touching=True) == published


@pytest.mark.parametrize(("name", "size", "overlap", "published"), MINILM_TABLE)
def test_minilm_table_comes_out_with_wordpieces_and_special_tokens(
    name: str, size: int, overlap: int, published: str, chroma_corpus: Corpus, chroma_questions: QuestionSet
) -> None:
    """The Recursive rows of the MiniLM table count wordpieces and two special tokens; their spans are the true ones."""
    splitter = make_splitter(name, size=size, overlap=overlap, tokenizer="minilm+special")
    assert omega(chroma_corpus, chroma_questions, splitter, touching=True) == published


def test_searching_for_a_chunk_misplaces_repeated_text(chroma_corpus: Corpus) -> None:
    """A fifth of the chunks of 128 tokens have a text that stands earlier too: why spans come from the splitter."""
    splitter = make_splitter("token", size=128, overlap=64, tokenizer="cl100k_base")
    searched = SearchedSplitter(splitter)
    pairs = [
        pair
        for document in chroma_corpus.documents
        for pair in zip(splitter.spans(document.text), searched.spans(document.text), strict=True)
    ]
    misplaced = sum(true != found for true, found in pairs)
    assert misplaced / len(pairs) > 0.05
    texts = {document.id: document.text for document in chroma_corpus.documents}
    assert all(0 <= start < end <= max(map(len, texts.values())) for (start, end), _ in pairs)
