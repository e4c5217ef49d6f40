"""Every loss under our Trainer and the plain one: one gradient however a step is cut, and all numbers finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.losses import (
    BinaryCrossEntropyLoss,
    CenterLoss,
    CrossEntropyLoss,
    DiceLoss,
    ExactLoss,
    F1WeightedLoss,
    FlatNCELoss,
    FocalLoss,
    HardTruncationLoss,
    InfoNCELoss,
    LogBalancedLoss,
    LogitAdjustedLoss,
    Loss,
    RowDiceLoss,
    SoftF1Loss,
    SoftTruncationLoss,
    SpanLoss,
    SparseZLPRLoss,
    SquaredErrorLoss,
    SupervisedContrastiveLoss,
    ZLPRLoss,
)
from nlpkit.training import GradCache
from tests.contract.cases import Case, Row, pad_tokens, small_config, token_ids
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS, listed_rows, stock
from tests.contract.test_stock_heads import assert_same

_BY_NAME = {case.name: case for case in HEADS}
ROWS, TOKENS, MULTI_LABEL = (
    _BY_NAME[name] for name in ("BertForSequenceClassification", "BertForTokenClassification", "multi-label")
)

LISTS = replace(MULTI_LABEL, name="lists", rows=listed_rows)


def grouped_rows() -> list[Row]:
    """Token rows of three groups."""
    return [{**row, "labels": torch.tensor(number // 3)} for number, row in enumerate(token_ids())]


EMBEDDINGS = Case("embeddings", stock("DebertaV2Model", **small_config()), grouped_rows, pad_tokens)


@dataclass(frozen=True)
class Tried:
    """A loss, and heads with rows that it is for."""

    make: Callable[[], Loss]
    cases: tuple[Case, ...]
    #: Whether the plain Trainer counts what the loss divides by, and shows it all that it needs.
    plain_counts: bool = True
    #: Whether the head's own logits leave padding out.
    masks_padding: bool = True
    #: Whether a row of -100 is one to which no class applies, and counts.
    counts_every_row: bool = False
    #: Whether a class can be left out of an item by a logit of -inf.
    leaves_out: bool = True


#: Of classes; those of a micro-batch may add up to less than 1.
WEIGHTS = [0.01, 0.02, 0.5, 0.03, 0.05]


def _scores(outputs: Any) -> Tensor:
    return outputs["logits"]


#: One line per loss.
LOSSES = {
    "cross-entropy": Tried(CrossEntropyLoss, (ROWS, TOKENS)),
    "label smoothing": Tried(lambda: CrossEntropyLoss(label_smoothing=0.1), (TOKENS,), leaves_out=False),
    "class weights": Tried(lambda: CrossEntropyLoss(class_weights=WEIGHTS), (ROWS, TOKENS), plain_counts=False),
    "class weights, smoothed": Tried(
        lambda: CrossEntropyLoss(label_smoothing=0.1, class_weights=WEIGHTS), (TOKENS,), False, leaves_out=False
    ),
    "next token": Tried(lambda: CrossEntropyLoss(shift=True), (_BY_NAME["LlamaForCausalLM"],)),
    "binary": Tried(BinaryCrossEntropyLoss, (MULTI_LABEL,)),
    "binary, positives weighted": Tried(lambda: BinaryCrossEntropyLoss(pos_weight=WEIGHTS), (MULTI_LABEL,)),
    "squared error": Tried(SquaredErrorLoss, (_BY_NAME["regression"],), leaves_out=False),
    "zlpr": Tried(ZLPRLoss, (MULTI_LABEL,)),
    "zlpr of its own threshold": Tried(
        lambda: ZLPRLoss(gamma=2.0, margin=0.1, threshold="learned"), (MULTI_LABEL,), plain_counts=False
    ),
    "sparse zlpr": Tried(SparseZLPRLoss, (LISTS,), plain_counts=False, counts_every_row=True),
    "log-balanced": Tried(LogBalancedLoss, (TOKENS,), plain_counts=False),
    "span": Tried(SpanLoss, (_BY_NAME["BertForQuestionAnswering"],), plain_counts=False, masks_padding=False),
    "info-nce": Tried(InfoNCELoss, (EMBEDDINGS,), plain_counts=False, leaves_out=False),
    "flat-nce": Tried(FlatNCELoss, (EMBEDDINGS,), plain_counts=False, leaves_out=False),
    "supervised contrastive": Tried(SupervisedContrastiveLoss, (EMBEDDINGS,), plain_counts=False, leaves_out=False),
    "focal": Tried(lambda: FocalLoss(0.5, [0.1, 0.2, 0.3, 0.3, 0.1]), (ROWS, TOKENS)),
    "binary focal": Tried(lambda: FocalLoss(2.0, 0.25, multi_label=True), (MULTI_LABEL,)),
    "hard truncation": Tried(lambda: HardTruncationLoss(0.1), (TOKENS,)),
    "soft truncation": Tried(lambda: SoftTruncationLoss(3.0), (TOKENS,)),
    "logit adjustment": Tried(lambda: LogitAdjustedLoss([0.1, 0.2, 0.3, 0.3, 0.1]), (ROWS, TOKENS)),
    "binary logit adjustment": Tried(
        lambda: LogitAdjustedLoss([0.1, 0.2] * 2 + [0.9], multi_label=True), (MULTI_LABEL,)
    ),
    "dice": Tried(lambda: DiceLoss(1.0, absent="count"), (ROWS, TOKENS)),
    "binary dice": Tried(lambda: DiceLoss(multi_label=True), (MULTI_LABEL,)),
    "row dice": Tried(RowDiceLoss, (TOKENS,), plain_counts=False),
    "soft f1": Tried(lambda: SoftF1Loss("micro", leave_out=0), (ROWS, TOKENS)),
    "f1-weighted": Tried(F1WeightedLoss, (MULTI_LABEL,)),
    "exact": Tried(ExactLoss, (TOKENS,)),
    "probit": Tried(lambda: ExactLoss(0.5, log=True), (ROWS,)),
    "center": Tried(
        lambda: CenterLoss(CrossEntropyLoss(), 5, 5, weight=0.5, momentum=None, features=_scores),
        (ROWS, TOKENS),
        leaves_out=False,  # logits are the features, too
    ),
}
EACH = [pytest.param(tried, case, id=f"{name}-{case}") for name, tried in LOSSES.items() for case in tried.cases]
each_loss = pytest.mark.parametrize(("tried", "case"), EACH)


def step(tried: Tried, case: Case, batch_size: int, accumulation: int) -> dict[str, Tensor]:
    loss = tried.make()
    techniques = [GradCache()] if loss.scope == "micro-batch" and accumulation > 1 else []
    return gradient(case, batch_size, accumulation, "ours", {"loss": loss, "techniques": techniques})


@each_loss
def test_accumulated_steps_equal_one_large_batch(tried: Tried, case: Case) -> None:
    whole = step(tried, case, 8, 1)
    assert_same(step(tried, case, 2, 4), whole)
    assert_same(step(tried, case, 3, 3), whole)


@each_loss
def test_the_plain_trainer_takes_it_for_compute_loss_func(tried: Tried, case: Case) -> None:
    if not tried.plain_counts:
        pytest.skip("the plain Trainer counts labels alone, gives no mask to pool states with, and trains no loss")
    loss = tried.make()
    cut = (2, 4) if loss.scope == "row" else (8, 1)
    plain = gradient(case, *cut, "plain", {"compute_loss_func": loss})
    assert_same(plain, step(tried, case, 8, 1))


@each_loss
def test_values_and_their_weights_make_up_the_mean(tried: Tried, case: Case) -> None:
    loss, batch = tried.make().double(), case.collate(case.rows(), None)
    if type(loss).values is Loss.values or loss.scope != "row":
        pytest.skip("it is no sum over items")
    outputs = case.model().double().eval()(**loss.inputs_of(batch))
    items = loss.items_in(loss.logits_in(outputs, batch), loss.labels_of(batch))
    weights = loss.item_weights(items[1])
    assert weights.shape == items[1].shape[:1]
    torch.testing.assert_close(weights.sum().double(), loss.items_of(batch)["loss"].double())
    own = loss.task if isinstance(loss, CenterLoss) else loss  # the distance of features is another term
    mean = own.terms(outputs, batch, {})["loss"]
    torch.testing.assert_close(loss.values(*items).sum() / weights.sum(), mean, rtol=1e-6, atol=0)


@each_loss
def test_padding_changes_nothing(tried: Tried, case: Case) -> None:
    if not tried.masks_padding:
        pytest.skip("this head of transformers lets padding compete with the answer")
    model, loss = case.model().double().eval(), tried.make()
    short, long = (case.collate(case.rows(), length) for length in (None, 20))
    values = [tried.make().terms(model(**loss.inputs_of(batch)), batch, {})["loss"] for batch in (short, long)]
    torch.testing.assert_close(*values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scale", [20.0, 1e4])
@each_loss
def test_extreme_logits_stay_finite(tried: Tried, case: Case, scale: float, dtype: torch.dtype) -> None:
    loss, batch = tried.make(), case.collate(case.rows(), None)
    outputs: dict[str, Any] = dict(case.model().eval()(**loss.inputs_of(batch)))
    noise = torch.Generator().manual_seed(0)
    drawn = {
        name: (torch.randn(value.shape, generator=noise) * scale).to(dtype).requires_grad_()
        for name, value in outputs.items()
        if name.endswith(("logits", "hidden_state"))
    }
    value = loss.terms(drawn, batch, {})["loss"]
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    for logits in drawn.values():
        assert logits.grad is not None and logits.grad.isfinite().all()


def others_of(loss: Loss, batch: dict[str, Tensor], logits: Tensor, column: str) -> Tensor:
    """Where a class stands that a row does not have, one for each row of logits."""
    labels, classes = batch[column], logits.shape[-1]
    if getattr(loss, "shift", False):
        labels = labels.roll(-1, dims=-1)
    if labels.dim() < logits.dim():
        return torch.nn.functional.one_hot((labels.clamp(min=0) + 1) % classes, classes).bool()
    if loss.columns == ("labels",) and isinstance(loss, SparseZLPRLoss):
        given = torch.nn.functional.one_hot(labels.clamp(min=0), classes) * (labels >= 0)[..., None]
        return (given.sum(dim=-2) == 0) & (torch.arange(classes) < 3)
    return (labels == 0) & (torch.arange(classes) < 3)


def scored(tried: Tried, case: Case) -> tuple[Loss, dict[str, Tensor], dict[str, Tensor]]:
    """A loss, a batch, and scores for its places of labels."""
    loss, batch = tried.make(), case.collate(case.rows(), None)
    outputs: dict[str, Any] = dict(case.model().eval()(**loss.inputs_of(batch)))
    noise = torch.Generator().manual_seed(0)
    names = [name for name in outputs if name.endswith("logits")]
    drawn = {name: torch.randn(outputs[name].shape, generator=noise, dtype=torch.float64) for name in names}
    return loss, batch, drawn


@each_loss
def test_a_class_that_is_left_out_by_minus_infinity_counts_for_nothing(tried: Tried, case: Case) -> None:
    if not tried.leaves_out:
        pytest.skip("there are no classes, or each has a share in the loss whatever the label")
    loss, batch, drawn = scored(tried, case)
    columns = dict(zip(drawn, loss.columns, strict=True))
    gone = {name: others_of(loss, batch, logits, columns[name]) for name, logits in drawn.items()}
    found, far = (
        {name: logits.masked_fill(gone[name], low).requires_grad_() for name, logits in drawn.items()}
        for low in (-torch.inf, -1e4)
    )
    values = [tried.make().double().terms(outputs, batch, {})["loss"] for outputs in (found, far)]
    torch.testing.assert_close(*values, rtol=0, atol=1e-12)
    for value in values:
        value.backward()
    for name, logits in found.items():
        assert logits.grad is not None and not logits.grad[gone[name]].any()
        torch.testing.assert_close(logits.grad, far[name].grad, rtol=0, atol=1e-12)


@each_loss
def test_a_label_at_minus_infinity_is_infinitely_wrong_or_refused_and_never_nan(tried: Tried, case: Case) -> None:
    loss, batch, drawn = scored(tried, case)
    if not drawn or isinstance(loss, SquaredErrorLoss | CenterLoss):
        pytest.skip("there are no classes")
    labels, last = batch[loss.columns[0]], next(iter(drawn.values())).shape[-1] - 1
    labels[0] = torch.where(labels[0] == -100, -100, 1 if labels.is_floating_point() else last)
    for logits in drawn.values():
        logits[0, ..., last] = -torch.inf
        logits.requires_grad_()
    try:
        value = loss.double().terms(drawn, batch, {})["loss"]
    except ValueError as error:
        assert "whose logit is -inf" in str(error)
        return
    value.backward()
    assert not value.isnan()
    for logits in drawn.values():
        assert logits.grad is not None and not logits.grad.isnan().any()


@each_loss
def test_scores_at_the_end_of_their_range_make_no_nan(tried: Tried, case: Case) -> None:
    loss, batch, drawn = scored(tried, case)
    if not drawn or isinstance(loss, SquaredErrorLoss):
        pytest.skip("there are no scores of classes")
    columns = dict(zip(drawn, loss.columns, strict=True))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for lowest in (torch.finfo(dtype).min, torch.finfo(dtype).min / 8):
            for of_labels in (False, True):
                outputs = {}
                for name, logits in drawn.items():
                    low = (
                        others_of(loss, batch, logits, columns[name]) != of_labels
                    )  # or all but these, with the label
                    found = logits.to(dtype).masked_fill(low, lowest)
                    found[0] = -found[0]  # and the highest
                    outputs[name] = found.requires_grad_()
                value = tried.make().terms(outputs, batch, {})["loss"]
                value.backward()
                assert not value.isnan()
                for logits in outputs.values():
                    assert logits.grad is not None and not logits.grad.isnan().any()
                    squares = isinstance(loss, CenterLoss)  # whose slopes may be beyond fp16
                    assert squares or logits.grad.isfinite().all()


@each_loss
def test_rows_without_labels_give_nothing_attached_to_the_graph(tried: Tried, case: Case) -> None:
    if tried.counts_every_row:
        pytest.skip("a row of -100 has no class, and counts")
    loss, batch = tried.make(), case.collate(case.rows(), None)
    unlabelled = {name: torch.full_like(batch[name], -100) for name in loss.columns}
    outputs = dict(case.model().train()(**loss.inputs_of(batch)))
    value = loss.terms(outputs, {**batch, **unlabelled}, {})["loss"]
    assert value.item() == 0.0 and value.requires_grad
    assert loss.items_of({**batch, **unlabelled})["loss"] == 0


@each_loss
def test_a_batch_of_one_and_the_same_row_again(tried: Tried, case: Case) -> None:
    model, loss, row = case.model().double().eval(), tried.make(), case.rows()[0]
    if loss.scope == "micro-batch":
        pytest.skip("it couples rows, so one more changes it")
    one, two = (case.collate([row] * number, None) for number in (1, 2))
    values = [tried.make().terms(model(**loss.inputs_of(batch)), batch, {})["loss"] for batch in (one, two)]
    torch.testing.assert_close(*values, rtol=0, atol=1e-12)
