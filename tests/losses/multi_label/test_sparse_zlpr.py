"""ZLPR of lists of classes: equal to that of label matrices, where others have the wrong sign."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nlpkit.losses import SparseZLPRLoss, ZLPRLoss, sparse_zlpr, zlpr


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def multi_hot(labels: Tensor, classes: int) -> Tensor:
    """By a loop."""
    found = torch.zeros(*labels.shape[:-1], classes)
    for place, row in zip(found.view(-1, classes), labels.view(-1, labels.shape[-1]), strict=True):
        place[[label for label in row.tolist() if label != -100]] = 1
    return found


def indices(*shape: int, classes: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, shape, generator=generator)
    return labels.masked_fill(torch.rand(shape, generator=generator) < 0.4, -100)


@given(st.integers(1, 4), st.integers(4, 7), st.integers(1, 3), st.integers(0, 2**31))
def test_it_equals_the_dense_form(rows: int, classes: int, most: int, seed: int) -> None:
    logits, labels = drawn(rows, 2, classes, seed=seed), indices(rows, 2, most, classes=classes, seed=seed)
    settings = {"gamma": 1.3, "margin": 0.2, "threshold": 0.4} if seed % 2 else {}
    one, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = sparse_zlpr(one, labels, **settings)
    expected = zlpr(other, multi_hot(labels, classes), **settings)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("logit", [10.0, 15.0, 20.0, 100.0, 6e4])
def test_extreme_logits_keep_value_and_gradient(logit: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[logit, logit, 0.0, 0.0, -logit], [-logit, logit, 0.0, logit, logit]], dtype=dtype)
    labels = torch.tensor([[0, 1, -100], [0, 4, -100]])
    one, other = logits.clone().requires_grad_(), logits.double().requires_grad_()
    found, exact = sparse_zlpr(one, labels), zlpr(other, multi_hot(labels, 5))
    found.sum().backward()
    exact.sum().backward()
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)
    assert one.grad is not None and other.grad is not None
    torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-2, atol=1e-7)


def by_difference(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over the classes that do not apply as kexue.fm/archives/8888 has it, cut off at 1e-7."""
    everything = torch.cat([logits, torch.zeros(1)]).logsumexp(0)
    chosen = logits[labels]
    rest = (1 - (chosen.logsumexp(0) - everything).exp()).clamp(1e-7, 1)
    return everything + rest.log() + torch.cat([-chosen, torch.zeros(1)]).logsumexp(0)


def test_a_difference_of_sums_has_the_wrong_sign_where_ours_is_right() -> None:
    start, labels = torch.tensor([15.0, 15.0, 0.0, 0.0, 0.0]), torch.tensor([0, 1])
    theirs, ours = start.clone().requires_grad_(), start.clone().requires_grad_()
    by_difference(theirs, labels).backward()
    loss = sparse_zlpr(ours, labels)
    loss.backward()
    assert by_difference(start, labels) < 0 < loss
    assert loss.item() == pytest.approx(1.3862950, abs=1e-6)  # ln 4, and 6e-7 for the classes that apply
    assert theirs.grad is not None and ours.grad is not None
    assert theirs.grad[0] > 0.4
    assert ours.grad[0].item() == pytest.approx(-3.059e-7, rel=1e-3)


def test_a_class_given_twice_counts_once_in_any_order() -> None:
    logits = drawn(1, 5)
    expected = sparse_zlpr(logits, torch.tensor([[1, 3]]))
    for again in ([3, 1, 3], [1, -100, 3, 1, -100]):
        torch.testing.assert_close(sparse_zlpr(logits, torch.tensor([again])), expected, rtol=0, atol=1e-12)


def test_lists_of_no_length_are_rows_without_classes() -> None:
    logits = drawn(2, 3).requires_grad_()
    loss = sparse_zlpr(logits, torch.zeros(2, 0).long())
    loss.sum().backward()
    torch.testing.assert_close(loss, zlpr(logits, torch.zeros(2, 3)), rtol=0, atol=1e-12)
    assert logits.grad is not None and (logits.grad > 0).all()


def test_the_labels_stay_as_they_were() -> None:
    logits, labels = drawn(2, 5), torch.tensor([[3, 1], [-100, 2]])
    before = logits.clone(), labels.clone()
    sparse_zlpr(logits, labels)
    assert torch.equal(logits, before[0]) and torch.equal(labels, before[1])


def test_the_gradient_is_that_of_the_value() -> None:
    logits, labels = drawn(3, 6).requires_grad_(), torch.tensor([[0, 5], [-100, -100], [2, -100]])
    assert torch.autograd.gradcheck(lambda s: sparse_zlpr(s, labels), (logits,))


