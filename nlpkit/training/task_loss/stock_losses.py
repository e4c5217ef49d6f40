"""The loss that a stock head of transformers means, told by the kind of head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.auto import modeling_auto

from nlpkit.losses.loss import Loss
from nlpkit.losses.standard import BinaryCrossEntropyLoss, CrossEntropyLoss, SpanLoss, SquaredErrorLoss

#: Heads by the tables in which transformers' Auto classes list them; the first that holds a class decides.
_TABLES = {
    "next token": ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",),
    "tokens": (
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
        "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES",
    ),
    "sequence": ("MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",),
    "span": ("MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",),
}


def stock_loss(model: nn.Module, label_smoothing: float = 0.0) -> Loss:
    """The loss of a model's own head, computed right whatever the micro-batches and processes.

    Args:
        model: any model with a head that transformers' Auto classes know, or a subclass of one, such as a ladder, or
            with a method ``own_loss()`` that returns its ``Loss``; PEFT's wrapper around one.
        label_smoothing: for softmax over classes of sequences, tokens and words.

    Returns:
        The loss.

    Raises:
        ValueError: the head is not known; the message says how to give its loss. Or the loss has no softmax over
            classes that could be smoothed.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM
        >>> stock_loss(BertForMaskedLM(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1,
        ...                                       num_attention_heads=2, intermediate_size=8)))
        CrossEntropyLoss()
    """
    inner = with_head(model)
    loss: Loss = inner.own_loss() if hasattr(inner, "own_loss") else _listed_loss(inner)
    if label_smoothing:
        if not isinstance(loss, CrossEntropyLoss):
            raise ValueError(
                f"label_smoothing_factor={label_smoothing} is for softmax over classes, and the loss of "
                f"{type(inner).__name__} is {loss}: leave it out"
            )
        loss.label_smoothing = label_smoothing
    return loss


def agrees_with_head(loss: Loss, outputs: Any, batch: Mapping[str, Any], head: str) -> bool:
    """Whether a head's own loss of a batch shows that it is this one.

    Args:
        loss: without label smoothing.
        outputs: of the model in evaluation mode, given the whole batch.
        batch: that batch.
        head: the name of its class, for the message.

    Returns:
        ``False`` where the batch has no labels, or a loss is not finite, which shows nothing.

    Raises:
        ValueError: the head's loss is another one, as that of a model which adds a term of its own.
    """
    if all(items == 0 for items in loss.items_of(batch).values()):
        return False
    theirs, outputs = (outputs[0], outputs[1:]) if isinstance(outputs, tuple) else (outputs["loss"], outputs)
    own = sum(term.item() for term in loss.terms(outputs, batch, {}).values())
    if not math.isfinite(own) or not math.isfinite(theirs.item()):
        return False
    tolerance = 1e-2 if theirs.dtype in (torch.float16, torch.bfloat16) else 1e-5  # of the loss, not of its logits
    if abs(own - theirs.item()) > tolerance * max(1.0, abs(theirs.item())):
        told = f"the head of {head} has a loss of {theirs.item():.6g} where {loss} has {own:.6g}: "
        if isinstance(loss, CrossEntropyLoss) and loss.shift and _has_soft_prompt(loss.logits_of(outputs), batch):
            raise ValueError(
                f"{told}the soft prompt predicts the first token, too; let its label be -100, or give "
                "loss=CrossEntropyLoss(shift=True), which leaves it out"
            )
        raise ValueError(f"{told}it adds something of its own, or does not shift labels; {_WAY_OUT}")
    return True


def with_known_labels(loss: Loss, batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch over which a head of transformers means the same as this library does: labels that are left out are 0.

    It takes -100 for a number where labels are no classes, and averages first and last positions of answers by
    themselves.

    Args:
        loss: of the head.
        batch: with labels.
    """
    unknown = loss.labels_of(batch) == -100
    columns = dict(zip(loss.columns, unknown.unbind(1), strict=True)) if len(loss.columns) > 1 else {"labels": unknown}
    return {**batch} | {name: batch[name].masked_fill(mask.view_as(batch[name]), 0) for name, mask in columns.items()}


def _has_soft_prompt(logits: Tensor, batch: Mapping[str, Any]) -> bool:
    return bool(logits.shape[-2] > batch["labels"].shape[-1])


def is_sequence_to_sequence(model: nn.Module) -> bool:
    """Whether a head reads its labels, shifted, as a decoder's input."""
    tables = ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES")
    named = any(cls.__name__ in _names(table) for cls in type(model).__mro__ for table in tables)
    return named or hasattr(model, "prepare_decoder_input_ids_from_labels")


def predicts_next_token(model: nn.Module) -> bool:
    """Whether a head is that of a decoder, whose logits at a token are for the one behind it."""
    return _kind(model) == "next token"


def with_head(model: Any) -> Any:
    """The model that has the head, out of the wrappers of ``torch.compile``, data parallelism and PEFT."""
    for wrapped in ("_orig_mod", "module", "_orig_mod"):  # compiled before, or after, it was made parallel
        model = getattr(model, wrapped, model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


_WAY_OUT = (
    "give loss=CrossEntropyLoss(shift=...), another class of nlpkit.losses, or a function of (outputs, labels, "
    "num_items_in_batch=...)"
)


def _listed_loss(model: Any) -> Loss:
    """The loss of a head that transformers' Auto classes list."""
    kind = _kind(model)
    if kind == "span":
        return SpanLoss()
    if kind == "sequence":
        return _sequence_loss(model)
    if kind is not None:
        return CrossEntropyLoss(shift=kind == "next token")
    raise ValueError(f"the loss of {type(model).__name__} is not known: {_WAY_OUT}")


def _kind(model: Any) -> str | None:
    """The kind of head of the first class, of those that a model is of, which is in a table."""
    for name in (cls.__name__ for cls in type(model).__mro__):
        for kind, tables in _TABLES.items():
            if any(name in _names(table) for table in tables):
                return "tokens" if kind == "next token" and model.config.is_encoder_decoder else kind
    return None


def _names(table: str) -> set[str]:
    names: set[str] = set()
    for name in getattr(modeling_auto, table).values():
        names.update([name] if isinstance(name, str) else name)
    return names


def _sequence_loss(model: Any) -> Loss:
    kind = model.config.problem_type
    if kind == "regression" or (kind is None and model.config.num_labels == 1):
        return SquaredErrorLoss()
    if kind == "multi_label_classification":
        return BinaryCrossEntropyLoss()
    return CrossEntropyLoss()
