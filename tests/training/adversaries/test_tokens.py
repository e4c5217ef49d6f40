"""Which tokens move: those of the stack that runs, in models that share, pad or turn what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nlpkit.losses import CrossEntropyLoss
from nlpkit.training import FGM, GradientPenalty
from nlpkit.training.adversaries.adversary import Adversary
from nlpkit.training.adversaries.moves import Call
from tests.contract.cases import LABELS, VOCABULARY, Case, Row, classified_rows, pad_tokens, small_config, tagged_rows
from tests.contract.one_step import gradient
from tests.contract.stock_heads import _BART, _T5, stock, written_rows
from tests.contract.test_stock_heads import assert_same
from tests.training.adversaries.test_fgm import ADVERSARIES, ROWS, TOKENS, ours


def resized(name: str, **settings: Any) -> Callable[[], Any]:
    """With one embedding module for both stacks."""

    def make() -> Any:
        model = stock(name, **settings)()
        model.resize_token_embeddings(VOCABULARY)
        return model

    return make


def translated_rows() -> list[Row]:
    """Targets shorter than their sources, or longer."""
    rows = written_rows()
    for number, row in enumerate(rows):
        row["labels"] = row["input_ids"].repeat(2)[: max(2, number * 2)]
    return rows


def pad_translated(rows: Any, length: int | None) -> dict[str, Tensor]:
    longest = max(len(row["labels"]) for row in rows)
    labels = torch.stack([pad(row["labels"], (0, longest - len(row["labels"])), value=-100) for row in rows])
    return pad_tokens([{"input_ids": row["input_ids"]} for row in rows], length) | {"labels": labels}


def pad_with_decoder_ids(rows: Any, length: int | None) -> dict[str, Tensor]:
    """As transformers' DataCollatorForSeq2Seq does that knows the model."""
    batch = pad_translated(rows, length)
    batch["decoder_input_ids"] = T5.model()._shift_right(batch["labels"])
    return batch


def pad_left(rows: Any, length: int | None) -> dict[str, Tensor]:
    """As XLNet has it, which reads off the last token."""
    batch = pad_tokens(rows, length)
    turns = batch["input_ids"].shape[1] - batch["attention_mask"].sum(dim=1)
    for name in ("input_ids", "attention_mask"):
        batch[name] = torch.stack([row.roll(int(turn)) for row, turn in zip(batch[name], turns, strict=True)])
    return batch


def ended_rows() -> list[Row]:
    rows = classified_rows()
    for row in rows:
        row["input_ids"] = torch.cat([row["input_ids"], torch.tensor([2])])
    return rows


def square_rows() -> list[Row]:
    return [row | {"input_ids": (torch.arange(8) * 3 + n) % 30 + 5} for n, row in enumerate(classified_rows())]


_T5_ALL = {**_T5, "dropout_rate": 0.0, "decoder_start_token_id": 0}
_XLNET = {
    "vocab_size": VOCABULARY, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "dropout": 0.0,
    "summary_last_dropout": 0.0, "num_labels": LABELS, "pad_token_id": 0,
}  # fmt: skip
T5 = Case("T5", stock("T5ForConditionalGeneration", **_T5_ALL), translated_rows, pad_translated)
SHARED_T5 = Case("T5 resized", resized("T5ForConditionalGeneration", **_T5_ALL), translated_rows, pad_translated)
BART = Case("BART", stock("BartForConditionalGeneration", **_BART), written_rows, pad_tokens)
SHARED_BART = Case("BART resized", resized("BartForConditionalGeneration", **_BART), written_rows, pad_tokens)
XLNET = Case("XLNet", stock("XLNetForSequenceClassification", **_XLNET), classified_rows, pad_left)
SQUARE = Case("XLNet, as many rows as tokens", XLNET.model, square_rows, pad_left)
LONGFORMER = Case(
    "Longformer",
    stock("LongformerForSequenceClassification", **small_config(num_labels=LABELS), attention_window=4),
    classified_rows,
    pad_tokens,
)
CASES = [
    SHARED_T5,
    SHARED_BART,
    Case("T5 with decoder_input_ids", T5.model, translated_rows, pad_with_decoder_ids),
    Case("T5 tagger", stock("T5ForTokenClassification", **_T5_ALL, num_labels=LABELS), tagged_rows, pad_tokens),
    Case(
        "BART classifier",
        stock("BartForSequenceClassification", **_BART, num_labels=LABELS),
        ended_rows,
        pad_tokens,
    ),
    XLNET,
    SQUARE,
    LONGFORMER,
]


def tolerance_of(adversary: type[Adversary]) -> float:
    """Differences over a move of 1e-5 keep eleven digits."""
    return 1e-9 if adversary is GradientPenalty else 1e-12


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_accumulated_steps_equal_one_large_batch(case: Case, adversary: type[Adversary]) -> None:
    assert_same(ours(case, adversary(), 2, 4), ours(case, adversary()), tolerance=tolerance_of(adversary))


@pytest.mark.parametrize(("shared", "apart"), [(SHARED_T5, T5), (SHARED_BART, BART)], ids=str)
@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_stacks_that_share_an_embedding_move_as_those_that_do_not(
    shared: Case, apart: Case, adversary: type[Adversary]
) -> None:
    assert_same(ours(shared, adversary()), ours(apart, adversary()), tolerance=tolerance_of(adversary))


def moved_places(case: Case, technique: FGM) -> list[Tensor]:
    """Of each call in the pass of an adversary, where its move is not 0."""
    found: list[Call] = []

    class Watched(type(technique)):  # type: ignore[misc]
        def gathered(self, calls: Any, gradients: Any) -> Any:
            moves, gradient = super().gathered(calls, gradients)
            found[:] = [
                Call(move, call.mask, call.squares, call.ids) for move, call in zip(gradient, calls, strict=True)
            ]
            return moves, gradient

    watched = Watched(at=technique.at, still=technique.still)
    ours(case, watched)
    return [call.move.abs().sum(dim=-1) > 0 for call in found]