def test_minus_infinity_leaves_a_class_out() -> None:
    logits = drawn(1, 4).index_fill(1, torch.tensor([2]), -torch.inf).requires_grad_()
    loss = sparse_zlpr(logits, torch.tensor([[0]]))
    loss.backward()
    torch.testing.assert_close(loss, sparse_zlpr(logits[:, [0, 1, 3]], torch.tensor([[0]])), rtol=0, atol=1e-12)
    assert logits.grad is not None and logits.grad.isfinite().all()
    with pytest.raises(ValueError, match="labels name a class whose logit is -inf"):
        sparse_zlpr(logits, torch.tensor([[2]]))


def test_every_row_is_an_item_and_only_a_mask_leaves_rows_out() -> None:
    logits, labels = drawn(3, 4), torch.tensor([[0, 1], [-100, -100], [2, -100]])
    loss = SparseZLPRLoss()
    assert loss.items(labels) == 3
    torch.testing.assert_close(loss(logits, labels), sparse_zlpr(logits, labels).mean())
    torch.testing.assert_close(loss(logits, labels), ZLPRLoss()(logits, multi_hot(labels, 4)), rtol=0, atol=1e-12)
    mask = torch.tensor([True, False, True])
    assert torch.equal(loss(logits, labels, mask=mask), loss(logits[mask], labels[mask]))
    assert loss.items(labels, mask) == 2


def test_spans_are_flattened_and_nothing_of_their_size_is_made_from_labels() -> None:
    length, types = 20, 3
    logits, labels = drawn(2, types, length, length).requires_grad_(), torch.full((2, types, 2), -100)
    labels[0, 1, 0], labels[1, 2, 1] = 3 * length + 5, 0
    dense = torch.zeros(2, types, length, length)
    dense[0, 1, 3, 5] = dense[1, 2, 0, 0] = 1
    expected = zlpr(logits.flatten(-2), dense.flatten(-2)).mean()
    torch.testing.assert_close(SparseZLPRLoss()(logits, labels), expected, rtol=0, atol=1e-12)

    class Held(TorchDispatchMode):
        integers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and not out.is_floating_point():
                self.integers = max(self.integers, out.numel())
            return out

    saved: list[Tensor] = []
    with Held() as held, torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        sparse_zlpr(logits.flatten(-2), labels)
    assert held.integers <= labels.numel() * 3
    assert len({t.data_ptr() for t in saved if t.numel() == logits.numel()} - {logits.data_ptr()}) == 1


def test_the_plain_trainers_count_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_items_in_batch counts labels: give the loss to TechniqueTrainer"):
        SparseZLPRLoss()(drawn(2, 4), torch.tensor([[0], [1]]), num_items_in_batch=torch.tensor(2))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.eye(4)[:2], r"labels of shape \(2, 4\) \(torch.float32\) are numbers for each class.*ZLPRLoss"),
        (torch.eye(4)[:2].long(), r"\(torch.int64\) are numbers for each class, not indices"),
        (torch.tensor([0, 1]), r"labels of shape \(2,\) do not fit logits of shape \(2, 4\): give a list of class"),
        (torch.tensor([[0], [4]]), r"labels hold 4, but logits are for 4 classes: give 0 to 3, and pad with -100"),
        (torch.tensor([[0], [-1]]), r"labels hold -1, "),
    ],
)
def test_labels_that_are_no_lists_are_refused(labels: Tensor, message: str) -> None:
    for function in (sparse_zlpr, SparseZLPRLoss()):
        with pytest.raises(ValueError, match=message):
            function(drawn(2, 4), labels)
    for classes, wrong in (
        (5, [[1, 0, 0, 1, -100], [0, 0, 1, 0, 0]]),
        (3, [[1, 0, -100], [0, 1, 1]]),
        (3, [[-100, 1, 1], [-100, -100, -100]]),
        (2, [[1, 1], [0, 0]]),
        (2, [[0, 1], [1, 0]]),
        (2, [[0, -100], [1, 0]]),
    ):
        with pytest.raises(ValueError, match=r"are numbers for each class, not indices of .*: give them to ZLPRLoss"):
            SparseZLPRLoss()(drawn(2, classes), torch.tensor(wrong))
    with pytest.raises(ValueError, match=r"ZLPRLoss; so are lists of both of two classes"):
        SparseZLPRLoss()(drawn(2, 2), torch.tensor([[0, 1], [1, -100]]))
    for classes, right in ((2, [[1, -100], [0, -100]]), (3, [[1, 0, -100], [0, -100, -100]]), (3, [[1, 2, 0]] * 2)):
        assert SparseZLPRLoss()(drawn(2, classes), torch.tensor(right)).isfinite()
    with pytest.raises(ValueError, match=r"labels of shape \(2, 5\) do not fit logits of shape \(2, 5, 4\)"):
        SparseZLPRLoss()(drawn(2, 5, 4), torch.zeros(2, 5).long())


def test_lists_as_long_as_there_are_classes_are_lists() -> None:
    labels = torch.tensor([[0, 1, 2, 3], [0, 1, -100, -100]])
    torch.testing.assert_close(sparse_zlpr(drawn(2, 4), labels), zlpr(drawn(2, 4), multi_hot(labels, 4)))
