"""Labels of odd dtypes, shapes and ranges: what they mean, or what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.losses import (
    BinaryCrossEntropyLoss,
    CenterLoss,
    CrossEntropyLoss,
    DiceLoss,
    ExactLoss,
    F1WeightedLoss,
    FocalLoss,
    FunctionLoss,
    HardTruncationLoss,
    LogBalancedLoss,
    LogitAdjustedLoss,
    Loss,
    RowDiceLoss,
    SoftF1Loss,
    SoftTruncationLoss,
    SpanLoss,
    SquaredErrorLoss,
    ZLPRLoss,
    balanced_accuracy,
    binary_cross_entropy,
    chunked_cross_entropy,
    class_priors,
    cross_entropy,
    exact_log_probability,
    log_balanced_cross_entropy,
    posthoc_adjust,
    smooth_accuracy,
    sparse_zlpr,
    squared_error,
)
from nlpkit.losses.labels import refuse_probabilities
from tests.losses.test_loss import drawn

OF_CLASSES: list[Callable[[], Loss]] = [CrossEntropyLoss, FocalLoss, DiceLoss, ExactLoss, LogBalancedLoss, RowDiceLoss]
FUNCTIONS: list[Callable[[Tensor, Tensor], Any]] = [
    cross_entropy,
    smooth_accuracy,
    log_balanced_cross_entropy,
    lambda logits, labels: chunked_cross_entropy(logits, drawn(200, 200), labels),
    lambda logits, labels: sparse_zlpr(logits, labels[..., None]),
    lambda logits, labels: class_priors(labels, 200).tolist(),
    lambda logits, labels: balanced_accuracy(labels, labels),
]
WHOLE = [torch.uint8, torch.int16, torch.int32]
rows = pytest.mark.parametrize("make", OF_CLASSES)


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
@rows
def test_integers_of_any_dtype_are_class_indices(make: Callable[[], Loss], dtype: torch.dtype) -> None:
    """In 8 bits without a sign, 156 is what -100 wraps to."""
    logits, labels = drawn(2, 3, 200), torch.tensor([[156, 3, 7], [1, 156, 156]])
    assert make().items(labels.to(dtype)) == make().items(labels)
    assert make()(logits, labels.to(dtype)).item() == make()(logits, labels).item()
    mask = torch.tensor([[0, 1, 1], [0, 1, 1]])
    assert make()(logits, labels.to(dtype), mask=mask).item() == make()(logits, labels, mask=mask).item()
    batch = {"labels": labels.to(dtype)}
    assert make().items_of(batch)["loss"] == make().items(labels)
    assert make().valid(make().align_labels(make().labels_of(batch))).all()


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_take_integers_of_any_dtype(function: Callable[[Tensor, Tensor], Any], dtype: torch.dtype) -> None:
    logits, labels = drawn(2, 3, 200), torch.tensor([[156, 3, 7], [1, 156, 156]])
    found, expected = function(logits, labels.to(dtype)), function(logits, labels)
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))


@pytest.mark.parametrize("dtype", [*WHOLE, torch.bool], ids=str)
def test_cells_of_any_dtype_are_zero_or_one(dtype: torch.dtype) -> None:
    logits, labels = drawn(2, 3), torch.tensor([[1, 0, 0], [0, 1, 1]])
    makes = [BinaryCrossEntropyLoss, ZLPRLoss, lambda: FocalLoss(multi_label=True), lambda: DiceLoss(multi_label=True)]
    for make in makes:
        assert make()(logits, labels.to(dtype)).item() == make()(logits, labels.double()).item()
        assert make().items(labels.to(dtype)) == make().items(labels)


@rows
def test_labels_that_are_no_classes_are_named(make: Callable[[], Loss]) -> None:
    logits = drawn(2, 3, 5)
    labels = torch.tensor([[0, 1, 2], [3, 4, 0]])
    for dtype in (torch.float32, torch.bool):
        with pytest.raises(
            ValueError, match=rf"labels must be class indices \(torch.long\), not {dtype}; numbers for"
        ):
            make()(logits, labels.to(dtype) * (0.7 if dtype == torch.float32 else True))
    for wrong in (5, -1):
        with pytest.raises(ValueError, match=rf"labels hold {wrong}, but there are 5 classes: give 0 to 4, or -100"):
            make()(logits, labels.masked_fill(labels == 4, wrong))


@pytest.mark.parametrize("dtype", [torch.float32, torch.long], ids=str)
def test_multi_hot_labels_of_a_loss_over_classes_are_named(dtype: torch.dtype) -> None:
    for make in (CrossEntropyLoss, FocalLoss, DiceLoss):
        with pytest.raises(ValueError, match=r"there is a label for each logit, .* take BinaryCrossEntropyLoss"):
            make()(drawn(4, 3), torch.eye(3)[[0, 1, 2, 0]].to(dtype))
    with pytest.raises(
        ValueError, match=r"labels of shape \(2,\) do not fit logits of shape \(2, 4, 5\): give one class"
    ):
        CrossEntropyLoss()(drawn(2, 4, 5), torch.tensor([0, 1]))


def test_functions_name_labels_that_are_no_classes() -> None:
    for function in FUNCTIONS[:4]:
        with pytest.raises(ValueError, match=r"labels must be class indices"):
            function(drawn(2, 3, 200), torch.full((2, 3), 0.7))
    for function in (cross_entropy, smooth_accuracy, log_balanced_cross_entropy):
        with pytest.raises(ValueError, match=r"labels hold 200, but there are 200 classes"):
            function(drawn(2, 3, 200), torch.full((2, 3), 200))


@pytest.mark.parametrize("wrong", [7.0, -1.0, torch.nan])
@pytest.mark.parametrize("loss", [BinaryCrossEntropyLoss(), binary_cross_entropy])
def test_cells_beyond_zero_and_one_are_named(loss: Callable[..., Tensor], wrong: float) -> None:
    with pytest.raises(ValueError, match=rf"labels hold {wrong:g}: give a share from 0 to 1 for each class, or -100"):
        loss(drawn(2, 3), torch.tensor([[0.0, 1.0, 0.5], [0.0, 1.0, wrong]]))
    with pytest.raises(ValueError, match=r"labels of shape \(2,\) .* to CrossEntropyLoss"):
        loss(drawn(2, 3), torch.tensor([0, 1]))


def test_a_head_of_one_logit_has_one_binary_label_per_row() -> None:
    logits, labels = drawn(4, 1), torch.tensor([0, 1, 1, -100])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:3, 0], labels[:3].double())
    torch.testing.assert_close(BinaryCrossEntropyLoss()(logits, labels), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shapes", [((3, 3), (3,)), ((1, 3), (1,)), ((4, 2), (4,))])
@pytest.mark.parametrize("loss", [SquaredErrorLoss(), squared_error])
def test_numbers_are_not_repeated_until_shapes_fit(loss: Callable[..., Tensor], shapes: Any) -> None:
    with pytest.raises(ValueError, match=r"labels of shape .* do not fit predictions of shape .* num_labels=1"):
        loss(drawn(*shapes[0]), drawn(*shapes[1]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32], ids=str)
def test_spans_are_positions_of_any_dtype_in_whatever_tells_the_length(dtype: torch.dtype) -> None:
    scores = {"start_logits": drawn(2, 4), "end_logits": drawn(2, 4, seed=1)}
    spans = {"start_positions": torch.tensor([0, 9]).to(dtype), "end_positions": torch.tensor([3, 9]).to(dtype)}
    expected = SpanLoss()(scores, torch.tensor([[0, 3], [-100, -100]]))
    for known in ({"inputs_embeds": drawn(2, 4, 8)}, {"attention_mask": torch.ones(2, 4)}):
        assert SpanLoss().terms(scores, {**known, **spans}, {})["loss"] == expected
    assert SpanLoss()(tuple(scores.values()), torch.tensor([[0, 3], [-100, -100]])) == expected
    assert SpanLoss()(scores, torch.tensor([[0, 3], [1, 2]]).to(dtype)).isfinite()
    with pytest.raises(ValueError, match="SpanLoss: no input_ids, inputs_embeds or attention_mask in the batch"):
        SpanLoss().labels_of(spans)


def test_a_users_function_gets_integers_with_a_sign() -> None:
    found = []

    def function(outputs: Tensor, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:
        found.append((labels, num_items_in_batch.item()))
        return outputs.sum()

    FunctionLoss(function).terms(drawn(2), {"labels": torch.tensor([156, 3], dtype=torch.uint8)}, {})
    assert found[0][0].dtype == torch.long and found[0][1] == 2


def test_centers_are_of_classes_of_any_dtype() -> None:
    features, labels = drawn(2, 3), torch.tensor([156, 3])
    losses = [
        CenterLoss(CrossEntropyLoss(), 200, 3, momentum=None, features=lambda outputs: features)(drawn(2, 200), given)
        for given in (labels, labels.to(torch.uint8))
    ]
    assert losses[0] == losses[1]


SOFTMAXES: list[Callable[[], Loss]] = [
    CrossEntropyLoss, FocalLoss, HardTruncationLoss, SoftTruncationLoss, ExactLoss, LogBalancedLoss, RowDiceLoss,
    DiceLoss, SoftF1Loss, lambda: LogitAdjustedLoss([0.2, 0.3, 0.5]), lambda: CenterLoss(CrossEntropyLoss(), 3, 2),
]  # fmt: skip


@pytest.mark.parametrize("make", SOFTMAXES)
def test_probabilities_in_place_of_logits_are_told_by_the_first_batch(make: Callable[[], Loss]) -> None:
    logits, labels = drawn(2, 3, 3), torch.tensor([[0, 1, 2], [1, -100, 0]])
    with torch.no_grad():
        with pytest.raises(ValueError, match=r"logits hold probabilities: all lie between 0 and 1 and each row sums"):
            make()(logits.softmax(-1), labels)
        loss = make()
        loss(logits, labels)
        assert loss(logits.softmax(-1), labels).isfinite()  # later batches are not looked at, which would take time


@pytest.mark.parametrize(
    "function",
    [
        cross_entropy,
        log_balanced_cross_entropy,
        exact_log_probability,
        smooth_accuracy,
        lambda logits, labels: posthoc_adjust(logits, [0.2, 0.3, 0.5]),
    ],
)
def test_functions_tell_probabilities_too(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, labels = drawn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    assert function(logits, labels).isfinite().all()
    with pytest.raises(ValueError, match="logits hold probabilities"):
        function(logits.softmax(-1), labels)


def test_too_few_weights_of_classes_are_not_put_down_to_labels() -> None:
    loss = CrossEntropyLoss(class_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"labels hold 2, but class_weights is for 2 classes: give 0 to 1"):
        loss.items(torch.tensor([0, 2]))


def test_one_row_tells_nothing_and_the_next_batch_is_looked_at() -> None:
    loss, chances = CrossEntropyLoss(), drawn(4, 3).softmax(-1)
    loss(chances[:1], torch.tensor([0]))
    with pytest.raises(ValueError, match="logits hold probabilities"):
        loss(chances, torch.tensor([0, 1, 2, 0]))
    assert BinaryCrossEntropyLoss()(chances, torch.zeros(4, 3)).isfinite()  # may be chance


def rounded(chances: Tensor, how: str) -> Tensor:
    """As a user may have them: in half precision, also where a head has made fp32 of it again, or as printed."""
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(how.removesuffix(" in fp32"))
    if dtype is not None:
        return chances.to(dtype).float() if how.endswith("in fp32") else chances.to(dtype)
    return torch.round(chances, decimals=int(how[0]))


@pytest.mark.parametrize("classes", [2, 5, 20])
@pytest.mark.parametrize(
    "how", ["fp16", "bf16", "fp16 in fp32", "bf16 in fp32", "2 decimals", "3 decimals", "4 decimals"]
)
@pytest.mark.parametrize("make", SOFTMAXES)
def test_rounded_probabilities_are_told_too(make: Callable[[], Loss], how: str, classes: int) -> None:
    loss = make()
    if isinstance(loss, LogitAdjustedLoss):
        loss = LogitAdjustedLoss([1 / classes] * classes)
    if isinstance(loss, CenterLoss):
        loss = CenterLoss(CrossEntropyLoss(), classes, 2)
    chances = rounded(drawn(8, 8, classes).float().softmax(-1), how)
    with torch.no_grad(), pytest.raises(ValueError, match="logits hold probabilities"):
        loss(chances, torch.zeros(8, 8).long())


@given(st.integers(0, 2**31), st.integers(2, 40), st.integers(2, 6), st.floats(0.01, 3), st.sampled_from(["", "u"]))
def test_logits_are_never_taken_for_probabilities(seed: int, rows: int, classes: int, scale: float, kind: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand if kind else torch.randn
    logits = scale * draw(rows, classes, generator=generator)
    for how in ("fp16", "bf16", "bf16 in fp32", "2 decimals", "3 decimals", "4 decimals"):
        refuse_probabilities(rounded(logits, how))
    refuse_probabilities(logits)
    refuse_probabilities(torch.nn.functional.one_hot(logits.argmax(-1), classes).float())
    refuse_probabilities(torch.full((rows, classes), 1 / classes))


def test_messages_name_no_argument_that_a_loss_does_not_have() -> None:
    loss = F1WeightedLoss()
    with pytest.raises(ValueError, match=r"^labels hold 0.3: give 0 or 1 for each logit, or -100 where it is"):
        loss(drawn(2, 2), torch.tensor([[0.3, 1.0], [0.0, 1.0]]))
