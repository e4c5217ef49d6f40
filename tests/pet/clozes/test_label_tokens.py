"""Words become the tokens by which a model writes them, and tokens words, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from nlpkit.pet import ChoiceClassifier, Example, PetClassifier
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.label_tokens import token_texts, tokenize_word
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.classifiers.test_estimator import head
from tests.pet.classifiers.test_sentinels import classifier as sentinel_classifier
from tests.pet.models import small_model


def sentencepiece() -> PreTrainedTokenizerFast:
    """Pieces at the beginning of words and within them, as SentencePiece names them."""
    names = "<pad> </s> <unk> <mask> ▁ ▁good good ▁bad bad ▁film s 很 满 ▁great".split() + list('abdefgilmort"(“')
    backend = Tokenizer(models.Unigram([(name, -float(len(name) < 2) - 1) for name in names], 2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", mask_token="<mask>"
    )


def written(word: str, pattern: str, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    (ids,) = tokenize_word((word,), tokenizer, Pattern(pattern))
    return tokenizer.convert_ids_to_tokens(list(ids))


@pytest.mark.parametrize(
    ("pattern", "token"),
    [
        ("{mask} {text}", "▁good"),
        ('"{mask}" {text}', "▁good"),
        ("“{mask}” {text}", "▁good"),
        ("({mask}) {text}", "▁good"),
        ("{text} ({mask})", "▁good"),
        ("{text} {mask}", "▁good"),
        ("{text}{sep}{mask}", "▁good"),
        ("{text}-{mask}", "good"),
        ("{text}{mask}", "good"),
    ],
)
def test_a_word_takes_the_piece_of_its_place(pattern: str, token: str) -> None:
    assert written("good", pattern, sentencepiece()) == [token]


def test_a_mark_of_beginning_that_is_a_token_is_no_part_of_a_word() -> None:
    assert written("很", "{mask}{text}", sentencepiece()) == ["很"]
    assert written("满很", "“{mask}{text}", sentencepiece()) == ["满", "很"]


@pytest.mark.parametrize("name", ["▁good", "</s>", "<mask>", "<unk>", "▁"])
def test_names_of_pieces_are_no_words(name: str) -> None:
    with pytest.raises(ValueError, match="is the name of a token, not a word"):
        written(name, "{mask}{text}", sentencepiece())


@pytest.mark.parametrize("name", ["[SEP]", "[MASK]", "[PAD]", "[UNK]", "##s", "##er"])
@pytest.mark.parametrize("kind", [WoBertTokenizer, lambda vocabulary: BertTokenizer(vocab=vocabulary)])
def test_names_of_wordpieces_are_no_words(name: str, kind: type, small_vocabulary: dict[str, int]) -> None:
    tokenizer = kind(small_vocabulary)
    with pytest.raises(ValueError, match="is the name of a token, not a word; write the word as it stands in a text"):
        Verbalizer({"a": name, "b": "很"}).tokenized(tokenizer, Pattern("{mask}{text}"))


def test_texts_of_tokens_are_written_by_these_tokens(shared_models: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared_models / "zh-en-minilm-l12-h384")
    pattern = Pattern("{text} was {mask}")
    ids = [number for name, number in tokenizer.get_vocab().items() if name.startswith("▁") and name[1:].isalpha()]
    chosen = sorted(ids)[:300]
    for identifier, text in zip(chosen, token_texts(chosen, tokenizer), strict=True):
        assert tokenize_word((text,), tokenizer, pattern) == ((identifier,),)


def test_words_that_are_the_same_tokens_are_refused(small_vocabulary: dict[str, int]) -> None:
    tokenizer = BertTokenizer(vocab=small_vocabulary)
    with pytest.raises(ValueError, match="the words of labels 'a' and 'b', 'Cafe' and 'café', are the same tokens"):
        Verbalizer({"a": "Cafe", "b": "café"}).tokenized(tokenizer, Pattern("{mask}{text}"))


def test_labels_keep_their_kind() -> None:
    assert Verbalizer({1: "很", 0: "不"}).classes == (1, 0)
    assert Verbalizer({True: "很", False: "不"}).labels == ("True", "False")
    with pytest.raises(ValueError, match="labels must differ as texts"):
        Verbalizer({1: "很", "1": "不"})


@pytest.mark.parametrize(
    ("kind", "pair"),
    [("words", ("很", "很")), ("words", ("ok", "OK")), ("choice", ("ok", "OK")), ("sentinels", ("很", "很"))],
)
def test_candidates_that_are_read_alike_are_refused(
    kind: str, pair: tuple[str, str], small_vocabulary: dict[str, int]
) -> None:
    vocabulary = small_vocabulary | {"ok": len(small_vocabulary)}
    tokenizer = BertTokenizer(vocab=vocabulary)
    made: TextClassifier = {
        "words": lambda: PetClassifier(small_model(len(vocabulary)), tokenizer, "{mask}。{text}", None),
        "choice": lambda: ChoiceClassifier(head(vocabulary, 1)[0], tokenizer, "{candidate}。{text}", None),
        "sentinels": lambda: sentinel_classifier(verbalizer=None),
    }[kind]()
    with pytest.raises(ValueError, match=f"candidates '{pair[0]}' and '{pair[1]}' are the same tokens to this model"):
        made.predict([Example({"text": "今天"}, None, ("不", *pair))])
    assert made.predict([Example({"text": "今天"}, None, ("不", "很"))])


@pytest.mark.parametrize(
    ("hypotheses", "message"),
    [
        ({"a": "好{text}", "b": "好{text}"}, "hypotheses '好{text}' and '好{text}' are the same tokens to this model"),
        ({"a": "HELLO", "b": "hello"}, "hypotheses 'HELLO' and 'hello' are the same tokens to this model"),
        ({1: "好", "1": "不"}, r"labels must differ as texts; got \[1, '1'\]"),
    ],
)
def test_hypotheses_that_are_read_alike_are_refused(
    hypotheses: dict[Any, str], message: str, small_vocabulary: dict[str, int]
) -> None:
    model, _ = head(small_vocabulary, 1)
    with pytest.raises(ValueError, match=message):
        ChoiceClassifier(model, BertTokenizer(vocab=small_vocabulary), "{text}", hypotheses)
    assert ChoiceClassifier(model, BertTokenizer(vocab=small_vocabulary), "{text}", {"a": "{x}", "b": "{y}"})