def test_all_tokens_of_both_stacks_move_and_no_padding() -> None:
    batch = SHARED_T5.collate(SHARED_T5.rows(), None)
    source, target = moved_places(SHARED_T5, FGM())
    assert torch.equal(source, batch["attention_mask"].bool())
    assert torch.equal(target, batch["labels"] != -100)


def test_padding_that_a_model_adds_inside_does_not_move() -> None:
    case = Case("short", LONGFORMER.model, lambda: LONGFORMER.rows()[:3], pad_tokens)
    mask = case.collate(case.rows(), None)["attention_mask"].bool()
    assert mask.shape == (3, 9)
    for at in (None, lambda model: model.longformer.encoder.layer[0]):
        (moved,) = moved_places(case, FGM(at=at))
        assert torch.equal(moved, pad(mask, (0, 3)))


def test_still_tokens_of_a_decoder_do_not_move() -> None:
    everything = range(VOCABULARY)
    assert not any(places.any() for places in moved_places(SHARED_T5, FGM(still=everything)))


class OwnNames(nn.Module):
    """Takes its tokens by names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = ROWS.model()

    def get_input_embeddings(self) -> nn.Module:
        embedding: nn.Module = self.bert.get_input_embeddings()
        return embedding

    def forward(self, tokens: Tensor, labels: Tensor | None = None) -> Any:
        return self.bert(input_ids=tokens, attention_mask=(tokens != 0).long(), labels=labels)


def with_own_names(rows: Any, length: int | None) -> dict[str, Tensor]:
    batch = ROWS.collate(rows, length)
    return {"tokens": batch["input_ids"], "labels": batch["labels"]}


OWN = Case("own names", lambda: OwnNames().train(), ROWS.rows, with_own_names)


def test_batches_with_names_of_their_own_need_the_padding_among_what_is_still() -> None:
    def found(*techniques: Any) -> dict[str, Tensor]:
        return gradient(OWN, 8, 1, "ours", {"techniques": techniques, "loss": CrossEntropyLoss()})

    expected = ours(ROWS, FGM())
    assert_same(found(FGM(still=[0])), {f"bert.{name}": value for name, value in expected.items()})
    with pytest.raises(
        ValueError, match=r"padding cannot be told by {'tokens'.*or give still=\[tokenizer.pad_token_id"
    ):
        found(FGM())


def test_what_has_tokens_first_is_told_by_what_it_was_given() -> None:
    batch = SQUARE.collate(SQUARE.rows(), None)
    assert batch["input_ids"].shape == (8, 8)
    one_by_one = [
        ours(Case("one", SQUARE.model, lambda n=n: SQUARE.rows()[n : n + 1], pad_tokens), FGM(), 1) for n in range(8)
    ]
    mean = {name: torch.stack([found[name] for found in one_by_one]).mean(dim=0) for name in one_by_one[0]}
    assert_same(ours(SQUARE, FGM()), mean, tolerance=1e-12)


def with_a_map(rows: Any, length: int | None) -> dict[str, Tensor]:
    """A mask of pairs of tokens, which does not tell of padding."""
    batch = TOKENS.collate(rows, length)
    mask = batch["attention_mask"]
    return batch | {"attention_mask": (mask[:, None] * mask[:, :, None])[:, None].bool()}


@pytest.mark.parametrize(
    ("case", "technique", "message"),
    [
        (
            SQUARE,
            FGM(at=lambda model: model.transformer.layer[0]),
            r"XLNetLayer has shape \(8, 8, 16\), and this model has tokens before rows; .*: at=None",
        ),
        (
            TOKENS,
            FGM(at=lambda model: Transposing.into(model)),
            r"FGM: the output of Transposing has shape \(8, 16, 12\), and which of it is padding cannot be .*at=",
        ),
        (
            Case("map", TOKENS.model, TOKENS.rows, with_a_map),
            FGM(),
            r"FGM: the output of Embedding has shape \(8, 12, 16\), and .*'attention_mask': .8, 1, 12, 12.*still=",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused(case: Case, technique: FGM, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours(case, technique)


class Transposing(nn.Module):
    """Puts the width before the tokens."""

    def forward(self, states: Tensor) -> Tensor:
        return states.transpose(1, 2)

    @staticmethod
    def into(model: Any) -> nn.Module:
        width_first, own = Transposing(), model.classifier
        model.classifier = nn.Sequential(width_first, Transposing(), own)
        return width_first


@pytest.mark.parametrize("make", ADVERSARIES)
def test_rows_of_several_texts_are_refused(make: Any) -> None:
    """As batches without padding are; with one text a row, positions may be given, and padding may have any."""

    def positioned(rows: Any, length: int | None, several: bool = False) -> Row:
        batch = pad_tokens(rows, length)
        mask = batch["attention_mask"]
        positions = (mask.cumsum(1) - 1) * mask
        if several:
            positions = torch.where(positions > 1, positions - 2, positions)
        return batch | {"position_ids": positions}

    one = Case("one", TOKENS.model, tagged_rows, positioned)
    gradient(one, 8, 1, "ours", {"techniques": [make()]})
    several = Case("several", TOKENS.model, tagged_rows, lambda rows, length: positioned(rows, length, True))
    with pytest.raises(ValueError, match="position_ids begin again within a row, as if it held several texts: pad"):
        gradient(several, 8, 1, "ours", {"techniques": [make()]})
