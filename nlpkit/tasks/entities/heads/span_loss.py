"""ZLPR over all spans of a text, type by type, without a score for every span and every type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nlpkit.losses.labels import signed
from nlpkit.losses.loss import Loss, at_least_fp32
from nlpkit.losses.multi_label.sparse_zlpr import zlpr_of_indices
from nlpkit.tasks.entities.heads.span_scores import SpanScores

#: Scores of so many spans and types are there at a time, where they must be.
_AT_A_TIME = 2**24


def span_zlpr(scores: SpanScores, entities: Tensor, counts: Tensor) -> Tensor:
    """The loss of each text: of each type ``log(1 + sum(exp(s)))`` over the spans that are none of its entities, plus
    ``log(1 + sum(exp(-s)))`` over those that are, averaged over the types.

    Source: kexue.fm/archives/8373 with the loss of 7359 (ZLPR, arXiv 2208.02955). Types that a text has no entity of,
    nearly all where there are thousands, need no subtraction: their sums of ``exp(pair + start + end)`` are products
    of matrices (``type_log_sums``).

    Args:
        scores: of all spans.
        entities: type, first and last unit of each, shape ``(batch, most, 3)``; rows behind the count are not read.
        counts: entities of each text; negative ones count as none, shape ``(batch,)``.

    Returns:
        Nats, shape ``(batch,)``.

    Raises:
        ValueError: an entity is no span, or of no type.

    Note:
        With scores in parts, ``length ** 2 + types * length`` numbers per text and a matrix for each type that the
        text has: for 512 units and 10,000 types 21 MB rather than 10 GB in fp32.

    Example:
        >>> scores = SpanScores(torch.tensor([[[[2.0, -1.0], [-torch.inf, 0.0]]]]))
        >>> span_zlpr(scores, torch.tensor([[[0, 0, 0]]]), torch.tensor([1]))
        tensor([0.9889])
    """
    scores = SpanScores(*(None if part is None else at_least_fp32(part) for part in scores))  # type: ignore[arg-type]
    length, entities, counts = scores.pairs.shape[-1], signed(entities), signed(counts)
    _refuse_no_spans(scores, entities, counts)
    groups, lists = _lists_of_types(entities, counts, scores.types, length)
    if scores.starts is None or scores.ends is None:
        labels = lists.new_full((len(counts) * scores.types, lists.shape[1]), -100)
        labels[groups] = lists
        return zlpr_of_indices(scores.pairs.flatten(-2).flatten(0, 1), labels).view(-1, scores.types).mean(dim=1)
    text, kind = groups // scores.types, groups % scores.types
    absent = torch.logaddexp(type_log_sums(scores), scores.pairs.new_zeros(()))  # (batch, types)
    whole = scores.pairs[text, 0] + scores.starts[text, kind, :, None] + scores.ends[text, kind, None, :]
    present = zlpr_of_indices(whole.flatten(-2), lists)  # (groups,)
    return absent.flatten().index_put((groups,), present).view(-1, scores.types).mean(dim=1)


def type_log_sums(scores: SpanScores) -> Tensor:
    """``logsumexp`` of each type's scores over all spans, of scores in parts, without the scores of single types.

    Source: ``sum over i, j of exp(p(i,j) + s(i) + e(j))`` is ``sum over i of exp(s(i)) * (exp(p) @ exp(e))(i)``.

    Args:
        scores: in parts, fp32 or better.

    Returns:
        Shape ``(batch, types)``; -inf where there is no span.

    Note:
        Exact: where scores lie so far apart that a product could vanish, types are taken a few at a time, and computed
        again in the backward pass. It takes a look at the scores, for which a GPU waits.
    """
    assert scores.starts is not None
    assert scores.ends is not None
    pairs = scores.pairs[:, 0]  # (batch, length, length)
    spans = ~torch.isneginf(pairs)
    first, last = spans.any(dim=2), spans.any(dim=1)  # (batch, length): a span begins, or ends there
    peaks = torch.where(first, pairs.detach().amax(dim=2), 0.0)  # (batch, length)
    ends = torch.where(last[:, None], scores.ends, -torch.inf)
    highest = torch.where(last.any(dim=1)[:, None], ends.detach().amax(dim=2), 0.0)  # (batch, types)
    if _may_vanish(pairs.detach(), spans, ends.detach(), last):
        return _by_few_types(scores)
    with torch.autocast(pairs.device.type, enabled=False):
        products = (ends - highest[..., None]).exp() @ (pairs - peaks[..., None]).exp().mT  # (batch, types, length)
    tiny = torch.finfo(pairs.dtype).tiny
    rows = products.clamp(min=tiny).log() + (peaks[:, None] + highest[..., None] + scores.starts)
    return _log_sum(torch.where(first[:, None], rows, -torch.inf))


def _may_vanish(pairs: Tensor, spans: Tensor, ends: Tensor, last: Tensor) -> bool:
    """Whether the least product of a row could be below what is a number."""
    if not spans.any():
        return False
    room = -torch.log(torch.tensor(torch.finfo(pairs.dtype).tiny, dtype=torch.float64)) - 1
    spread = pairs.amax() - torch.where(spans, pairs, torch.inf).amin()
    of_ends = ends.amax(dim=-1) - torch.where(last[:, None], ends, torch.inf).amin(dim=-1)  # (batch, types)
    of_ends = torch.where(last.any(dim=1)[:, None], of_ends, 0.0)
    return bool(~(spread + of_ends.amax() < room))  # true of NaN, too


def _by_few_types(scores: SpanScores) -> Tensor:
    few = max(1, _AT_A_TIME // max(1, scores.pairs.numel()))

    def sums(pairs: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
        return _log_sum(SpanScores(pairs, starts, ends).of_types(0, starts.shape[1]).flatten(-2))

    assert scores.starts is not None
    assert scores.ends is not None
    parts = zip(scores.starts.split(few, dim=1), scores.ends.split(few, dim=1), strict=True)
    return torch.cat([checkpoint(sums, scores.pairs, *part, use_reentrant=False) for part in parts], dim=1)


def _log_sum(exponents: Tensor) -> Tensor:
    """``logsumexp`` over the last dimension, whose gradient is 0, and not NaN, where all exponents are -inf."""
    none = torch.isneginf(exponents).all(dim=-1)
    safe = torch.where(none[..., None], 0.0, exponents)
    return torch.where(none, -torch.inf, safe.logsumexp(dim=-1))


def _refuse_no_spans(scores: SpanScores, entities: Tensor, counts: Tensor) -> None:
    shape = tuple(entities.shape)
    fits = entities.dim() == 3 and shape[::2] == (len(scores.pairs), 3) and counts.shape == shape[:1]
    if entities.is_floating_point() or not fits or bool((counts > shape[1]).any()):
        raise ValueError(
            f"entities of shape {shape} ({entities.dtype}) do not fit counts up to {int(counts.max())} of "
            f"{len(scores.pairs)} texts: give type, first and last unit of each, shape (batch, most, 3)"
        )
    real = _real(entities, counts)
    text, place = real.nonzero(as_tuple=True)
    kind, first, last = entities[text, place].unbind(dim=-1)
    length = scores.pairs.shape[-1]
    inside = (kind >= 0) & (kind < scores.types) & (first >= 0) & (last < length) & (first <= last)
    if bool(inside.all()):
        inside = ~torch.isneginf(scores.pairs[text, kind if scores.starts is None else 0, first, last])
    if not bool(inside.all()):
        at = int((~inside).nonzero()[0])
        raise ValueError(
            f"entities hold (type, first, last) = {tuple(entities[text[at], place[at]].tolist())} for text "
            f"{int(text[at])} of the batch, but there are {scores.types} types and {length} positions, and an entity "
            "goes from a unit to the same or a later one, neither of them padding or a special token"
        )


def _real(entities: Tensor, counts: Tensor) -> Tensor:
    return torch.arange(entities.shape[1], device=entities.device) < counts[:, None]  # (batch, most)


def _lists_of_types(entities: Tensor, counts: Tensor, types: int, length: int) -> tuple[Tensor, Tensor]:
    """The numbers of texts' types that have entities, and the spans of each, padded with -100."""
    text, place = _real(entities, counts).nonzero(as_tuple=True)
    kind, first, last = entities[text, place].unbind(dim=-1)
    keys, order = (text * types + kind).sort(stable=True)
    groups, inverse, sizes = keys.unique_consecutive(return_inverse=True, return_counts=True)
    rank = torch.arange(len(keys), device=keys.device) - (sizes.cumsum(0) - sizes)[inverse]
    most = int(sizes.max()) if len(sizes) else 1
    lists = keys.new_full((len(groups), most), -100)
    lists[inverse, rank] = (first * length + last)[order]
    return groups, lists


