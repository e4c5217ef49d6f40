"""Sentences to units: what each is made of, in texts and in words, with tokenizers of every kind."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from nlpkit import WoBertTokenizer
from nlpkit.perturbed_masking.impact.units import UnitTokenizer
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from tests.perturbed_masking.small_models import tokenizer


def byte_level(with_unknown: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer after RoBERTa's: bytes, a few merges, spaces written into the tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "<pad>", "</s>", "<mask>", *alphabet, "Ġt", "he", "Ġthe"]
    model = models.BPE({token: number for number, token in enumerate(tokens)}, [("Ġ", "t"), ("h", "e"), ("Ġt", "he")])
    core = Tokenizer(model)
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, mask_token="<mask>", bos_token="<s>", eos_token="</s>")


def sentence_piece() -> PreTrainedTokenizerFast:
    """A tokenizer after XLM-R's: pieces of running text that begins with a space."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("<mask>", 0.0), ("▁", -2.0)]
    pieces += [("天气", -3.0), ("天", -4.0), ("气", -4.0), ("好", -4.0), ("▁the", -3.0), ("c", -5.0), ("at", -4.0)]
    core = Tokenizer(models.Unigram(pieces, unk_id=3))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, mask_token="<mask>", unk_token="<unk>")


def show(units: Any, used: Any) -> list[tuple[str, list[str]]]:
    """Each unit with its tokens."""
    tokens = used.convert_ids_to_tokens(list(units.token_ids))
    return [
        (word, [token for token, owner in zip(tokens, units.owners, strict=True) if owner == number])
        for number, word in enumerate(units.words)
    ]


def test_words_of_several_pieces_are_one_unit() -> None:
    units = UnitTokenizer(tokenizer(), "characters", 40)(["the", "cats", "unhappily", "天气"])
    assert show(units, tokenizer()) == [
        ("the", ["the"]),
        ("cats", ["cat", "##s"]),
        ("unhappily", ["un", "##happ", "##ily"]),
        ("天气", ["天", "气"]),
    ]
    assert (units.owners[0], units.owners[-1], units.spans) == (-1, -1, None)


def test_characters_of_a_text() -> None:
    text = "天 the，3.5"
    units = UnitTokenizer(tokenizer(), "characters", 40)(text)
    assert units.words == ("天", "the", "，", "3.5")
    assert [text[start:end] for start, end in units.spans or ()] == list(units.words)


def test_unknown_and_dropped_characters_are_units_too() -> None:
    assert show(UnitTokenizer(tokenizer(), "characters", 40)(["天", "\u200b", "ꙮ"]), tokenizer()) == [
        ("天", ["天"]),
        ("\u200b", ["[UNK]"]),
        ("ꙮ", ["[UNK]"]),
    ]


def test_words_of_a_byte_level_tokenizer_keep_their_spaces() -> None:
    used = byte_level()
    units = UnitTokenizer(used, "characters", 40)
    assert show(units(["the", "the", ","]), used) == [("the", ["t", "he"]), ("the", ["Ġthe"]), (",", [","])]
    assert units("the the").token_ids == units(["the", "the"]).token_ids == tuple(used("the the")["input_ids"])


def test_tokens_that_share_a_character_are_one_unit() -> None:
    units = UnitTokenizer(byte_level(), "tokens", 40)("天 the")
    assert (units.words, units.spans) == (("天", "the"), ((0, 1), (2, 5)))
    assert units.owners == (-1, 0, 0, 0, 1, -1)


def test_the_mark_of_a_space_belongs_to_its_word_and_is_not_in_the_middle_of_chinese() -> None:
    used = sentence_piece()
    assert show(UnitTokenizer(used, "tokens", 40)("天气好"), used) == [("天气", ["▁", "天气"]), ("好", ["好"])]
    assert show(UnitTokenizer(used, "characters", 40)(["天气", "好", "the", "cat"]), used) == [
        ("天气", ["天气"]),
        ("好", ["好"]),
        ("the", ["▁the"]),
        ("cat", ["▁", "c", "at"]),
    ]


