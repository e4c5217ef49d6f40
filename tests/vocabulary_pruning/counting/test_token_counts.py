from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer

from nlpkit.vocabulary_pruning import count_tokens
from tests.vocabulary_pruning.small_models import bpe_content, lines


def test_counts_are_those_of_each_text_in_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlpkit.vocabulary_pruning.counting.token_counts._CHARACTERS_AT_ONCE", 4000)
    backend = Tokenizer.from_str(bpe_content())
    texts = ["", *lines(900)]
    expected = Counter(number for text in texts for number in backend.encode(text).ids)
    for processes in (1, 2):
        found = count_tokens(iter(texts), backend, processes=processes)
        assert (found.texts, found.characters) == (901, sum(map(len, texts)))
        assert {int(number): int(found.counts[number]) for number in np.flatnonzero(found.counts)} == expected


def test_what_cannot_be_counted_is_named() -> None:
    backend = Tokenizer.from_str(bpe_content())
    with pytest.raises(ValueError, match="corpus holds no text"):
        count_tokens(iter(["", ""]), backend)
    for blank in ([" "], ["  ", "\n", "\t\u3000"]):
        with pytest.raises(ValueError, match="corpus holds no text"):
            count_tokens(blank, backend)
    with pytest.raises(TypeError, match="corpus is one text, 'one text'"):
        count_tokens("one text", backend)
    with pytest.raises(TypeError, match="corpus, text 1 is a NoneType"):
        count_tokens(["a", None], backend)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="half of a surrogate pair, in 'b"):
        count_tokens(["a", "b\ud800"], backend)
    with pytest.raises(ValueError, match="processes=0 must be 1 or more"):
        count_tokens(["a"], backend, processes=0)
