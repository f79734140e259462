"""Text to counts of words: the runtime's own tokenizer, scikit-learn's n-grams and weights."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame, width_of
from mlops_kit.exporters.sklearn.scaling import divide_by_length
from mlops_kit.exporters.sklearn.translator import Translator, numbers

WORDS = r"(?u)\b\w\w+\b"
SINGLE_WORDS = r"(?u)\b\w+\b"
PATTERNS = {WORDS: r"[\p{L}\p{N}_]{2,}", SINGLE_WORDS: r"[\p{L}\p{N}_]+"}
"""scikit-learn's usual token patterns in the tokenizer's own language (RE2), where \\w is ASCII."""

DOMAIN = "com.microsoft"


def count_words(model: Any, frame: Frame, t: Translator) -> Frame:
    """CountVectorizer."""
    _refuse_unfaithful(model, t)
    if width_of(frame) != 1 or not frame[0].is_text:
        raise t.refusal(model, f"it takes one column of text, and gets {width_of(frame)} columns or numbers")
    texts = t.graph.add("Reshape", frame[0].tensor, np.array([-1], np.int64))
    if model.lowercase:
        texts = t.graph.add("StringNormalizer", texts, case_change_action="LOWER", locale=_locale(model))
    # The operator behind needs a token in every batch; this one is in no vocabulary.
    stop = _unknown_token(model)
    texts = t.graph.add("StringConcat", texts, np.array([f" {stop}"], object))
    pattern = PATTERNS.get(model.token_pattern, model.token_pattern)
    tokens = t.graph.add("Tokenizer", texts, domain=DOMAIN, mark=0, pad_value=stop, mincharnum=1, tokenexp=pattern)
    counts = t.graph.add("TfIdfVectorizer", tokens, mode="TF", max_skip_count=0, **_vocabulary(model, t))
    counts = t.graph.cast(counts)
    if model.binary:
        counts = t.graph.add("Sign", counts)
    return numbers(counts, len(model.vocabulary_))


def _locale(model: Any) -> str:
    """The rules for small letters: "C" is everywhere, but knows ASCII only. That is enough for such terms."""
    return "C" if all(term.isascii() for term in model.vocabulary_) else "C.UTF-8"


def _unknown_token(model: Any) -> str:
    known = {token for term in model.vocabulary_ for token in term.split(" ")}
    letters = 2
    while "z" * letters in known:
        letters += 1
    return "z" * letters


def _refuse_unfaithful(model: Any, t: Translator) -> None:
    problems = {
        "it has a preprocessor or tokenizer of its own": model.preprocessor or model.tokenizer,
        "it splits text into characters": model.analyzer != "word",
        "it strips accents": model.strip_accents,
        "it leaves stop words out of n-grams": model.stop_words and model.ngram_range != (1, 1),
        "its token pattern has groups or is none of the usual ones": not _is_plain(model.token_pattern),
    }
    for why, is_problem in problems.items():
        if is_problem:
            raise t.refusal(model, why, "do that before the model, and use the defaults")


def _is_plain(pattern: str) -> bool:
    """A usual pattern, or one that means the same to Python and RE2: a repeated class of ASCII characters."""
    return pattern in PATTERNS or re.fullmatch(r"\[[A-Za-z0-9_\-]+\](\+|\{\d+,\})", pattern) is not None


def _vocabulary(model: Any, t: Translator) -> dict[str, Any]:
    shortest, longest = model.ngram_range
    terms = sorted(model.vocabulary_, key=lambda term: (len(term.split(" ")), model.vocabulary_[term]))
    split = [term.split(" ") for term in terms]
    if any(not shortest <= len(tokens) <= longest for tokens in split):
        raise t.refusal(model, "its vocabulary has terms that are no n-grams of its tokens")
    pool = [token for tokens in split for token in tokens]
    sizes = [len(tokens) for tokens in split]
    starts = [sum(size for size in sizes if size < n) for n in range(1, longest + 1)]
    return {
        "min_gram_length": shortest,
        "max_gram_length": longest,
        "ngram_counts": starts,
        "ngram_indexes": [int(model.vocabulary_[term]) for term in terms],
        "pool_strings": pool,
    }


def weigh_terms(model: Any, frame: Frame, t: Translator) -> Frame:
    """TfidfTransformer."""
    x = t.matrix(model, frame)
    if model.sublinear_tf:
        is_absent = t.graph.add("Equal", x, np.array([0.0]))
        safe = t.graph.add("Where", is_absent, np.array([1.0]), x)
        weighed = t.graph.add("Add", t.graph.add("Log", safe), np.array(1.0))
        x = t.graph.add("Where", is_absent, np.array([0.0]), weighed)
    if model.use_idf:
        x = t.graph.add("Mul", x, np.asarray(model.idf_, float).reshape(1, -1))
    if model.norm is not None:
        x = divide_by_length(x, width_of(frame), model.norm, t)
    return numbers(x, width_of(frame))


def weigh_words(model: Any, frame: Frame, t: Translator) -> Frame:
    """TfidfVectorizer."""
    return weigh_terms(model._tfidf, count_words(model, frame, t), t)


TRANSFORMERS: Mapping[str, Callable[[Any, Frame, Translator], Frame]] = {
    "CountVectorizer": count_words,
    "TfidfTransformer": weigh_terms,
    "TfidfVectorizer": weigh_words,
}
