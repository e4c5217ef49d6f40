from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from nlpkit.mt5 import faithful_tokenizer
from nlpkit.text_files import read_lines
from nlpkit.vocabulary_pruning.tokenizers.tokenizer_file import needed_tokens, needs_of_tokens, pruned_content

PIECES = ["a", "b", "ab", "ba", "aab", "bb", "abc"]
SCORES = st.lists(st.integers(-90, -1), min_size=len(PIECES), max_size=len(PIECES), unique=True)


@given(scores=SCORES, dropped=st.sets(st.sampled_from(PIECES)), text=st.text(alphabet="abc", min_size=1, max_size=9))
def test_a_text_whose_pieces_are_kept_is_cut_as_before(scores: list[int], dropped: set[str], text: str) -> None:
    # Scores of powers, so that no two paths tie.
    vocabulary = [
        ("?", 0.0),
        *((piece, -1 - 1.37 ** (-score / 9)) for piece, score in zip(PIECES, scores, strict=True)),
    ]
    content = json.loads(Tokenizer(Unigram(vocabulary, unk_id=0)).to_str())
    before = Tokenizer.from_str(json.dumps(content)).encode(text).tokens
    kept = {number for number, (piece, _) in enumerate(vocabulary) if piece not in dropped or piece in before}
    kept = sorted(kept | needed_tokens(content))
    after = Tokenizer.from_str(json.dumps(pruned_content(content, kept))).encode(text).tokens
    assert after == before


@pytest.mark.shared
def test_corpus_lines_whose_pieces_are_kept_are_cut_as_before(shared_models: Path, shared_data: Path) -> None:
    tokenizer = faithful_tokenizer(shared_models / "vocab" / "mt5-cn-pruned.spiece.model")
    texts = list(islice(read_lines(shared_data / "corpus-zh" / "reviews.txt.xz"), 3000))
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    counted = {number for row in rows[:1000] for number in row} | needed_tokens(content)
    kept = sorted(counted.union(*map(needs_of_tokens(content), counted)))
    new_ids = {old: new for new, old in enumerate(kept)}
    after = Tokenizer.from_str(json.dumps(pruned_content(content, kept))).encode_batch(texts, add_special_tokens=False)
    covered = [(row, new.ids) for row, new in zip(rows, after, strict=True) if set(row) <= new_ids.keys()]
    assert 1000 < len(covered) < 3000
    assert [1 for old, new in covered if [new_ids[number] for number in old] != new] == []


def test_the_piece_with_the_lowest_score_stays_since_unknown_characters_are_scored_by_it() -> None:
    vocabulary = [("?", 0.0), ("ab", -1.0), ("a", -20.0), ("bc", -20.5), ("zz", -30.0)]
    content = json.loads(Tokenizer(Unigram(vocabulary, unk_id=0)).to_str())
    before = Tokenizer.from_str(json.dumps(content)).encode("abc").tokens
    assert before == ["a", "bc"]  # ten below the lowest, -40, an unknown c costs too much
    kept = sorted({0, 1, 2, 3} | needed_tokens(content))
    assert Tokenizer.from_str(json.dumps(pruned_content(content, kept))).encode("abc").tokens == before
