"""Splitters: spans are exact, cover what they must, and equal the published ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_text_splitters import RecursiveCharacterTextSplitter

from wandb_governance.errors import SweepConfigError
from wandb_governance.sweep.corpus import Corpus
from wandb_governance.sweep.splitter import DEFAULT_SEPARATORS, SPLITTERS, make_splitter
from wandb_governance.sweep.tokens import tokenizer

WORDS = st.text(alphabet=st.sampled_from(list("ab .!?\n\r\t é漢字א😀e\u0301")), max_size=200)
PAIRS = st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


@given(text=WORDS, pair=PAIRS, name=st.sampled_from(SPLITTERS), counts=st.sampled_from(["characters", "cl100k_base"]))
@settings(deadline=None, max_examples=150)
def test_spans_lie_in_the_text_in_order_and_are_not_empty(
    text: str, pair: tuple[int, int], name: str, counts: str
) -> None:
    """Every splitter gives ordered, non-empty spans for any text."""
    spans = make_splitter(name, size=pair[0], overlap=pair[1], tokenizer=counts).spans(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


@given(text=WORDS, size=st.integers(1, 40), name=st.sampled_from(SPLITTERS))
@settings(deadline=None)
def test_nothing_but_white_space_is_lost(text: str, size: int, name: str) -> None:
    """The spans cover every character that is not white space."""
    covered: set[int] = set()
    for start, end in make_splitter(name, size=size, overlap=0, tokenizer="characters").spans(text):
        covered.update(range(start, end))
    assert all(char.isspace() for at, char in enumerate(text) if at not in covered)


@given(text=WORDS, pair=PAIRS)
@settings(deadline=None, max_examples=200)
def test_recursive_spans_equal_langchain(text: str, pair: tuple[int, int]) -> None:
    """Texts of the recursive splitter equal LangChain's, so published results carry over."""
    measure = tokenizer("cl100k_base")
    theirs = RecursiveCharacterTextSplitter(
        separators=list(DEFAULT_SEPARATORS),
        chunk_size=pair[0],
        chunk_overlap=pair[1],
        length_function=measure.count,
    ).split_text(text)
    spans = make_splitter("recursive", size=pair[0], overlap=pair[1], tokenizer="cl100k_base").spans(text)
    assert [text[start:end] for start, end in spans] == theirs


@pytest.mark.parametrize(("size", "overlap"), [(128, 16), (400, 200), (512, 0)])
def test_recursive_spans_equal_langchain_on_real_text(size: int, overlap: int, chroma_corpus: Corpus) -> None:
    """The same on 1.45 MB of public text."""
    measure = tokenizer("cl100k_base")
    theirs = RecursiveCharacterTextSplitter(
        separators=list(DEFAULT_SEPARATORS), chunk_size=size, chunk_overlap=overlap, length_function=measure.count
    )
    ours = make_splitter("recursive", size=size, overlap=overlap, tokenizer="cl100k_base")
    for document in chroma_corpus.documents:
        text = document.text
        assert [text[start:end] for start, end in ours.spans(text)] == theirs.split_text(text)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_token_windows_without_overlap_tile_the_text(size: int, chroma_corpus: Corpus) -> None:
    """Windows of tokens leave nothing out and repeat nothing, though a token can end inside a character."""
    text = "naïve 😀😀 漢字 \u202bעברית\u202c " + chroma_corpus.documents[0].text[:5000]
    spans = make_splitter("token", size=size, overlap=0, tokenizer="cl100k_base").spans(text)
    assert "".join(text[start:end] for start, end in spans) == text


def test_token_counts_equal_tiktoken(chroma_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The offline byte-pair data gives the tokens of tiktoken."""
    from importlib.metadata import distribution

    import tiktoken

    cache = distribution("llama-index-core").locate_file("llama_index/core/_static/tiktoken_cache")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    reference = tiktoken.get_encoding("cl100k_base")
    texts = [document.text[:20_000] for document in chroma_corpus.documents] + ["", "<|endoftext|>", "a\u0301 😀\r\n"]
    for text in texts:
        assert tokenizer("cl100k_base").count(text) == len(reference.encode_ordinary(text))


@pytest.mark.parametrize("name", SPLITTERS)
@pytest.mark.parametrize(("size", "overlap"), [(10, 10), (10, 11), (0, 0), (10, -1)])
def test_an_impossible_pair_is_refused(name: str, size: int, overlap: int) -> None:
    """An overlap as large as the size never ends in some splitters: here no splitter is made."""
    with pytest.raises(SweepConfigError):
        make_splitter(name, size=size, overlap=overlap, tokenizer="characters")


def test_repeated_text_keeps_its_own_place() -> None:
    """Two chunks with the same text have different spans."""
    text = "same words here.\n\nsame words here.\n\nother words."
    spans = make_splitter("recursive", size=18, overlap=0, tokenizer="characters").spans(text)
    assert [text[start:end] for start, end in spans][:2] == ["same words here.", "same words here."]
    assert spans[0] != spans[1]


@pytest.mark.parametrize("name", SPLITTERS)
def test_hard_texts_are_cut(name: str) -> None:
    """An empty text, one giant line, a short text and CRLF text are all cut without loss."""
    splitter = make_splitter(name, size=50, overlap=10, tokenizer="cl100k_base")
    assert splitter.spans("") == []
    assert splitter.spans(" \n\t ") == [] or name == "token"
    assert splitter.spans("short") == [(0, 5)]
    line = "x" * 100_000
    assert splitter.spans(line)[-1][1] == len(line)
    crlf = "one line.\r\nanother line.\r\n" * 50
    assert all(crlf[start:end].strip() for start, end in splitter.spans(crlf))
