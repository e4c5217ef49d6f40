"""The character classifier: contracts, and what it can express that token labels cannot."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification, pipeline

from nlpkit import WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.labels.alignment import align_labels
from nlpkit.labels.spans import Span, score_spans, spans_to_bio
from nlpkit.wobert.modeling import WoBertForTokenClassification
from nlpkit.wobert.tagging.collator import CharacterTaggingCollator
from nlpkit.wobert.tagging.tagging import WoBertCharacterConfig, WoBertForCharacterClassification, tag_texts

LABELS = {"O": 0, "B-LOC": 1, "I-LOC": 2, "B-PER": 3, "I-PER": 4}
WORDS = ["中国政府", "北京", "中国科学院", "法国人", "先生", "来到", "政府", "在", "了", "很", "美丽"]
CHARACTERS = sorted(set("王小明" + "".join(WORDS)) - set(WORDS))
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *CHARACTERS]
EXAMPLES = [
    {"text": "王小明先生 来到北京", "spans": [(0, 3, "PER"), (8, 10, "LOC")]},
    {"text": "中国政府在中国科学院", "spans": [(0, 2, "LOC"), (5, 7, "LOC")]},
    {"text": "中国科学院很美丽", "spans": [(0, 2, "LOC")]},
    {"text": "北京了", "spans": [(0, 2, "LOC")]},
    {"text": "政府很美丽", "spans": []},
    {"text": "先生来到了政府", "spans": []},
    {"text": "王小明在", "spans": [(0, 3, "PER")]},
    {"text": "很美丽，法国人\n先生", "spans": [(4, 6, "LOC")]},
]


@pytest.fixture(scope="module")
def tokenizer() -> WoBertTokenizer:
    return WoBertTokenizer(vocab={word: index for index, word in enumerate(VOCABULARY)})


@pytest.fixture
def collator(tokenizer: WoBertTokenizer) -> CharacterTaggingCollator:
    return CharacterTaggingCollator(tokenizer, LABELS)


def make_model(**settings: object) -> WoBertForCharacterClassification:
    torch.manual_seed(0)
    config = WoBertCharacterConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label={index: label for label, index in LABELS.items()},
        label2id=LABELS,
        **settings,
    )
    return WoBertForCharacterClassification(config).eval()


def gradients(model: WoBertForCharacterClassification) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_padding_of_either_axis_changes_nothing(collator: CharacterTaggingCollator) -> None:
    model = make_model().double()
    batch = collator(EXAMPLES)
    plain = model(**batch)
    rows = len(EXAMPLES)
    further = {
        "input_ids": torch.cat([batch["input_ids"], torch.zeros(rows, 3, dtype=torch.long)], dim=1),
        "attention_mask": torch.cat([batch["attention_mask"], torch.zeros(rows, 3, dtype=torch.long)], dim=1),
        "character_to_token": torch.cat([batch["character_to_token"], torch.full((rows, 5), -1)], dim=1),
        "character_ids": torch.cat([batch["character_ids"], torch.zeros(rows, 5, dtype=torch.long)], dim=1),
        "labels": torch.cat([batch["labels"], torch.full((rows, 5), -100)], dim=1),
    }
    padded = model(**further)
    torch.testing.assert_close(padded.logits[:, :-5], plain.logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.loss, plain.loss, rtol=0, atol=1e-12)


def test_each_text_is_tagged_as_if_alone_whatever_the_order(collator: CharacterTaggingCollator) -> None:
    model = make_model().double()
    together = model(**collator(EXAMPLES[::-1])).logits.flip(0)
    for example, logits in zip(EXAMPLES, together, strict=True):
        alone = model(**collator([example])).logits[0]
        torch.testing.assert_close(logits[: len(example["text"])], alone, rtol=0, atol=1e-12)


def test_accumulated_batches_give_the_gradient_of_one_batch(collator: CharacterTaggingCollator) -> None:
    model = make_model().double()
    model(**collator(EXAMPLES)).loss.backward()
    whole = gradients(model)
    model.zero_grad()
    batches = [collator(EXAMPLES[:4]), collator(EXAMPLES[4:])]
    labelled = [int((batch["labels"] != -100).sum()) for batch in batches]
    assert labelled[0] != labelled[1]
    for batch in batches:
        model(**batch, num_items_in_batch=torch.tensor(sum(labelled))).loss.backward()
    accumulated = gradients(model)
    assert accumulated.keys() == whole.keys() == dict(model.named_parameters()).keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(accumulated[name], gradient, rtol=0, atol=1e-10)


def test_saved_model_tags_as_before(collator: CharacterTaggingCollator, tmp_path: Path) -> None:
    model = make_model(place_reach=3)
    batch = collator(EXAMPLES)
    model.save_pretrained(tmp_path)
    loaded = WoBertForCharacterClassification.from_pretrained(tmp_path)
    assert loaded.config.place_reach == 3
    assert loaded.config.label2id == LABELS
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_encoder_of_a_masked_language_model_is_taken_over(tmp_path: Path) -> None:
    config = copy.deepcopy(make_model().config)
    pretrained = WoBertForMaskedLM(config)
    pretrained.save_pretrained(tmp_path)
    model = WoBertForCharacterClassification.from_pretrained(tmp_path)
    for name, weight in pretrained.bert.named_parameters():
        assert torch.equal(model.bert.get_parameter(name), weight)
    assert model.config.use_characters


@pytest.mark.parametrize("place_reach", [1, 4])
def test_without_a_correction_it_is_token_classification_with_labels_shared(
    collator: CharacterTaggingCollator, place_reach: int
) -> None:
    model = make_model(place_reach=place_reach).double()
    torch.nn.init.zeros_(model.correction.weight)
    tokens = WoBertForTokenClassification(model.config).double().eval()
    tokens.load_state_dict(model.state_dict(), strict=False)
    batch = collator(EXAMPLES)
    found = model(**batch).logits.softmax(-1)
    expected = tokens(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1)
    for row, places in enumerate(batch["character_to_token"].tolist()):
        for character, token in enumerate(places):
            if token < 0:
                continue
            wanted = expected[row, token].clone()
            if character and places[character - 1] == token:
                for begin, inside in ((1, 2), (3, 4)):
                    wanted[inside] += wanted[begin]
                    wanted[begin] *= math.exp(-4)
                wanted /= wanted.sum()
            torch.testing.assert_close(found[row, character], wanted)


def test_labels_that_are_not_bio_are_shared_as_they_are(collator: CharacterTaggingCollator) -> None:
    model = make_model()
    torch.nn.init.zeros_(model.correction.weight)
    model.config.id2label = dict(enumerate(["B", "M", "E", "S", "B-LOC"]))
    batch = collator(EXAMPLES[1:2])
    assert batch["character_to_token"][0].tolist()[:4] == [1, 1, 1, 1]
    logits = model(**batch).logits[0]
    for character in (1, 2, 3):
        assert torch.equal(logits[character], logits[0])


def test_extreme_states_under_bf16_give_finite_loss_and_gradients(collator: CharacterTaggingCollator) -> None:
    model = make_model()
    with torch.no_grad():
        model.classifier.weight.mul_(1e6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**collator(EXAMPLES)).loss
    loss.backward()
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


def test_characters_of_one_word_differ_by_place_alone_when_characters_are_off() -> None:
    model = make_model(use_characters=False)
    twice = torch.tensor([[1, 1, 1, 2, 2, 2]])
    logits = model(input_ids=torch.tensor([[2, 7, 7, 3]]), character_to_token=twice).logits[0]
    assert len({tuple(row.tolist()) for row in logits}) == 6
    assert "from_character.weight" not in model.state_dict()


def test_own_character_matters_when_characters_are_on() -> None:
    model = make_model()
    inputs = {"input_ids": torch.tensor([[2, 7, 3]]), "character_to_token": torch.tensor([[1, 1]])}
    first = model(**inputs, character_ids=torch.tensor([[20, 21]])).logits[0]
    second = model(**inputs, character_ids=torch.tensor([[20, 22]])).logits[0]
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_place_can_mean_the_end_of_an_entity_in_one_word_and_its_middle_in_another() -> None:
    """Scores that are a sum of the word's and the place's cannot say that; the features must mix the two."""
    model = make_model(use_characters=False).train()
    ids = torch.tensor([[2, 5, 3], [2, 6, 3]])
    places = torch.ones(2, 2, dtype=torch.long)
    labels = torch.tensor([[0, 1], [1, 0]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(100):
        model(input_ids=ids, character_to_token=places, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    logits = model(input_ids=ids, character_to_token=places).logits
    assert logits.argmax(dim=-1).tolist() == labels.tolist()


def test_missing_inputs_are_named() -> None:
    model = make_model()
    with pytest.raises(ValueError, match=r"character_to_token is missing: .* CharacterTaggingCollator makes it"):
        model(input_ids=torch.tensor([[2, 7, 3]]))
    with pytest.raises(ValueError, match="character_ids is missing; give it, or set use_characters=False"):
        model(input_ids=torch.tensor([[2, 7, 3]]), character_to_token=torch.tensor([[1]]))


def train(model: WoBertForCharacterClassification, collator: CharacterTaggingCollator, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        model(**collator(EXAMPLES)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_entities_inside_words_are_learnt_although_no_token_labelling_holds_them(
    tokenizer: WoBertTokenizer, collator: CharacterTaggingCollator
) -> None:
    texts = [example["text"] for example in EXAMPLES]
    gold = [[Span(*span) for span in example["spans"]] for example in EXAMPLES]
    encoded = tokenizer(texts, return_offsets_mapping=True)["offset_mapping"]
    losses = [
        align_labels(spans_to_bio(spans, len(text)), offsets)[1]
        for text, spans, offsets in zip(texts, gold, encoded, strict=True)
    ]
    assert sum(loss.lost_spans for loss in losses) == 4
    model = make_model()
    train(model, collator, 60)
    assert score_spans(gold, tag_texts(model, tokenizer, texts, batch_size=3))["all"].f1 == 1.0
    assert model.training


def test_long_texts_are_cut_tagged_and_joined(tokenizer: WoBertTokenizer, collator: CharacterTaggingCollator) -> None:
    model = make_model()
    train(model, collator, 60)
    sentence, spans = "王小明先生 来到北京。", [Span(0, 3, "PER"), Span(8, 10, "LOC")]
    copies = 12
    expected = [
        Span(start + number * len(sentence), end + number * len(sentence), label)
        for number in range(copies)
        for start, end, label in spans
    ]
    text = sentence * copies
    assert len(tokenizer(text)["input_ids"]) > model.config.max_position_embeddings
    assert tag_texts(model, tokenizer, [text, "", sentence]) == [expected, [], spans]


def test_texts_without_characters_are_tagged_with_nothing(tokenizer: WoBertTokenizer) -> None:
    assert tag_texts(make_model(), tokenizer, []) == []
    assert tag_texts(make_model(), tokenizer, ["", ""]) == [[], []]


def test_batches_of_no_size_are_refused_and_parts_keep_their_modes(tokenizer: WoBertTokenizer) -> None:
    model = make_model().train()
    model.base_model.embeddings.eval()
    before = [part.training for part in model.modules()]
    tag_texts(model, tokenizer, ["北京"])
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size={size}: give a whole number at least 1"):
            tag_texts(model, tokenizer, ["北京"], batch_size=size)
    assert [part.training for part in model.modules()] == before


def test_texts_that_are_no_strings_and_labels_that_are_not_bio_are_refused(tokenizer: WoBertTokenizer) -> None:
    model = make_model().train()
    with pytest.raises(TypeError, match="an example needs a string as its 'text', not NoneType"):
        tag_texts(model, tokenizer, ["北京", None])  # type: ignore[list-item]
    model.config.id2label = {number: f"LABEL_{number}" for number in range(5)}
    with pytest.raises(ValueError, match=r"are no BIO labels; those are 'O', 'B-<type>' and 'I-<type>'"):
        tag_texts(model, tokenizer, ["北京"])
    assert model.training


def test_a_tagger_opens_as_what_it_was_saved_from(tokenizer: WoBertTokenizer, tmp_path: Path) -> None:
    """Its rows would fit a classifier of tokens, which would answer for whole words."""
    model = make_model(place_reach=2)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    opened = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert type(opened) is WoBertForCharacterClassification and opened.config.place_reach == 2
    assert tag_texts(opened, tokenizer, ["中国政府"]) == tag_texts(model, tokenizer, ["中国政府"])
    with pytest.raises(
        ValueError, match=r"labels are of characters\. .* tag_texts predicts; pipeline reads models of"
    ):
        pipeline("token-classification", model=str(tmp_path))("中国政府")
    plain = WoBertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    assert type(AutoModelForTokenClassification.from_config(plain)) is WoBertForTokenClassification


@pytest.mark.parametrize("kind", [WoBertForCharacterClassification, WoBertForTokenClassification])
def test_a_head_is_trained_in_fp32_whatever_its_folder_declares(kind: Any, tmp_path: Path) -> None:
    make_model().half().bert.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(settings | {"dtype": "float16"}), "utf-8")
    loaded, told = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert {weight.dtype for weight in loaded.parameters()} == {loaded.config.dtype} == {torch.float32}
    assert "classifier.weight" in told["missing_keys"]
    assert kind.from_pretrained(tmp_path, dtype=torch.float16).dtype == torch.float16


def test_a_step_in_fp16_is_refused_and_nothing_else(collator: CharacterTaggingCollator) -> None:
    model, batch = make_model().half(), collator(EXAMPLES)
    assert model(**batch).logits.isfinite().all()
    with torch.no_grad():
        model.train()(**batch)
    with pytest.raises(
        ValueError, match=r"cannot be trained in float16 .* from_pretrained\(folder, dtype=\"float32\""
    ):
        model(**batch)
    model.float()(**batch).loss.backward()
