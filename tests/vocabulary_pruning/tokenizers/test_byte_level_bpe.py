from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from nlpkit.text_files import read_lines
from nlpkit.vocabulary_pruning.tokenizers.byte_level_bpe import ancestors, derivation, pruned_bpe, refuse_other_bpe
from nlpkit.vocabulary_pruning.tokenizers.tokenizer_file import (
    needed_tokens,
    needs_of_tokens,
    pruned_content,
    token_names,
)
from tests.reference.bpe import merge_in_context
from tests.vocabulary_pruning.small_models import bpe_content, lines, merged_every_way


@st.composite
def merge_lists(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Merges over three letters, in any order of ranks, each pair once."""
    tokens, merges = list("abc"), list[tuple[str, str]]()
    for _ in range(draw(st.integers(1, 9))):
        pair = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        if pair not in merges and len(pair[0] + pair[1]) < 7:
            merges.append(pair)
            tokens.append(pair[0] + pair[1])
    return draw(st.permutations(merges))


@given(merges=merge_lists(), text=st.text(alphabet="abc", min_size=1, max_size=14))
def test_what_is_made_on_the_way_lies_within_the_tokens_and_is_made_of_each_alone(
    merges: list[tuple[str, str]], text: str
) -> None:
    tokens, met = merge_in_context(text, merges)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    assert derivation(text, ranks) == (met, tokens)
    assert met == set().union(*(derivation(token, ranks)[0] for token in tokens))


@given(merges=merge_lists(), text=st.text(alphabet="abc", min_size=1, max_size=14), data=st.data())
def test_with_the_ancestors_of_its_tokens_kept_any_text_is_merged_as_before(
    merges: list[tuple[str, str]], text: str, data: st.DataObject
) -> None:
    names = list(dict.fromkeys([*"abc", *("".join(pair) for pair in merges)]))
    model = {"vocab": {name: number for number, name in enumerate(names)}, "merges": merges}
    before = merge_in_context(text, merges)[0]
    chosen = {model["vocab"][token] for token in before} | set(data.draw(st.lists(st.integers(0, len(names) - 1))))
    kept = sorted(set().union(chosen, *map(ancestors(model), chosen)))
    pruned = pruned_bpe(model, {old: new for new, old in enumerate(kept)})
    assert merge_in_context(text, [tuple(pair) for pair in pruned["merges"]])[0] == before


def counted_and_pruned(content: str, texts: list[str], closing: bool = True) -> Tokenizer:
    """The tokenizer cut to the tokens of some texts."""
    made = json.loads(content)
    kept = {number for row in Tokenizer.from_str(content).encode_batch(texts) for number in row.ids}
    kept |= needed_tokens(made)
    if closing:
        kept = kept.union(*map(needs_of_tokens(made), kept))
    return Tokenizer.from_str(json.dumps(pruned_content(made, sorted(kept))))


def changed(content: str, after: Tokenizer, texts: list[str]) -> int:
    before = Tokenizer.from_str(content)
    pairs = zip(before.encode_batch(texts), after.encode_batch(texts), strict=True)
    return sum(old.tokens != new.tokens for old, new in pairs)


def ignoring_merges(content: str) -> str:
    made = json.loads(content)
    made["model"]["ignore_merges"] = True
    return json.dumps(made)


WAYS = {
    "as trained": lambda content: content,
    "merged every way": merged_every_way,
    "whole words first": lambda content: ignoring_merges(merged_every_way(content)),
    "merges as strings": lambda content: json.dumps(
        {
            **(made := json.loads(content)),
            "model": {**made["model"], "merges": [" ".join(pair) for pair in made["model"]["merges"]]},
        }
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_counted_line_is_cut_otherwise(way: str) -> None:
    content = WAYS[way](bpe_content(1500))
    texts = [line.rsplit(maxsplit=1)[0] for line in lines(3000, seed=1)]  # without the words of one script
    after = counted_and_pruned(content, texts)
    assert after.get_vocab_size() < Tokenizer.from_str(content).get_vocab_size() - 20
    assert changed(content, after, texts) == 0


@pytest.fixture(scope="module")
def corpus_content(shared_data: Path) -> str:
    """A BPE of 8,000 tokens trained on corpus lines."""
    tokenizer = Tokenizer.from_str(bpe_content(300))
    trainer = BpeTrainer(vocab_size=8000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus_lines(shared_data, 400, 700), trainer)
    return tokenizer.to_str()


def corpus_lines(data: Path, start: int, stop: int) -> list[str]:
    files = sorted((data / "corpus-zh").glob("*.xz"))
    return [line for path in files for line in islice(read_lines(path), start, stop)]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("way", ["as trained", "merged every way", "whole words first"])
def test_no_corpus_line_is_cut_otherwise_and_filtering_merges_alone_changes_most(
    corpus_content: str, shared_data: Path, way: str
) -> None:
    content, texts = WAYS[way](corpus_content), corpus_lines(shared_data, 0, 340)
    assert len(texts) > 3000
    assert changed(content, counted_and_pruned(content, texts), texts) == 0
    assert changed(content, counted_and_pruned(content, texts, closing=False), texts) > len(texts) // 4


def test_tokens_that_merges_do_not_lead_to_have_no_ancestors() -> None:
    model = {"vocab": {"a": 0, "b": 1, "ab": 2, "abab": 3, "?": 4}, "merges": [["a", "b"]]}
    way = ancestors(model)
    assert (list(way(3)), sorted(way(2)), sorted(way(4)), list(way(9))) == ([], [0, 1, 2], [4], [])


def test_the_bytes_are_always_kept_and_any_text_comes_back() -> None:
    after = counted_and_pruned(bpe_content(), ["a"])
    text = "𠮷 ﷺ é \t\u200b"
    assert after.decode(after.encode(text).ids) == text
    assert len(token_names(json.loads(after.to_str()))) >= 256


@pytest.mark.parametrize(
    "setting", [{"continuing_subword_prefix": "##"}, {"end_of_word_suffix": "</w>"}, {"dropout": 0.1}]
)
def test_other_kinds_of_bpe_are_refused(setting: dict[str, object]) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=f"BPE has {name}="):
        refuse_other_bpe(setting)
