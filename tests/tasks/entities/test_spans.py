"""Scores of spans and their loss, against every span by itself."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.losses import sparse_zlpr
from nlpkit.tasks.entities import (
    EfficientGlobalPointer,
    GlobalPointer,
    SpanLoss,
    SpanScores,
    find_spans,
    rotate,
    span_zlpr,
    type_log_sums,
)
from nlpkit.tasks.entities.heads import span_loss
from nlpkit.tasks.entities.heads.span_decoding import UnitSpan, unit_logits, without_overlaps
from nlpkit.tasks.entities.heads.span_scores import only_spans
from tests.reference import entities as reference

HIDDEN, SIZE, TYPES = 6, 4, 3
UNITS = torch.tensor([[False, True, True, False, True], [True, True, True, True, False]])


def states() -> Tensor:
    return torch.randn(2, 5, HIDDEN, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(params=[GlobalPointer, EfficientGlobalPointer])
def head(request: pytest.FixtureRequest) -> GlobalPointer | EfficientGlobalPointer:
    torch.manual_seed(0)
    made: GlobalPointer | EfficientGlobalPointer = request.param(HIDDEN, TYPES, SIZE).double()
    return made


def by_hand(head: GlobalPointer | EfficientGlobalPointer, text: int) -> dict[reference.Span, float]:
    rows = head.queries_and_keys(states())[text].detach()
    found = {}
    for kind in range(TYPES):
        for first, last in reference.spans(UNITS[text].tolist()):
            own = rows.view(5, TYPES, 2, SIZE)[:, kind] if isinstance(head, GlobalPointer) else rows.view(5, 2, SIZE)
            query, key = own[first, 0].tolist(), own[last, 1].tolist()
            score = reference.inner(query, first, key, last) / math.sqrt(SIZE)
            if isinstance(head, EfficientGlobalPointer):
                weight, bias = head.sides.weight, head.sides.bias
                score += float(weight[kind] @ rows[first] + bias[kind])
                score += float(weight[TYPES + kind] @ rows[last] + bias[TYPES + kind])
            found[kind, first, last] = score
    return found


def test_scores_are_those_of_every_span_by_itself(head: GlobalPointer | EfficientGlobalPointer) -> None:
    whole = head(states(), UNITS).of_types(0, TYPES)
    for text in range(2):
        expected = torch.full_like(whole[text], -torch.inf)
        for span, score in by_hand(head, text).items():
            expected[span] = score
        torch.testing.assert_close(whole[text], expected, rtol=0, atol=1e-12)


GOLD = [{(0, 1, 2), (0, 1, 1), (2, 2, 4), (0, 2, 4)}, set()]


def test_loss_is_that_of_every_span_by_itself(head: GlobalPointer | EfficientGlobalPointer) -> None:
    entities = torch.tensor([[*sorted(GOLD[0]), (9, 9, 9)], [(7, 7, 7)] * 5])
    losses = span_zlpr(head(states(), UNITS), entities, torch.tensor([4, 0]))
    for text in range(2):
        expected = reference.span_loss(by_hand(head, text), GOLD[text], TYPES)
        assert losses[text].item() == pytest.approx(expected, abs=1e-12)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    query, key = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    products = rotate(query.expand(6, 8)) @ rotate(key.expand(6, 8)).T
    for distance in range(-5, 6):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-12)
    assert products[0, 0].item() == pytest.approx((query @ key.T).item())
    assert abs(products[0, 1] - products[0, 0]) > 1e-3


def parts(seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> SpanScores:
    generator = torch.Generator().manual_seed(seed)
    pairs = only_spans(torch.randn(2, 1, 5, 5, generator=generator, dtype=dtype) * scale, UNITS)
    starts, ends = torch.randn(2, 2, 40, 5, generator=generator, dtype=dtype) * scale
    return SpanScores(pairs.requires_grad_(), starts.requires_grad_(), ends.requires_grad_())


def gradients(value: Tensor, scores: SpanScores) -> list[Tensor]:
    return list(torch.autograd.grad(value.sum(), [part for part in scores if part is not None]))


@given(st.integers(0, 999), st.sampled_from([0.1, 1.0, 10.0, 300.0]))
@settings(max_examples=15)
def test_sums_of_types_are_those_over_all_their_spans(seed: int, scale: float) -> None:
    scores = parts(seed, scale)
    expected = scores.of_types(0, 40).flatten(-2).logsumexp(-1)
    found = type_log_sums(scores)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-10)
    for own, other in zip(gradients(found, scores), gradients(expected, scores), strict=True):
        assert own.isfinite().all()
        torch.testing.assert_close(own, torch.where(other.isnan(), 0.0, other), rtol=1e-9, atol=1e-10)


def test_products_that_would_vanish_are_not_lost_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = torch.tensor([[[[0.0, 200.0], [-torch.inf, 0.0]]]])
    ends = torch.tensor([[[0.0, -200.0]]])  # of the first row, 0 + 0 and 200 - 200; of the second, 0 - 200
    scores = SpanScores(pairs, torch.zeros(1, 1, 2), ends)
    assert type_log_sums(scores).item() == pytest.approx(math.log(2))
    far = SpanScores(pairs, torch.tensor([[[-300.0, 0.0]]]), ends)  # the second row alone counts, 200 below its peak
    assert type_log_sums(far).item() == pytest.approx(-200.0)
    monkeypatch.setattr(span_loss, "_may_vanish", lambda *_: False)
    assert type_log_sums(far).item() > -100.0  # what it is without a look at the scores


def test_parts_and_wholes_have_one_loss_and_one_gradient() -> None:
    scores = parts(3)
    entities = torch.tensor([[(0, 1, 2), (39, 2, 2), (0, 4, 4)], [(5, 0, 3), (5, 0, 0), (5, 1, 2)]])
    counts = torch.tensor([3, 2])
    found = span_zlpr(scores, entities, counts)
    whole = span_zlpr(SpanScores(scores.of_types(0, 40)), entities, counts)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
    for own, other in zip(gradients(found, scores), gradients(whole, scores), strict=True):
        torch.testing.assert_close(own, torch.where(other.isnan(), 0.0, other), rtol=0, atol=1e-12)


def test_loss_of_wholes_is_sparse_zlpr() -> None:
    scores = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    scores = only_spans(scores, torch.ones(1, 3, dtype=torch.bool))
    expected = sparse_zlpr(scores.flatten(-2), torch.tensor([[[1, 4], [-100, -100]]])).mean(dim=1)
    found = span_zlpr(SpanScores(scores), torch.tensor([[(0, 0, 1), (0, 1, 1)]]), torch.tensor([2]))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_extreme_scores_have_finite_losses_and_gradients(scale: float) -> None:
    scores = parts(0, scale, torch.float32)
    loss = span_zlpr(scores, torch.tensor([[(0, 1, 4)], [(1, 0, 0)]]), torch.tensor([1, 1]))
    assert loss.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(loss, scores))


def test_texts_without_units_cost_nothing_and_give_no_nan() -> None:
    pairs = torch.full((1, 1, 2, 2), -torch.inf, requires_grad=True)
    sides = torch.zeros(2, 1, 3, 2, requires_grad=True)
    for scores in (SpanScores(pairs), SpanScores(pairs, *sides)):
        loss = span_zlpr(scores, torch.zeros(1, 0, 3, dtype=torch.long), torch.tensor([0]))
        assert loss.item() == 0
        assert torch.autograd.grad(loss.sum(), pairs)[0].eq(0).all()


def test_ten_thousand_types_need_no_tensor_of_all_spans_and_types() -> None:
    length, types = 24, 10_000
    torch.manual_seed(0)
    head = EfficientGlobalPointer(HIDDEN, types, SIZE)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        scores = head(torch.randn(1, length, HIDDEN), torch.ones(1, length, dtype=torch.bool))
        span_zlpr(scores, torch.tensor([[(9_999, 0, 3), (7, 2, 2)]]), torch.tensor([2])).sum().backward()
    assert max(kept) <= 2 * types * length
    (found,) = find_spans(
        scores._replace(starts=torch.where(torch.arange(types)[:, None] == 9_999, 30.0, -60.0) + 0 * scores.starts),
        0.99999,
    )[:1]
    assert found.type == 9_999


@pytest.mark.parametrize("entity", [(0, 0, 1), (0, 2, 1), (3, 1, 2), (-1, 1, 2), (0, 1, 5), (0, 3, 4)])
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_no_span_is_refused(entity: tuple[int, int, int], whole: bool) -> None:
    scores = parts(0)._replace(starts=torch.zeros(2, 3, 5), ends=torch.zeros(2, 3, 5))
    scores = SpanScores(scores.of_types(0, 3)) if whole else scores
    with pytest.raises(
        ValueError, match=r"entities hold \(type, first, last\) = .* for text 0 of the batch, but there"
    ):
        span_zlpr(scores, torch.tensor([[entity], [(0, 0, 0)]]), torch.tensor([1, 0]))


def test_counts_beyond_the_entities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"do not fit counts up to 2 of 1 texts: give type, first"):
        span_zlpr(SpanScores(torch.zeros(1, 1, 2, 2)), torch.zeros(1, 1, 3, dtype=torch.long), torch.tensor([2]))


def test_labels_without_entities_are_refused() -> None:
    with pytest.raises(ValueError, match="and no entities; EntityCollator makes both"):
        SpanLoss().terms({"scores": SpanScores(torch.zeros(1, 1, 1, 1))}, {"labels": torch.tensor([1])}, {})


def test_nested_and_crossing_spans_are_found_and_can_be_thinned_out() -> None:
    scores = torch.full((1, 2, 4, 4), -5.0)
    for place, score in (((0, 0, 3), 1.0), ((1, 1, 2), 2.0), ((0, 2, 3), 3.0), ((1, 0, 0), 0.1)):
        scores[0][place] = score
    found = find_spans(SpanScores(scores))
    assert [(span.type, span.first, span.last) for span in found] == [(1, 0, 0), (0, 0, 3), (1, 1, 2), (0, 2, 3)]
    assert [span.score for span in found] == pytest.approx([1 / (1 + math.exp(-2 * s)) for s in (0.1, 1, 2, 3)])
    assert [span[1:4] for span in without_overlaps(found)] == [(0, 0, 1), (2, 3, 0)]
    assert len(find_spans(SpanScores(scores), threshold=0.9)) == 2
    assert len(find_spans(SpanScores(scores), threshold=0.00001)) == 2 * 16


def test_types_are_looked_at_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = parts(4)
    whole, labels = find_spans(scores), unit_logits(scores, UNITS)
    monkeypatch.setattr("nlpkit.tasks.entities.heads.span_decoding._AT_A_TIME", 150)
    assert find_spans(scores) == whole
    assert torch.equal(unit_logits(scores, UNITS), labels)
    assert {span.type for span in whole} - set(range(20))


@pytest.mark.parametrize("threshold", [0, 1, -0.5, float("nan")])
def test_thresholds_are_probabilities(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold=.*: give a finite number above 0 and below 1"):
        find_spans(SpanScores(torch.zeros(1, 1, 1, 1)), threshold)


def test_labels_of_units_are_those_of_the_best_spans() -> None:
    scores = parts(5)._replace(
        starts=torch.zeros(2, 2, 5, dtype=torch.float64), ends=torch.zeros(2, 2, 5, dtype=torch.float64)
    )
    whole = scores.of_types(0, 2)
    found = unit_logits(scores, UNITS)
    assert found.isfinite().all()
    assert found[..., 0].eq(0).all()
    for text, place in UNITS.nonzero().tolist():
        for kind in range(2):
            own = whole[text, kind]
            assert found[text, place, 1 + 2 * kind] == 2 * own[place].max()
            inside = own[:place, place:].max() if place else own.new_tensor(-torch.inf)
            assert found[text, place, 2 + 2 * kind] == (2 * inside).clamp(min=torch.finfo(torch.float64).min)
    assert found[0, 3].argmax() == 0


@pytest.mark.parametrize("size", [3, 0])
def test_odd_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"head_size={size} must be even"):
        GlobalPointer(4, 1, size)


def test_a_span_has_all_that_is_known_of_it() -> None:
    assert UnitSpan(0, 1, 2, 3, 0.5)._fields == ("text", "first", "last", "type", "score")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_no_spans_are_taken_for_rows_of_zeros_and_ones(length: int) -> None:
    """As many entities as spans, with the numbers 0 and 1: of two units, and of four, all that there are."""
    inside = torch.ones(length, length).triu().bool()
    scores = SpanScores(torch.where(inside, torch.randn(length, length), -torch.inf)[None, None])
    places = inside.nonzero().tolist()
    for most in range(1, len(places) + 1):
        entities = torch.tensor([[[0, *place] for place in places[:most]] + [[0, 0, 0]] * (length**2 - most)])
        counts = torch.tensor([length**2 if most == len(places) and length == 1 else most])
        assert span_zlpr(scores, entities, counts).isfinite().all()
    repeated = torch.zeros(1, max(2, length**2), 3, dtype=torch.long)
    assert span_zlpr(scores, repeated, torch.tensor([repeated.shape[1]])).isfinite().all()
