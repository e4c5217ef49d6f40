"""What a model that finds entities returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from nlpkit.tasks.entities.heads.crf import Chain, log_marginals
from nlpkit.tasks.entities.heads.span_decoding import unit_logits
from nlpkit.tasks.entities.heads.span_scores import SpanScores

_NEVER = -1e4


@dataclass
class EntityOutput(ModelOutput):
    """What ``EntityModel`` returns.

    Args:
        loss: with labels, shape ``()``.
        logits: of the BIO labels of each unit, shape ``(batch, length, 1 + 2 * types)``: of the labels one by one, as
            ``pipeline`` reads them. A CRF's are logarithms of probabilities. ``None`` in training where the head has
            none.
        scores: of all spans, of a head that scores spans.
        chain: scores of labels and moves, of the others.
        hidden_states: of the encoder, where asked for.
        attentions: likewise.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    scores: SpanScores | None = None
    chain: Chain | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def bio_logits(output: EntityOutput, units: Tensor, *, marginal: bool) -> Tensor:
    """The logits of each unit's BIO labels, one by one.

    Args:
        output: with scores of spans or a chain.
        units: which positions count, shape ``(batch, length)``, boolean.
        marginal: of a chain, logarithms of probabilities among all labellings, in place of emissions; ``O`` where
            there is no unit.

    Returns:
        Shape ``(batch, length, labels)``, finite.
    """
    if output.scores is not None:
        return unit_logits(output.scores, units)
    assert output.chain is not None
    if not marginal:
        return output.chain.emissions
    logs = log_marginals(output.chain, units).clamp(min=_NEVER)
    outside = torch.where(torch.arange(logs.shape[-1], device=logs.device) == 0, 0.0, _NEVER)
    return torch.where(units[..., None], logs, outside)
