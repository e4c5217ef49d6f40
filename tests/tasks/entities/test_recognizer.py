"""Models and recognizers: trained a little, saved, loaded, asked; by transformers' own classes, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    FNetConfig,
    FNetModel,
    LlamaConfig,
    LlamaModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    T5Model,
    TrainingArguments,
    pipeline,
)

from nlpkit import EntityConfig, EntityModel, EntityRecognizer, WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.labels import Span
from nlpkit.tasks.entities import Entity, EntityCollator
from nlpkit.tasks.linking import EntityLinker, Entry, KnowledgeBase
from nlpkit.training import TechniqueTrainer
from tests.vocabulary_pruning.small_models import bpe_tokenizer

HEADS = ["global_pointer", "efficient_global_pointer", "crf", "softmax"]
EXAMPLES = [
    {"text": "今天 天气不错", "spans": [(0, 2, "X"), (3, 7, "Y")]},
    {"text": "酒店很好，我们满意", "spans": [(0, 2, "Y"), (3, 4, "X"), (7, 9, "X")]},
    {"text": "房间的人", "spans": []},
]
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture(scope="module")
def encoder(small_vocabulary: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    WoBertForMaskedLM(WoBertConfig(vocab_size=len(small_vocabulary), **SMALL)).save_pretrained(folder)
    WoBertTokenizer(small_vocabulary).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def bert_of_characters(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("characters")
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = sorted(set("".join(example["text"] for example in EXAMPLES)) - {" "})
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate([*marks, *characters])})
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), **SMALL)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def trained(
    source: str, steps: int = 60, nested: Any = "refuse", examples: Any = EXAMPLES, **given: Any
) -> EntityRecognizer:
    torch.manual_seed(0)
    settings = {"head_dropout": 0.0, "head_size": 16}
    recognizer = EntityRecognizer.from_pretrained(source, types=["X", "Y"], settings=settings, **given)
    batch = recognizer.collator(nested=nested)(examples)
    optimizer = torch.optim.AdamW(recognizer.model.parameters(), lr=5e-3)
    recognizer.model.train()
    for _ in range(steps):
        recognizer.model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    recognizer.model.eval()
    return recognizer


def spans(rows: list[list[Entity]]) -> list[list[tuple[int, int, str]]]:
    return [[tuple(one.span) for one in row] for row in rows]  # type: ignore[misc]


@pytest.mark.parametrize("units", ["characters", "tokens"])
@pytest.mark.parametrize("head", HEADS)
def test_each_head_learns_is_saved_and_answers_the_same(head: Any, units: Any, encoder: str, tmp_path: Path) -> None:
    recognizer = trained(encoder, head=head, units=units)
    texts = [example["text"] for example in EXAMPLES]
    found = recognizer.predict(texts)
    reachable = [example["spans"] for example in EXAMPLES]
    assert spans(found) == reachable
    assert all(0.5 < entity.score <= 1 for row in found for entity in row)
    recognizer.save_pretrained(tmp_path)
    again = EntityRecognizer.from_pretrained(tmp_path)
    answers = again.predict([*texts, "", " \n"], batch_size=1)
    assert answers[3:] == [[], []]
    for row, other in zip(answers, found, strict=False):
        assert row == [one._replace(score=pytest.approx(one.score, abs=1e-5)) for one in other]
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".txt"}
    for name, value in recognizer.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_nested_entities_are_learnt_and_found(encoder: str) -> None:
    nested = [{"text": "酒店服务态度很好", "spans": [(0, 6, "X"), (0, 2, "Y"), (2, 4, "X"), (4, 8, "Y"), (0, 6, "Y")]}]
    for head in HEADS[:2]:
        recognizer = trained(encoder, 120, examples=nested, head=head, units="characters")
        assert set(spans(recognizer.predict(["酒店服务态度很好"]))[0]) == set(nested[0]["spans"])
        (flat,) = recognizer.predict(["酒店服务态度很好"], overlaps=False)
        places = [place for one in flat for place in range(one.start, one.end)]
        assert len(places) == len(set(places))


def test_long_texts_are_found_in_pieces(encoder: str) -> None:
    recognizer = trained(encoder, units="characters", head="crf")
    short, text = EXAMPLES[0]["text"], "。".join([EXAMPLES[0]["text"]] * 20)
    assert len(recognizer.tokenizer(text)["input_ids"]) > 32
    step = len(short) + 1
    found = spans(recognizer.predict([text, short], batch_size=3))
    wanted = {(begin + start, begin + end, label) for begin in range(0, 20 * step, step)
              for start, end, label in EXAMPLES[0]["spans"]}  # fmt: skip
    assert len(wanted.intersection(found[0])) > 24  # of 40; where a piece was cut, the model sees what it never saw
    assert all(text[start:end] in ("今天", "天气不错") for start, end, _ in wanted)
    assert found[1] == [(0, 2, "X"), (3, 7, "Y")]


def test_predictions_follow_what_they_are_given(encoder: str) -> None:
    recognizer = trained(encoder)
    texts = [example["text"] for example in EXAMPLES]
    expected = recognizer.predict(texts)
    recognizer.model.train()
    frame = pandas.DataFrame({"n": [1, 2, 3], "text": texts})
    assert spans(recognizer.predict(frame)) == spans(recognizer.predict(frame["text"])) == spans(expected)
    recognizer.model.base_model.embeddings.eval()
    before = [part.training for part in recognizer.model.modules()]
    recognizer.predict(texts)
    assert [part.training for part in recognizer.model.modules()] == before
    with pytest.raises(ValueError, match="batch_size=0: give a whole number at least 1"):
        recognizer.predict(texts, batch_size=0)
    assert recognizer.predict([]) == []
    with pytest.raises(TypeError, match="give a list of texts, not one text"):
        recognizer.predict("今天")
    with pytest.raises(TypeError, match="text 1 is a float, nan; give strings"):
        recognizer.predict(["今天", float("nan")])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="has columns a and none called 'text'"):
        recognizer.predict({"a": ["今天"]})
    with pytest.raises(ValueError, match=r"threshold=1.5: give a finite number above 0 and below 1"):
        recognizer.predict(["今天"], threshold=1.5)


@pytest.mark.parametrize("of", ["encoder", "bert_of_characters"])
@pytest.mark.parametrize("head", HEADS)
def test_transformers_pipeline_finds_the_same_flat_entities(
    head: Any, of: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recognizer = trained(request.getfixturevalue(of), head=head)
    recognizer.save_pretrained(tmp_path)
    finder = pipeline("token-classification", model=str(tmp_path), aggregation_strategy="simple")
    assert type(finder.model) is EntityModel
    texts = [example["text"] for example in EXAMPLES]
    for answers in ([finder(text) for text in texts], finder(texts, batch_size=2)):
        found = [[(one["start"], one["end"], one["entity_group"]) for one in row] for row in answers]
        assert found == [example["spans"] for example in EXAMPLES]
    assert type(AutoModelForTokenClassification.from_pretrained(tmp_path)) is EntityModel
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is type(recognizer.tokenizer)


def test_a_pipeline_of_characters_says_what_to_use(encoder: str, tmp_path: Path) -> None:
    trained(encoder, 1, units="characters").save_pretrained(tmp_path)
    finder = pipeline("token-classification", model=str(tmp_path))
    with pytest.raises(ValueError, match="character_to_token is missing: the model's units are characters"):
        finder("今天")


@pytest.mark.parametrize(
    ("config", "kind"), [(BertConfig, BertModel), (DistilBertConfig, DistilBertModel), (RobertaConfig, RobertaModel)]
)
def test_encoders_of_other_kinds_are_taken(
    config: Any, kind: Any, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    sizes = {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 32} if config is DistilBertConfig else SMALL
    settings = config(vocab_size=len(small_vocabulary), max_position_embeddings=32, **{
        name: value for name, value in sizes.items() if name != "max_position_embeddings"
    })  # fmt: skip
    torch.manual_seed(0)
    kind(settings).save_pretrained(tmp_path / "encoder")
    BertTokenizer(vocab=small_vocabulary).save_pretrained(tmp_path / "encoder")
    before = kind.from_pretrained(tmp_path / "encoder").state_dict()
    fresh = EntityModel.from_pretrained(tmp_path / "encoder", types=["X", "Y"])
    for name, value in fresh.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not [name for name, _ in fresh.named_parameters() if "pooler" in name]
    recognizer = trained(str(tmp_path / "encoder"))
    assert spans(recognizer.predict([example["text"] for example in EXAMPLES])) == [one["spans"] for one in EXAMPLES]
    recognizer.save_pretrained(tmp_path / "saved")
    again = EntityRecognizer.from_pretrained(tmp_path / "saved")
    assert type(again.tokenizer) is type(recognizer.tokenizer)
    assert spans(again.predict([EXAMPLES[0]["text"]])) == [EXAMPLES[0]["spans"]]


def test_types_are_needed_once(encoder: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is an encoder, and finds no entities yet; give types="):
        EntityRecognizer.from_pretrained(encoder)
    trained(encoder, 1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"types=\['Z'\], but .* was trained for \['X', 'Y'\]; leave types out"):
        EntityRecognizer.from_pretrained(tmp_path, types=["Z"])
    with pytest.raises(ValueError, match=r"head='crf', but .* has head='global_pointer'; leave head out"):
        EntityRecognizer.from_pretrained(tmp_path, head="crf")
    with pytest.raises(ValueError, match=r"head_size=8, but .* has head_size=16; leave head_size out"):
        EntityRecognizer.from_pretrained(tmp_path, settings={"head_size": 8})
    with pytest.raises(TypeError, match="model is a BertModel; make an EntityModel"):
        EntityRecognizer(BertModel(BertConfig(vocab_size=9, **SMALL)), WoBertTokenizer.from_pretrained(encoder))  # type: ignore[arg-type]


def test_encoder_decoders_are_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": 9, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    T5Model(T5Config(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is an encoder-decoder \(t5\); give an encoder"):
        EntityModel.from_pretrained(tmp_path, types=["X"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"types": ["X"], "head": "lstm"}, "head='lstm' is unknown; use global_pointer"),
        ({"types": ["X"], "units": "words"}, "units='words' is unknown; use tokens or characters"),
        ({"types": []}, r"types=\[\] must be names"),
        ({"types": ["X", "X"]}, "each once"),
        ({"id2label": {0: "B-X", 1: "O"}}, "it must hold O, and B- and I- of each type in turn"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EntityConfig(**given)
    with pytest.raises(TypeError, match=r"types='X' is one text; give a list"):
        EntityConfig(types="X")
    with pytest.raises(ValueError, match="names no types of entities"):
        EntityModel(EntityConfig(encoder=BertConfig(vocab_size=9, **SMALL)))


def test_further_padding_and_other_texts_change_no_answer(encoder: str) -> None:
    recognizer = trained(encoder, 20, head="crf")
    assert recognizer.model.encoder.config._attn_implementation == "sdpa"
    read = recognizer.collator().read
    together = recognizer.model(**read([example["text"] for example in EXAMPLES]).batch).logits
    for number, example in enumerate(EXAMPLES):
        alone = recognizer.model(**read([example["text"]]).batch).logits[0]
        torch.testing.assert_close(alone, together[number, : len(alone)], rtol=0, atol=1e-4)


@pytest.mark.parametrize("head", ["efficient_global_pointer", "crf"])
def test_a_trainer_evaluates_with_metrics_of_labels(head: Any, encoder: str, tmp_path: Path) -> None:
    recognizer = trained(encoder, head=head)
    seen: list[tuple[int, ...]] = []

    def metrics(given: Any) -> dict[str, float]:
        seen.append(given.predictions.shape)
        return {"found": float((given.predictions.argmax(-1) % 2 == 1).sum())}

    arguments = TrainingArguments(tmp_path, use_cpu=True, report_to=[], remove_unused_columns=False, disable_tqdm=True)
    trainer = TechniqueTrainer(
        recognizer.model,
        arguments,
        eval_dataset=EXAMPLES,
        data_collator=recognizer.collator(),
        compute_metrics=metrics,
    )
    assert trainer.evaluate()["eval_found"] == sum(len(example["spans"]) for example in EXAMPLES)
    assert seen[0][::2] == (3, 5)


def test_broken_weights_are_told(encoder: str) -> None:
    for head in ("global_pointer", "softmax"):
        recognizer = trained(encoder, 0, head=head)
        torch.nn.init.constant_(next(recognizer.model.head.parameters()), float("nan"))
        with pytest.raises(ValueError, match="the model gives NaN: its weights are broken"):
            recognizer.predict(["今天"])


def test_special_tokens_are_no_units_without_a_mask_either(encoder: str) -> None:
    recognizer = trained(encoder, 1)
    batch = dict(recognizer.collator()(EXAMPLES))
    with_mask = recognizer.model(**batch).logits
    del batch["unit_mask"]
    assert torch.equal(recognizer.model(**batch).logits, with_mask)
    assert isinstance(recognizer.collator(), EntityCollator)
    assert Entity(0, 1, "X", 0.5).span == Span(0, 1, "X")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("units", ["tokens", "characters"])
def test_a_batch_of_empty_texts_is_trained_on(encoder: str, head: Any, units: Any) -> None:
    recognizer = EntityRecognizer.from_pretrained(encoder, types=["X", "Y"], head=head, units=units)
    batch = recognizer.collator()([{"text": "", "spans": []}] * 2)
    loss = recognizer.model.train()(**batch).loss
    loss.backward()
    assert loss.isfinite()


def test_settings_and_thresholds_that_cannot_be_are_named(encoder: str) -> None:
    with pytest.raises(TypeError, match=r"unknown setting 'foo'; those of EntityConfig are head, units"):
        EntityRecognizer.from_pretrained(encoder, types=["X"], settings={"foo": 1})
    with pytest.raises(ValueError, match=r"place_reach=0: give a whole number at least 1"):
        EntityRecognizer.from_pretrained(encoder, types=["X"], settings={"place_reach": 0})
    for name in ("O", "B-LOC"):
        with pytest.raises(ValueError, match=rf"types hold '{name}', a BIO label"):
            EntityRecognizer.from_pretrained(encoder, types=[name])
    recognizer = EntityRecognizer.from_pretrained(encoder, types=["X"])
    for threshold in ("0.5", None):
        with pytest.raises(TypeError, match=r"threshold=.*: give a finite number above 0 and below 1"):
            recognizer.predict(["好"], threshold=threshold)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a set has no order"):
        recognizer.predict({"好"})


def test_a_head_is_put_on_in_fp32(encoder: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.save_pretrained(tmp_path)
    BertModel(BertConfig(vocab_size=len(tokenizer), **SMALL)).half().save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).dtype == torch.float16  # as everybody else loads it
    assert EntityRecognizer.from_pretrained(tmp_path, types=["X"]).model.dtype == torch.float32
    assert EntityRecognizer.from_pretrained(tmp_path, types=["X"], dtype=torch.bfloat16).model.dtype == torch.bfloat16
    half = EntityRecognizer.from_pretrained(tmp_path, types=["X"], dtype=torch.float16)
    batch = half.collator()([{"text": "今天", "spans": [(0, 2, "X")]}])
    assert half.model(**batch).loss.isfinite()
    with pytest.raises(ValueError, match="EntityModel cannot be trained in float16"):
        half.model.train()(**batch)


def test_an_encoder_that_comes_with_a_decoder_is_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": 9, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    T5EncoderModel(T5Config(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is the encoder of a T5Model, which AutoModel loads with a decoder"):
        EntityModel.from_pretrained(tmp_path, types=["X"])


def test_an_encoder_that_reads_padding_is_refused(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    """What it finds in a text would depend on the other texts of a batch."""
    torch.manual_seed(0)
    sizes = {name: SMALL[name] for name in ("hidden_size", "num_hidden_layers", "intermediate_size")}
    FNetModel(FNetConfig(vocab_size=len(small_vocabulary), **sizes)).save_pretrained(tmp_path)
    WoBertTokenizer(small_vocabulary).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="FNetModel reads the padding behind a text"):
        EntityRecognizer.from_pretrained(tmp_path, types=["X"])
    base = KnowledgeBase([Entry("Q1", "酒店", (), "房间")])
    with pytest.raises(ValueError, match="FNetModel reads the padding behind a text"):
        EntityLinker.from_pretrained(tmp_path, base)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of byte pairs, whose tokens begin with the space before a word."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = bpe_tokenizer()
    torch.manual_seed(0)
    config = {name: SMALL[name] for name in ("hidden_size", "num_hidden_layers", "intermediate_size")}
    model = LlamaModel(LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, **config))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("units", ["tokens", "characters"])
def test_texts_beside_change_nothing_wherever_the_tokenizer_pads(head: Any, units: Any, llama: str) -> None:
    recognizer = EntityRecognizer.from_pretrained(llama, types=["X", "Y"], head=head, units=units)
    recognizer.tokenizer.padding_side = "left"
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in recognizer.model.parameters():
            parameter.normal_(0, 0.5)
    texts = ["in New York", "Berlin is a city in the big country of", "a  b\u3000 c"]
    found = recognizer.predict(texts)
    for text, entities in zip(texts, found, strict=True):
        assert [entity[:3] for entity in recognizer.predict([text])[0]] == [entity[:3] for entity in entities]
        ranges = [entity[:3] for entity in entities]
        assert len(set(ranges)) == len(ranges)  # each entity once
        assert all(text[start:end] == text[start:end].strip() != "" for start, end, _ in ranges)
    assert any(found)
    rows = [{"text": text, "spans": [(0, 1, "X")]} for text in texts]
    losses = []
    for side in ("left", "right"):
        recognizer.tokenizer.padding_side = side
        losses.append(recognizer.model(**recognizer.collator()(rows)).loss.item())
    assert losses[0] == losses[1]


def test_white_space_is_no_unit(llama: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    text = "in  New York "
    for units in ("tokens", "characters"):
        read = EntityCollator(tokenizer, EntityConfig(types=["X"], units=units)).read([text])
        covered = {place for start, end in read.offsets[0] for place in range(start, end)}
        assert covered == {place for place, character in enumerate(text) if not character.isspace()}


def test_half_of_a_surrogate_pair_is_shown(llama: str) -> None:
    recognizer = EntityRecognizer.from_pretrained(llama, types=["X"])
    with pytest.raises(ValueError, match="a text holds half of a surrogate pair, which no file can hold"):
        recognizer.predict(["good", "a\ud800b"])
    with pytest.raises(ValueError, match="a text holds half of a surrogate pair, which no file can hold"):
        recognizer.collator().read(["a\ud800b"])
