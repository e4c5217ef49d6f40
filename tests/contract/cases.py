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
def saved_backbone(class_name: str) -> TemporaryDirectory[str]:
    """A plain model on disk, from where a ladder finds its backbone again."""
    folder: TemporaryDirectory[str] = TemporaryDirectory()
    wobert(class_name)().save_pretrained(folder.name)
    return folder


def beside(class_name: str) -> Callable[[], PreTrainedModel]:
    """Makes a ladder without dropout beside a model of that class of nlpkit."""

    def make() -> PreTrainedModel:
        from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model

        backbone = wobert(class_name)()
        backbone.config.name_or_path = saved_backbone(class_name).name
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


def prompted() -> Any:
    """A masked LM as a classifier; its label words have one token and two."""
    from nlpkit import PetClassifier, WoBertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *(chr(ord("一") + number) for number in range(VOCABULARY - len(special)))]
    tokenizer = WoBertTokenizer({token: number for number, token in enumerate(tokens)})
    words = dict(zip("abcde", (["一", "丁丂"], "七丄", "丅", "丆", "万"), strict=True))
    return PetClassifier(wobert("WoBertForMaskedLM")(), tokenizer, "{mask}丈。{text}", words).train()


def prompted_rows() -> list[Row]:
    """Texts of unequal length, each with a label."""
    return [
        {"text": "".join(chr(ord("一") + int(token) - 5) for token in row["input_ids"]), "label": "abcde"[number % 5]}
        for number, row in enumerate(token_ids())
    ]


def collate_prompted(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """The classifier's own batch, padded further."""
    from nlpkit.pet import Example

    batch: dict[str, Tensor] = prompted().collate([Example({"text": row["text"]}, row["label"]) for row in rows])
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        batch[name] = pad(list(batch[name]), max(length or 0, batch[name].shape[1]), 0)
    return batch


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
    Case(
        "character-classification",
        wobert("WoBertForCharacterClassification", "WoBertCharacterConfig"),
        character_rows,
        pad_characters,
    ),
    Case("pet", prompted, prompted_rows, collate_prompted),
    Case(
        "ladder", beside("WoBertForTokenClassification"), tagged_rows, pad_tokens, load="LadderModel.from_pretrained"
    ),
]
