"""Contract 9: everybody's defaults. A new public model fails here until `HEADS` says what it is trained on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    pipeline,
)

import nlpkit
from nlpkit import UniLmCollator, WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.tasks.entities import EntityCollator, EntityConfig
from nlpkit.tasks.linking import Descriptions, Entry, KnowledgeBase, LinkingCollator
from nlpkit.wobert import CharacterTaggingCollator
from tests.contract.other_process import OtherProcess

GOOD, BAD = "酒店的服务态度很好，房间干净。", "天气不错的今天我们不满意！"
LABELS = {"O": 0, "B-X": 1, "I-X": 2}


def public_models() -> dict[str, type[PreTrainedModel]]:
    """Every model class that a room, or nlpkit itself, names in public; a ladder's is made for its backbone."""
    package = Path(nlpkit.__file__).parent
    rooms = [import_module(".".join(("nlpkit", *stub.parent.relative_to(package).parts)))
             for stub in sorted(package.rglob("__init__.pyi"))]  # fmt: skip
    public = {name: getattr(room, name) for room in rooms for name in room.__all__}
    return {
        name: value
        for name, value in public.items()
        if inspect.isclass(value) and issubclass(value, PreTrainedModel) and value.config_class is not None
    }


Row = dict[str, Any]


def as_they_come(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return dict(tokenizer(text))


def with_a_class(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return {**tokenizer(text), "label": int(number % 4 == 3)}


def with_a_class_per_token(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    ids = tokenizer(text)["input_ids"]
    return {**tokenizer(text), "labels": [-100, *[token % 2 for token in ids[1:-1]], -100]}


def with_an_answer(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return {**tokenizer("酒店", text), "start_positions": 4, "end_positions": 5 + number % 2}


def with_choices(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return {**tokenizer([text, text], ["好", "不"]), "label": 0}


def with_a_second_text(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return {**tokenizer(text, GOOD), "next_sentence_label": int(number % 4 == 3)}


def with_spans(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return {"text": text, "spans": [{"start": 0, "end": 2, "label": "X"}]}


def with_candidates(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return {"text": text, "mention": [0, 2], "candidates": ["a", "b"], "labels": 1 + number % 2}


def linking_collator(tokenizer: WoBertTokenizer) -> LinkingCollator:
    base = KnowledgeBase([Entry("a", "酒店", (), "房间"), Entry("b", "天气", (), "今天")])
    return LinkingCollator(tokenizer, Descriptions(base, tokenizer, 8), 64)


def with_a_target(tokenizer: WoBertTokenizer, text: str, number: int) -> Row:
    return {"source": text, "target": text[:4]}


@dataclass(frozen=True)
class Head:
    """What a head is trained on, and how users find it: each is what transformers' own examples do."""

    row: Callable[[WoBertTokenizer, str, int], Row]
    collator: Callable[[WoBertTokenizer], Any] = DataCollatorWithPadding
    auto: str | None = None
    task: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


HEADS = {
    "WoBertModel": Head(as_they_come, auto="AutoModel", task="feature-extraction"),
    "WoBertForMaskedLM": Head(
        as_they_come, DataCollatorForLanguageModeling, auto="AutoModelForMaskedLM", task="fill-mask"
    ),
    "WoBertForPreTraining": Head(
        with_a_second_text, DataCollatorForLanguageModeling, auto="AutoModelForPreTraining"
    ),
    "WoBertForSequenceClassification": Head(
        with_a_class, auto="AutoModelForSequenceClassification", task="text-classification"
    ),
    "WoBertForTokenClassification": Head(
        with_a_class_per_token,
        DataCollatorForTokenClassification,
        auto="AutoModelForTokenClassification",
        task="token-classification",
    ),
    "WoBertForQuestionAnswering": Head(with_an_answer, auto="AutoModelForQuestionAnswering"),
    "WoBertForMultipleChoice": Head(with_choices, DataCollatorForMultipleChoice, auto="AutoModelForMultipleChoice"),
    "UniLmForSequenceToSequence": Head(with_a_target, UniLmCollator),
    "EntityModel": Head(
        with_spans,
        lambda tokenizer: EntityCollator(tokenizer, EntityConfig(types=["X"])),
        settings={"types": ["X"]},
    ),
    "LinkingModel": Head(with_candidates, linking_collator),
    "WoBertForCharacterClassification": Head(
        with_spans,
        lambda tokenizer: CharacterTaggingCollator(tokenizer, LABELS),
        settings={"label2id": LABELS, "id2label": {number: name for name, number in LABELS.items()}},
    ),
}  # fmt: skip
TRAINED = sorted(HEADS.keys() - {"WoBertModel"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: dict[str, int]) -> Path:
    """A small pretrained model with its tokenizer."""
    torch.manual_seed(0)
    config = WoBertConfig(
        vocab_size=len(small_vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
        hidden_dropout_prob=0.0,  # a few steps must show in the loss
        attention_probs_dropout_prob=0.0,
    )
    path = tmp_path_factory.mktemp("start")
    WoBertForMaskedLM(config).save_pretrained(path)
    WoBertTokenizer(small_vocabulary).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> WoBertTokenizer:
    return WoBertTokenizer.from_pretrained(folder)


def rows_of(head: Head, tokenizer: WoBertTokenizer) -> Dataset:
    """A data set as users have it, with columns that no model knows."""
    texts = [GOOD, BAD] * 32
    return Dataset.from_list(
        [{"comment": "", "number": n, **head.row(tokenizer, text, n)} for n, text in enumerate(texts)]
    )


def one_batch(head: Head, tokenizer: WoBertTokenizer, model: PreTrainedModel) -> dict[str, Tensor]:
    torch.manual_seed(1)  # masked-LM targets are drawn
    rows = rows_of(head, tokenizer).select(range(8))
    known = set(inspect.signature(model.forward).parameters) | {"label"}
    batch = head.collator(tokenizer)(list(rows.remove_columns([c for c in rows.column_names if c not in known])))
    return dict(batch)


@torch.no_grad()
def loss_on(model: PreTrainedModel, batch: dict[str, Tensor]) -> float:
    was_training = model.training
    loss = float(model.eval()(**batch).loss)
    model.train(was_training)
    return loss


def load(name: str, folder: Path) -> PreTrainedModel:
    torch.manual_seed(2)  # new heads are drawn
    model: PreTrainedModel = public_models()[name].from_pretrained(folder, **HEADS[name].settings)
    return model


def test_every_public_model_is_tried_here() -> None:
    assert public_models().keys() == HEADS.keys()


@pytest.mark.parametrize("name", TRAINED)
def test_forward_names_the_columns_that_it_reads(name: str) -> None:
    parameters = inspect.signature(public_models()[name].forward).parameters
    labels = {"start_positions", "end_positions"} if "QuestionAnswering" in name else {"labels"}
    assert {"input_ids", "attention_mask", "num_items_in_batch", *labels} <= parameters.keys()
    assert not [one for one in parameters.values() if one.kind is inspect.Parameter.VAR_POSITIONAL]


@pytest.mark.parametrize("name", TRAINED)
def test_a_plain_trainer_trains_and_what_it_saved_answers_the_same_in_a_new_process(
    name: str, folder: Path, tokenizer: WoBertTokenizer, tmp_path: Path, other_process: OtherProcess
) -> None:
    head, model = HEADS[name], load(name, folder)
    batch = one_batch(head, tokenizer, model)
    before = loss_on(model, batch)
    trainer = Trainer(
        model, TrainingArguments(tmp_path / "run"), train_dataset=rows_of(head, tokenizer),
        data_collator=head.collator(tokenizer),
    )  # fmt: skip
    trainer.train()
    assert loss_on(trainer.model, batch) < before
    trainer.save_model(tmp_path / "model")
    with torch.no_grad():
        expected = logits_of(trainer.model.eval()(**batch))
    found = other_process.answers(f"{name}.from_pretrained", tmp_path / "model", batch)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize("name", TRAINED)
def test_a_plain_loop_trains(name: str, folder: Path, tokenizer: WoBertTokenizer) -> None:
    model = load(name, folder).train()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    batch = one_batch(HEADS[name], tokenizer, model)
    before = loss_on(model, batch)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(16):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss_on(model, batch) < before


@pytest.mark.parametrize("name", [name for name, head in HEADS.items() if head.auto])
def test_its_auto_class_finds_it(name: str, folder: Path) -> None:
    assert type(getattr(transformers, HEADS[name].auto or "").from_pretrained(folder)).__name__ == name


@pytest.mark.parametrize("name", [name for name, head in HEADS.items() if head.task])
def test_its_pipeline_answers(name: str, folder: Path) -> None:
    answers = pipeline(HEADS[name].task, model=str(folder))([GOOD, "今天[MASK]好"][-1])
    assert answers
    assert type(pipeline(HEADS[name].task, model=str(folder)).model).__name__ == name


def logits_of(output: Any) -> dict[str, Tensor]:
    return {name: value for name, value in output.items() if name.endswith("logits")}


def stock_bert(folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(folder).to_dict() | {"model_type": "bert"}
    return BertForSequenceClassification(BertConfig(**config))


@pytest.mark.parametrize("kind", ["stock BERT", "WoBERT"])
def test_a_ladder_trains_under_a_plain_trainer(
    kind: str, folder: Path, tokenizer: WoBertTokenizer, tmp_path: Path
) -> None:
    name = "WoBertForSequenceClassification"
    backbone = load(name, folder) if kind == "WoBERT" else stock_bert(folder)
    backbone.save_pretrained(tmp_path / "backbone")
    backbone = type(backbone).from_pretrained(tmp_path / "backbone")
    ladder = nlpkit.get_ladder_model(backbone, nlpkit.LadderConfig(reduction=2))
    batch = one_batch(HEADS[name], tokenizer, ladder)
    before = loss_on(ladder, batch)
    Trainer(
        ladder, TrainingArguments(tmp_path / "run"), train_dataset=rows_of(HEADS[name], tokenizer),
        data_collator=DataCollatorWithPadding(tokenizer),
    ).train()  # fmt: skip
    assert loss_on(ladder, batch) < before


def test_the_pet_trainer_trains_under_its_own_defaults(
    folder: Path, tokenizer: WoBertTokenizer, tmp_path: Path
) -> None:
    from nlpkit.pet import Example, LabelLoss, PetTrainingArguments

    classifier = nlpkit.PetClassifier(
        WoBertForMaskedLM.from_pretrained(folder), tokenizer, "{mask}好。{text}", {"good": "很", "bad": "不"}
    )
    texts, labels = [GOOD, BAD] * 4, ["good", "bad"] * 4
    examples = [Example({"text": text}, label) for text, label in zip(texts, labels, strict=True)]

    def surprise() -> float:
        answers, names = classifier.predict_proba(texts), classifier.classes_.tolist()
        return -sum(float(row[names.index(label)]) for row, label in zip(answers, labels, strict=True))

    before = surprise()
    arguments = PetTrainingArguments(str(tmp_path), max_steps=8)
    nlpkit.PetTrainer(LabelLoss(classifier), arguments, examples).train()
    assert surprise() < before


SHIPPED = ["PetClassifier", *TRAINED]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_model_loads_as_float32(name: str) -> None:
    shipped = nlpkit.model_path("wobert-mini-zh")
    if name == "PetClassifier":
        model: torch.nn.Module = nlpkit.PetClassifier.from_pretrained(
            shipped, pattern="{mask}好。{text}", verbalizer={"good": "很", "bad": "不"}
        )
    else:
        model = load(name, shipped)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
