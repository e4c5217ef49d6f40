"""What a model is given so that it computes logits and no loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.losses.loss import Loss
from nlpkit.training.task_loss.stock_losses import is_sequence_to_sequence, with_head


def model_inputs(model: nn.Module, batch: Mapping[str, Any], loss: Loss) -> dict[str, Any]:
    """A batch without its labels, and with what an encoder-decoder would have made of them.

    Args:
        model: any model, or PEFT's wrapper around one.
        batch: inputs and labels.
        loss: knows which columns are labels.

    Returns:
        Inputs of the model. Heads that run at labelled positions only (``sparse_prediction``) keep the labels.
    """
    inner = with_head(model)
    if getattr(getattr(inner, "config", None), "sparse_prediction", False):
        return dict(batch)
    inputs = loss.inputs_of(batch)
    given = inputs.keys() & {"decoder_input_ids", "decoder_inputs_embeds"}
    if is_sequence_to_sequence(inner) and not given and (labels := batch.get("labels")) is not None:
        prepare = getattr(inner, "prepare_decoder_input_ids_from_labels", None)
        ids = _shifted_right(labels, inner) if prepare is None else prepare(labels=labels)
        inputs["decoder_input_ids"] = _to_the_last_label(ids, labels, inner)
    return inputs


def without_loss(outputs: Any, inputs: Mapping[str, Any], loss: Loss) -> Any:
    """What a model has returned, without the loss that a tuple begins with where the model had labels.

    Args:
        outputs: a tuple, or what names its parts.
        inputs: of the model.
        loss: knows which columns are labels.
    """
    headed = isinstance(outputs, tuple) and any(inputs.get(column) is not None for column in loss.columns)
    return outputs[1:] if headed else outputs


def _shifted_right(labels: Tensor, model: Any) -> Tensor:
    """What classes without a method for it, such as M2M100's, make of labels in their forward."""
    start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    ids = torch.cat([start, labels[:, :-1]], dim=1)
    return ids.masked_fill(ids == -100, model.config.pad_token_id)


def _to_the_last_label(ids: Tensor, labels: Tensor, model: Any) -> Tensor:
    """What a decoder reads, with padding behind the last label, however far labels are padded."""
    behind = (labels != -100).flip(-1).cumsum(-1).flip(-1) == 0
    behind[..., 0] = False
    return ids.masked_fill(behind, model.config.pad_token_id)