class SpanLoss(Loss):
    """``span_zlpr``, whose items are texts.

    Note:
        ``labels`` are the numbers of entities, 0 for a text that has none and -100 for one that is not labelled, so
        that every Trainer counts texts; ``entities`` says which they are, and is an input of the model.

    Example:
        >>> output = {"scores": SpanScores(torch.zeros(1, 1, 1, 1))}
        >>> batch = {"labels": torch.tensor([0]), "entities": torch.zeros(1, 0, 3, dtype=torch.long)}
        >>> SpanLoss().terms(output, batch, {})["loss"]
        tensor(0.6931)
    """

    columns: ClassVar[tuple[str, ...]] = ("labels",)

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over labelled texts, divided by those of the step."""
        scores: SpanScores = outputs["scores"]
        if not self._has_labels(batch):
            return {"loss": torch.where(torch.isneginf(scores.pairs), 0.0, scores.pairs).sum() * 0.0}
        if batch.get("entities") is None:
            raise ValueError("a batch has labels, the numbers of entities, and no entities; EntityCollator makes both")
        labels = self.labels_of(batch)
        losses = torch.where(self.valid(labels), span_zlpr(scores, batch["entities"], labels), 0.0)
        count = items.get("loss", self.items(labels)).to(losses.device)
        return {"loss": losses.sum() / (count + (count == 0))}
