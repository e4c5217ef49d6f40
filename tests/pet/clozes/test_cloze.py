from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from nlpkit.pet.clozes.cloze import ClozeEncoder, cut_longest, special_tokens_around
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

TEMPLATES = ["{mask}满意。{text}", "{text}总之很{mask}。", "今天{text}{mask}，{text}", "{text} is {mask} {mask} ."]
TEXT = st.text(alphabet="今天气不错好的 人abc，。！ \u3000é", max_size=30)


@pytest.fixture(scope="module")
def words(small_vocabulary: dict[str, int]) -> PreTrainedTokenizerBase:
    return WoBertTokenizer(small_vocabulary)


@pytest.fixture(scope="module")
def characters(small_vocabulary: dict[str, int]) -> PreTrainedTokenizerBase:
    return BertTokenizer(vocab=small_vocabulary)


@pytest.fixture(scope="module", params=["words", "characters"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("template", TEMPLATES)
@given(text=TEXT)
def test_ids_are_those_of_the_rendered_text(tokenizer: PreTrainedTokenizerBase, template: str, text: str) -> None:
    assert_like_rendered(tokenizer, template, text)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("text", ["酒店的服务 good 态度很好", "hello world", "", "你好！"])
def test_sentencepiece_ids_are_those_of_the_rendered_text(shared_models: Path, template: str, text: str) -> None:
    assert_like_rendered(AutoTokenizer.from_pretrained(shared_models / "zh-en-minilm-l12-h384"), template, text)


def assert_like_rendered(tokenizer: PreTrainedTokenizerBase, template: str, text: str) -> None:
    pattern = Pattern(template)
    counts = [1, 2][: pattern.slots]
    (cloze,) = ClozeEncoder(pattern, tokenizer, 512).encode([Example.of(text)], counts)
    rendered = pattern.render({"text": text}, [tokenizer.mask_token * count for count in counts])
    assert cloze.input_ids == tokenizer(rendered)["input_ids"]
    masks = [place for place, number in enumerate(cloze.input_ids) if number == tokenizer.mask_token_id]
    assert cloze.slots == masks


@pytest.mark.parametrize("lstrip", [False, True])
@pytest.mark.parametrize("rstrip", [False, True])
@pytest.mark.parametrize("template", ["{text} {mask} .", "{mask}  {text}", "a {mask} {mask} {text}", "{text}{mask}"])
def test_a_mask_token_swallows_the_spaces_that_its_tokenizer_says(lstrip: bool, rstrip: bool, template: str) -> None:
    vocabulary = {name: number for number, name in enumerate(["<s>", "</s>", "<mask>", "<unk>", "a", ".", "▁"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="never", split=False), pre_tokenizers.Split("", "isolated")]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token=AddedToken("<mask>", lstrip=lstrip, rstrip=rstrip, special=True),
    )
    assert_like_rendered(tokenizer, template, "a a")


def test_special_tokens_in_a_text_are_only_text(tokenizer: PreTrainedTokenizerBase) -> None:
    (cloze,) = ClozeEncoder(Pattern("{text}很{mask}"), tokenizer, 64).encode([Example.of("a[MASK]b[SEP]")], [1])
    assert cloze.input_ids.count(tokenizer.mask_token_id) == 1
    assert cloze.input_ids.count(tokenizer.sep_token_id) == 1
    assert cloze.slots == [cloze.input_ids.index(tokenizer.mask_token_id)]


@given(text=TEXT, max_length=st.integers(8, 24))
def test_cutting_takes_tokens_of_fields_only(words: PreTrainedTokenizerBase, text: str, max_length: int) -> None:
    pattern = Pattern("{mask}满意。{text}。")
    (whole,) = ClozeEncoder(pattern, words, 512).encode([Example.of(text)], [1])
    (cut,) = ClozeEncoder(pattern, words, max_length).encode([Example.of(text)], [1])
    own = [number for number, owner in zip(whole.input_ids, whole.field_numbers, strict=True) if owner == -1]
    assert [number for number, owner in zip(cut.input_ids, cut.field_numbers, strict=True) if owner == -1] == own
    assert len(cut.input_ids) == min(len(whole.input_ids), max_length)
    kept = len(cut.input_ids) - len(own)
    field = [number for number, owner in zip(whole.input_ids, whole.field_numbers, strict=True) if owner == 0]
    assert [number for number, owner in zip(cut.input_ids, cut.field_numbers, strict=True) if owner == 0] == field[
        :kept
    ]
    assert [cut.input_ids[place] for place in cut.slots] == [words.mask_token_id]


def test_a_field_may_keep_its_tail(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    example = Example({"before": "今天很好" * 5, "after": "不错的人" * 5})
    whole = ClozeEncoder(Pattern("{before:tail}{mask}{after}"), tokenizer, 512).encode([example], [1])[0]
    cut = ClozeEncoder(Pattern("{before:tail}{mask}{after}"), tokenizer, 11).encode([example], [1])[0]
    place = whole.slots[0]
    assert cut.input_ids == [2, *whole.input_ids[place - 4 : place + 5], 3]
    assert cut.slots == [5]


@given(st.dictionaries(st.integers(0, 5), st.integers(0, 20), min_size=1), st.integers(0, 60))
def test_the_longest_fields_are_cut_first(lengths: dict[int, int], budget: int) -> None:
    keep = cut_longest(lengths, budget)
    remaining = dict(lengths)
    while sum(remaining.values()) > budget:  # the definition: again and again the longest loses a token
        longest = max(remaining.values())
        remaining[max(number for number, length in remaining.items() if length == longest)] -= 1
    assert keep == remaining


def test_a_separator_divides_token_types(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    example = Example({"text_a": "今天", "text_b": "好"})
    (cloze,) = ClozeEncoder(Pattern("{text_a}{sep}{mask}{text_b}"), tokenizer, 64).encode([example], [1])
    assert tokenizer.convert_ids_to_tokens(cloze.input_ids) == ["[CLS]", "今天", "[SEP]", "[MASK]", "好", "[SEP]"]
    assert cloze.token_type_ids == [0, 0, 0, 1, 1, 1]


def test_plain_texts_have_neither_pattern_nor_mask(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    encoder = ClozeEncoder(Pattern("{text_a}很{mask}{text_b}"), tokenizer, 64)
    (cloze,) = encoder.encode_plain([Example({"text_a": "今天", "text_b": "好"})])
    assert tokenizer.convert_ids_to_tokens(cloze.input_ids) == ["[CLS]", "今天", "[SEP]", "好", "[SEP]"]
    assert cloze.slots == []


def test_special_tokens_around_a_text(small_vocabulary: dict[str, int], shared_models: Path) -> None:
    assert special_tokens_around(WoBertTokenizer(small_vocabulary)) == ([2], [3])
    sentencepiece = AutoTokenizer.from_pretrained(shared_models / "zh-en-minilm-l12-h384")
    before, after = special_tokens_around(sentencepiece)
    assert sentencepiece.convert_ids_to_tokens(before + after) == ["<s>", "</s>"]


def test_a_pattern_longer_than_the_model_is_refused(small_vocabulary: dict[str, int]) -> None:
    encoder = ClozeEncoder(Pattern("{mask}满意。{text}"), WoBertTokenizer(small_vocabulary), 4)
    with pytest.raises(ValueError, match="takes 5 tokens by itself; max_length is 4"):
        encoder.encode([Example.of("好")], [1])


def test_trainable_tokens_need_ids(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="has 2 trainable tokens, but 0 ids"):
        ClozeEncoder(Pattern("{soft:2}{mask}{text}"), WoBertTokenizer(small_vocabulary), 64)
