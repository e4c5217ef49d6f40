"""Last hidden states at the scale that new heads expect, without a change to what the masked-LM head predicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log2, sqrt

import torch
from torch import Tensor
from torch.nn import LayerNorm
from transformers import BertForMaskedLM, PreTrainedModel

from nlpkit.modes import evaluating

#: At less, new heads learn late (benchmarks/state_scale.py). More would help them further, but divides the weights of
#: the masked-LM head, which prompts are trained through, by as much.
USUAL_RMS = 0.5


@torch.no_grad()
def last_state_rms(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]]) -> float:
    """Root mean square of the last hidden states over all tokens except padding.

    Args:
        model: a BERT-like model with any head; it is left in the mode (training or not) it was in.
        batches: inputs with ``input_ids`` and, where there is padding, ``attention_mask``, both ``(batch, length)``.

    Returns:
        About 1 for a layer normalisation at its initial weights.
    """
    squares, values = 0.0, 0
    with evaluating(model):
        for batch in batches:
            ids = batch["input_ids"].to(model.device)
            mask = batch.get("attention_mask", torch.ones_like(ids)).to(model.device)
            states = model.base_model(ids, attention_mask=mask).last_hidden_state[mask.bool()]  # (tokens, hidden)
            squares += float(states.double().square().sum())
            values += states.numel()
    return sqrt(squares / values)


@torch.no_grad()
def rescale_last_states(model: BertForMaskedLM, rms: float) -> float:
    """Bring last hidden states to a usual scale; the masked-LM head divides it out again.

    Encoders that were tuned for unit-length embeddings leave states so small that a new head, drawn at the usual
    scale, hardly learns from them: those of multilingual-e5-small have a root mean square of 0.06, and a tagger on
    them goes on predicting the majority for hundreds of steps.

    Args:
        model: a BERT-like masked language model, changed in place.
        rms: root mean square of its last states now, as ``last_state_rms`` measures it.

    Returns:
        What the states were multiplied by: the power of two nearest to ``USUAL_RMS / rms``, which keeps logits
        bit-equal.

    Raises:
        ValueError: ``rms`` is not positive.

    Example:
        >>> from nlpkit import WoBertConfig, WoBertForMaskedLM
        >>> model = WoBertForMaskedLM(WoBertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1,
        ...                                        num_attention_heads=2, intermediate_size=8))
        >>> rescale_last_states(model, rms=0.06)
        8.0
    """
    if not rms > 0:
        raise ValueError(f"rms must be positive, got {rms}; measure it with last_state_rms")
    factor = 2.0 ** round(log2(USUAL_RMS / rms))
    last: LayerNorm = model.bert.encoder.layer[-1].output.LayerNorm  # type: ignore[assignment, union-attr]
    for parameter in last.parameters():
        parameter.mul_(factor)
    model.cls.predictions.transform.dense.weight /= factor
    return factor
