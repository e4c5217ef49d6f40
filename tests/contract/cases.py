"""The models whose shared behaviour is tested: one `Case` per method, one line in `CASES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

Row = dict[str, Any]

#: Rows of unequal length, because equal ones hide most mistakes of normalisation and padding.
LENGTHS = (3, 9, 5, 12, 4, 7, 11, 6)
VOCABULARY, LABELS = 40, 5


@dataclass(frozen=True)
class Case:
    """A small model without dropout, eight rows for it, and how rows become a batch of a given length."""

    name: str
    model: Callable[[], PreTrainedModel]
    rows: Callable[[], list[Row]]
    collate: Callable[[Sequence[Row], int | None], dict[str, Tensor]]
    #: How nlpkit loads it again; by default ``from_pretrained`` of its class.
    load: str = ""
    #: What marks an item without a label in every column of labels.
    unlabelled: int = -100

    def __str__(self) -> str:
        return self.name


def small_config(**settings: Any) -> dict[str, Any]:
    """Settings of a BERT of two narrow layers without dropout."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "num_labels": LABELS,
        **settings,
    }


def wobert(class_name: str, config_name: str = "WoBertConfig", **settings: Any) -> Callable[[], PreTrainedModel]:
    """Makes a seeded model of that class of nlpkit."""

    def make() -> PreTrainedModel:
        import nlpkit

        torch.manual_seed(7)
        model: PreTrainedModel = getattr(nlpkit, class_name)(getattr(nlpkit, config_name)(**small_config(**settings)))
        return model.train()

    return make


@cache
def saved_backbone(plain: Callable[[], PreTrainedModel]) -> TemporaryDirectory[str]:
    """A plain model on disk, from where a ladder finds its backbone again."""
    folder: TemporaryDirectory[str] = TemporaryDirectory()
    plain().save_pretrained(folder.name)
    return folder


def beside(plain: Callable[[], PreTrainedModel]) -> Callable[[], PreTrainedModel]:
    """Makes a ladder without dropout beside a plain model."""

    def make() -> PreTrainedModel:
        from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model

        backbone = plain()
        backbone.config.name_or_path = saved_backbone(plain).name
        ladder: PreTrainedModel = get_ladder_model(backbone, LadderConfig(reduction=2, dropout=0.0))
        return ladder.train()

    return make


def token_ids() -> list[Row]:
    """Ids that no two rows share in order, each row of its own length."""
    generator = torch.Generator().manual_seed(3)
    return [{"input_ids": torch.randint(5, VOCABULARY, (length,), generator=generator)} for length in LENGTHS]


def masked_rows() -> list[Row]:
    """Token rows with a third of the tokens as targets, another number in each row."""
    rows = token_ids()
    for row in rows:
        targets = torch.arange(len(row["input_ids"])) % 3 == 0
        row["labels"] = torch.where(targets, row["input_ids"], -100)
    return rows


def tagged_rows() -> list[Row]:
    """Token rows with a class at most tokens."""
    rows = token_ids()
    for row in rows:
        row["labels"] = torch.where(row["input_ids"] % 4 == 0, -100, row["input_ids"] % LABELS)
    return rows


def classified_rows() -> list[Row]:
    """Token rows with one class each."""
    return [{**row, "labels": torch.tensor(number % LABELS)} for number, row in enumerate(token_ids())]


def answered_rows() -> list[Row]:
    """Token rows with the place of an answer each."""
    rows = token_ids()
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        row |= {"start_positions": torch.tensor(number % length), "end_positions": torch.tensor(length - 1)}
    return rows


def choice_rows() -> list[Row]:
    """Questions with three choices each, all of the row's length."""
    return [
        {"input_ids": torch.stack([row["input_ids"].roll(turn) for turn in range(3)]), "labels": torch.tensor(n % 3)}
        for n, row in enumerate(token_ids())
    ]