@given(st.text(alphabet="天气 catunhappily，。3.5\u200bꙮ\n\u3000𓀀あ", max_size=30))
def test_units_cover_the_text_and_own_the_tokens(text: str) -> None:
    visible = [place for place, character in enumerate(text) if not character.isspace()]
    for granularity in ("characters", "tokens"):
        for used in (tokenizer(), byte_level(), sentence_piece()):
            units = UnitTokenizer(used, granularity, 400)(text)  # type: ignore[arg-type]
            spans = list(units.spans or ())
            assert spans == sorted(spans)
            assert all(end <= start for (_, end), (start, _) in pairwise(spans))
            assert tuple(text[start:end] for start, end in spans) == units.words
            assert {owner for owner in units.owners if owner >= 0} == set(range(len(units)))
            if granularity == "characters":
                assert [place for start, end in spans for place in range(start, end)] == visible


@pytest.mark.parametrize("special", ["[MASK]", "[SEP]", "[PAD]", "[CLS]"])
def test_special_tokens_that_somebody_wrote_are_text(special: str) -> None:
    masked = tokenizer()
    in_text, in_words = UnitTokenizer(masked, "tokens", 99), UnitTokenizer(masked, "characters", 99)
    for units in (in_text(f"the {special} cat"), in_words(["the", special]), in_words(f"the{special}")):
        assert not set(units.token_ids[1:-1]) & (set(masked.all_special_ids) - {masked.unk_token_id})


def test_a_sentence_too_long_is_refused_or_split() -> None:
    text = "今天天，气不错我们去吧天"
    with pytest.raises(
        ValueError, match=r"'今天天，气不错我们去吧天'\.\.\. has 14 tokens, the model takes 8; .* overlong='split'"
    ):
        UnitTokenizer(tokenizer(), "characters", max_length=8)(text)
    units = UnitTokenizer(tokenizer(), "characters", max_length=8, overlong="split")
    assert units("今天天，气不").parts == ()
    whole = units(text)
    assert "".join(whole.words) == text and whole.sentence is text
    assert ["".join(part.words) for part in whole.parts] == ["今天天，", "气不错我们去", "吧天"]
    assert all(part.token_ids[0] == 2 and part.token_ids[-1] == 3 and len(part.token_ids) <= 8 for part in whole.parts)
    assert whole.parts[2].spans == ((10, 11), (11, 12))
    with pytest.raises(ValueError, match=r"the unit '天天天天天天天'\.\.\. of .* has 7 tokens alone, over 6"):
        units(["天", "天" * 7])


def test_units_remember_what_they_were_cut_from() -> None:
    units = UnitTokenizer(tokenizer(), "characters", 40)
    sentence = Sentence.of(["今天", "天气"])
    assert units(sentence).sentence is sentence
    assert units(sentence).words == ("今天", "天气")
    assert units(sentence).token_ids == units(["今天", "天气"]).token_ids


def test_bad_sentences_are_named() -> None:
    units = UnitTokenizer(tokenizer(), "characters", 40)
    with pytest.raises(ValueError, match=r"word 2 of \['天', ''\] is empty"):
        units(["天", ""])
    with pytest.raises(TypeError, match="a sentence is a text or a list of words, not 3"):
        units(3)  # type: ignore[arg-type]


def test_tokenizers_that_will_not_do_are_refused() -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(
        ValueError, match="has no mask token, so nothing can be masked; use the tokenizer of a masked language model"
    ):
        UnitTokenizer(bare, "characters", 40)
    with pytest.raises(ValueError, match="units='words' is unknown; use 'characters' or 'tokens'"):
        UnitTokenizer(tokenizer(), "words", 40)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="overlong='cut' is unknown; use 'refuse' or 'split'"):
        UnitTokenizer(tokenizer(), "characters", 40, "cut")  # type: ignore[arg-type]


@pytest.mark.shared
def test_real_tokenizers(shared_models: Path) -> None:
    from transformers import AutoTokenizer

    used = AutoTokenizer.from_pretrained(shared_models / "zh-en-minilm-l12-h384")
    assert show(UnitTokenizer(used, "characters", 512)(["今天", "天气", "，", "unaffable", "weather"]), used) == [
        ("今天", ["▁今天"]),
        ("天气", ["天气"]),
        ("，", [","]),
        ("unaffable", ["▁una", "ff", "able"]),
        ("weather", ["▁weather"]),
    ]


def test_word_tokens_of_wobert(small_vocabulary: dict[str, int]) -> None:
    used = WoBertTokenizer(small_vocabulary)
    assert UnitTokenizer(used, "tokens", 40)("酒店服务好").words == ("酒店", "服务", "好")
    assert UnitTokenizer(used, "characters", 40)("酒店").words == ("酒", "店")
