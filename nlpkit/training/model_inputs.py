"""What a model is given so that it computes logits and no loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from nlpkit.training.stock_losses import with_head


def inputs_without_labels(model: nn.Module, batch: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """A batch without its labels, and with what an encoder-decoder would have made of them.

    Args:
        model: any model, or PEFT's wrapper around one.
        batch: inputs and labels.
        columns: those that hold labels.

    Returns:
        Inputs of the model. Heads that run at labelled positions only (``sparse_prediction``) keep the labels.
    """
    inner = with_head(model)
    if getattr(inner.config, "sparse_prediction", False):
        return dict(batch)
    inputs = {name: value for name, value in batch.items() if name not in columns}
    prepare = getattr(inner, "prepare_decoder_input_ids_from_labels", None)
    if (
        prepare is not None
        and not inputs.keys() & {"decoder_input_ids", "decoder_inputs_embeds"}
        and "labels" in batch
    ):
        inputs["decoder_input_ids"] = prepare(labels=batch["labels"])
    return inputs