def pad_choices(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """Pad each choice as a row of its own."""
    flat = [{"input_ids": choice} for row in rows for choice in row["input_ids"]]
    batch = {name: values.view(len(rows), 3, -1) for name, values in pad_tokens(flat, length).items()}
    return batch | {"labels": torch.stack([row["labels"] for row in rows])}


def pair_rows() -> list[Row]:
    """Token rows with two targets each, and whether the second half follows the first."""
    rows = token_ids()
    for number, row in enumerate(rows):
        row["labels"] = torch.where(torch.arange(len(row["input_ids"])) < 2, row["input_ids"], -100)
        row["next_sentence_label"] = torch.tensor(number % 2)
    return rows


def character_rows() -> list[Row]:
    """Token rows whose tokens hold one to three characters, some characters in no token and some without a label."""
    rows = token_ids()
    for row in rows:
        tokens = torch.arange(len(row["input_ids"])).repeat_interleave(row["input_ids"] % 3 + 1)
        characters = torch.arange(len(tokens))
        row["character_to_token"] = torch.where(characters % 7 == 3, -1, tokens)
        row["character_ids"] = 5 + characters % (VOCABULARY - 5)
        row["labels"] = torch.where(row["character_to_token"] == -1, -100, (tokens + characters) % LABELS)
    return rows


def pad_characters(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """Pad tokens and characters, each to a length of their own."""
    tokens = pad_tokens([{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows], length)
    longest = max(len(row["labels"]) for row in rows) + (length or 0)
    fillings = {"character_to_token": -1, "character_ids": 0, "labels": -100}
    return tokens | {name: pad([row[name] for row in rows], longest, value) for name, value in fillings.items()}


def written_rows() -> list[Row]:
    """Token rows of which one to three tokens are read and the rest are written."""
    rows = token_ids()
    for number, row in enumerate(rows):
        row["token_type_ids"] = (torch.arange(len(row["input_ids"])) > number % 3).long()
        row["labels"] = torch.where(row["token_type_ids"] == 1, row["input_ids"], -100)
    return rows


def pad_pairs(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """Pad ids, labels, and segments with those of the source."""
    plain = [{name: values for name, values in row.items() if name != "token_type_ids"} for row in rows]
    batch = pad_tokens(plain, length)
    width = batch["input_ids"].shape[1]
    return batch | {"token_type_ids": pad([row["token_type_ids"] for row in rows], width, 0)}


def pad(values: Sequence[Tensor], length: int, filling: int) -> Tensor:
    """Stack vectors, filled up at the end."""
    return torch.stack([torch.nn.functional.pad(value, (0, length - len(value)), value=filling) for value in values])


def pad_tokens(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """Pad ids with 0, labels of tokens with -100, and mask what was padded."""
    length = length or max(len(row["input_ids"]) for row in rows)

    batch = {
        "input_ids": pad([row["input_ids"] for row in rows], length, 0),
        "attention_mask": pad([torch.ones_like(row["input_ids"]) for row in rows], length, 0),
    }
    for name in rows[0].keys() - {"input_ids"}:
        values = [row[name] for row in rows]
        batch[name] = torch.stack(values) if values[0].dim() == 0 else pad(values, length, -100)
    return batch


def entity_model(head: str, units: str = "tokens") -> Callable[[], PreTrainedModel]:
    """Makes a small encoder with a head that finds entities of two types."""

    def make() -> PreTrainedModel:
        from nlpkit import EntityConfig, EntityModel, WoBertConfig

        torch.manual_seed(7)
        encoder = WoBertConfig(**small_config())
        config = EntityConfig(encoder=encoder, types=["A", "B"], head=head, units=units, head_size=8, head_dropout=0.0)
        return EntityModel(config).train()

    return make


def bio_rows() -> list[Row]:
    """Token rows with BIO labels of two types; every fourth token has none, and its neighbours adjoin."""
    rows = token_ids()
    for number, row in enumerate(rows):
        cycle = torch.tensor([1, 2, 0, -100]).repeat(len(row["input_ids"]))[: len(row["input_ids"])]
        row["labels"] = torch.where(cycle > 0, cycle + 2 * (number % 2), cycle)
    return rows


def with_entities(make: Callable[[], list[Row]]) -> Callable[[], list[Row]]:
    """Rows with up to three entities of units, one within another; some have none."""

    def rows() -> list[Row]:
        found = make()
        for number, row in enumerate(found):
            entities = [(number % 2, 0, 2), (1, 0, 1), (0, 2, 2)][: number % 4]
            row |= {
                "entities": torch.tensor(entities, dtype=torch.long).reshape(-1, 3),
                "labels": torch.tensor(len(entities)),
            }
        return found

    return rows


def pad_entities(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """Pad what each row has, entities to the most of one."""
    names = rows[0].keys() - {"entities"}
    plain = [{name: row[name] for name in names} for row in rows]
    spread = [{**row, "labels": torch.zeros_like(row.get("character_ids", row["input_ids"]))} for row in plain]
    batch = pad_characters(spread, length) if "character_ids" in names else pad_tokens(plain, length)
    most = max(len(row["entities"]) for row in rows) + (length or 0)
    entities = [torch.nn.functional.pad(row["entities"], (0, 0, 0, most - len(row["entities"]))) for row in rows]
    return batch | {"entities": torch.stack(entities), "labels": torch.stack([row["labels"] for row in rows])}


def linking_model() -> PreTrainedModel:
    """A small encoder that compares mentions with descriptions."""
    from nlpkit import LinkingConfig, LinkingModel, WoBertConfig

    torch.manual_seed(7)
    return LinkingModel(LinkingConfig(encoder=WoBertConfig(**small_config()), head_dropout=0.0)).train()


def linking_rows() -> list[Row]:
    """Mentions with one candidate to three, beside NIL; the choice that is right is another one each time."""
    rows = token_ids()
    for number, row in enumerate(rows):
        choices = 2 + number % 3
        row["input_ids"] = torch.stack([row["input_ids"].roll(turn) for turn in range(choices)])
        row["mention_mask"] = torch.arange(row["input_ids"].shape[1]).expand_as(row["input_ids"]) < 1 + number % 3
        row["labels"] = torch.tensor(number % choices)
    return rows


def pad_linking(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """Pad each choice as a row of its own, and mentions with choices that are none."""
    most, longest = max(len(row["input_ids"]) for row in rows), max(row["input_ids"].shape[1] for row in rows)
    width = length or longest

    def padded(values: Tensor) -> Tensor:
        room = (0, width - values.shape[1], 0, most - len(values))
        return torch.nn.functional.pad(values, room)

    columns = {
        "input_ids": [row["input_ids"] for row in rows],
        "attention_mask": [torch.ones_like(row["input_ids"]) for row in rows],
        "mention_mask": [row["mention_mask"] for row in rows],
    }
    batch = {name: torch.stack([padded(value) for value in values]) for name, values in columns.items()}
    return batch | {"labels": torch.stack([row["labels"] for row in rows])}


WORDS = dict(zip("abcde", (["一", "丁丂"], "七丄", "丅", "丆", "万"), strict=True))


@cache
def tokenizer_of_characters() -> Any:
    """Of the vocabulary of the small models."""
    from nlpkit import WoBertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *(chr(ord("一") + number) for number in range(VOCABULARY - len(special)))]
    return WoBertTokenizer({token: number for number, token in enumerate(tokens)})


def prompted() -> Any:
    """A masked LM as a classifier; its label words have one token and two."""
    from nlpkit import PetClassifier

    model = wobert("WoBertForMaskedLM")()
    return PetClassifier(model, tokenizer_of_characters(), "{mask}丈。{text}", WORDS).train()


def headed() -> Any:
    """An encoder with a head as a classifier of texts."""
    from nlpkit.pet import HeadClassifier

    model = wobert("WoBertForSequenceClassification")()
    return HeadClassifier(model, tokenizer_of_characters(), list(WORDS)).train()


def several_labels() -> Any:
    """A masked LM that finds any number of labels."""
    from nlpkit.pet import MultiLabelClassifier

    model = wobert("WoBertForMaskedLM")()
    return MultiLabelClassifier(model, tokenizer_of_characters(), "{mask}丈。{text}", WORDS).train()


def prompted_rows() -> list[Row]:
    """Texts of unequal length, each with a label."""
    return [
        {"text": "".join(chr(ord("一") + int(token) - 5) for token in row["input_ids"]), "label": "abcde"[number % 5]}
        for number, row in enumerate(token_ids())
    ]


def several_label_rows() -> list[Row]:
    """The same with one label, two, or none."""
    labels = [["a"], ["b", "c"], [], ["d", "a"], ["e"], [], ["c"], ["b", "d", "e"]]
    return [{**row, "label": own} for row, own in zip(prompted_rows(), labels, strict=True)]


def collated_by(make: Callable[[], Any]) -> Callable[[Sequence[Row], int | None], dict[str, Tensor]]:
    """The classifier's own batch, padded further."""

    def collate(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
        classifier = make()
        batch: dict[str, Tensor] = classifier.collate(classifier.labelled(list(rows)).examples)
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            batch[name] = pad(list(batch[name]), max(length or 0, batch[name].shape[1]), 0)
        return batch

    return collate


CASES = [
    Case("masked-lm", wobert("WoBertForMaskedLM"), masked_rows, pad_tokens),
    Case("sparse-masked-lm", wobert("WoBertForMaskedLM", sparse_prediction=True), masked_rows, pad_tokens),
    Case("sequence-classification", wobert("WoBertForSequenceClassification"), classified_rows, pad_tokens),
    Case("token-classification", wobert("WoBertForTokenClassification"), tagged_rows, pad_tokens),
    Case("multiple-choice", wobert("WoBertForMultipleChoice"), choice_rows, pad_choices),
    Case(
        "question-answering",
        wobert("WoBertForQuestionAnswering", num_labels=2),
        answered_rows,
        pad_tokens,
        unlabelled=1000,
    ),
    Case("pre-training", wobert("WoBertForPreTraining"), pair_rows, pad_tokens),
    Case("unilm", wobert("UniLmForSequenceToSequence", "UniLmConfig"), written_rows, pad_pairs),
    Case(
        "character-classification",
        wobert("WoBertForCharacterClassification", "WoBertCharacterConfig"),
        character_rows,
        pad_characters,
    ),
    Case("global-pointer", entity_model("global_pointer"), with_entities(token_ids), pad_entities),
    Case("efficient-global-pointer", entity_model("efficient_global_pointer"), with_entities(token_ids), pad_entities),
    Case(
        "efficient-global-pointer-of-characters",
        entity_model("efficient_global_pointer", "characters"),
        with_entities(character_rows),
        pad_entities,
    ),
    Case("crf", entity_model("crf"), bio_rows, pad_tokens),
    Case("linking", linking_model, linking_rows, pad_linking),
    Case("pet", prompted, prompted_rows, collated_by(prompted)),
    Case("head-classifier", headed, prompted_rows, collated_by(headed), load="pet.HeadClassifier.from_pretrained"),
    Case(
        "multi-label-classifier",
        several_labels,
        several_label_rows,
        collated_by(several_labels),
        load="pet.MultiLabelClassifier.from_pretrained",
    ),
    Case(
        "ladder",
        beside(wobert("WoBertForTokenClassification")),
        tagged_rows,
        pad_tokens,
        load="LadderModel.from_pretrained",
    ),
]
