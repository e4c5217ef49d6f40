"""What the tensors of BERT checkpoints are called: Google's names, transformers' old ones, transformers' own."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

Architecture = Literal["bert", "roformer"]


def rename_tensorflow(name: str, architecture: Architecture) -> str:
    """What transformers calls a tensor that Google's BERT, and all that followed it in TensorFlow, calls ``name``.

    Args:
        name: e.g. ``bert/encoder/layer_0/output/dense/kernel``; RoFormer's also start with ``bert``.
        architecture: whose names to give.

    Returns:
        transformers' name; a kernel must also be transposed.

    Example:
        >>> rename_tensorflow("bert/encoder/layer_0/attention/self/query/kernel", "roformer")
        'roformer.encoder.layer.0.attention.self.query.weight'
        >>> rename_tensorflow("cls/predictions/output_bias", "bert")
        'cls.predictions.bias'
    """
    name = re.sub(r"^bert/", f"{architecture}/", name)
    name = re.sub(r"/layer_(\d+)/", r"/layer/\1/", name)
    name = re.sub(r"/(kernel|gamma|output_weights)$", "/weight", name)
    name = re.sub(r"/(beta|output_bias)$", "/bias", name)
    name = re.sub(r"_embeddings$", "_embeddings/weight", name)
    return name.replace("/", ".")


def rename_transformers(name: str, architecture: Architecture) -> str:
    """What transformers calls today a tensor that was saved by any of its versions, with or without a head.

    Args:
        name: e.g. ``embeddings.LayerNorm.gamma``.
        architecture: whose names to give.

    Returns:
        The name within the model with a masked-LM head.

    Example:
        >>> rename_transformers("embeddings.LayerNorm.gamma", "bert")
        'bert.embeddings.LayerNorm.weight'
    """
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return re.sub(r"^(embeddings|encoder|pooler)\.", rf"{architecture}.\1.", name)


def is_training_state(name: str, shape: tuple[int, ...], names: Collection[str]) -> bool:
    """Whether a TensorFlow variable belongs to the optimizer: a counter, or a slot filed below its weight.

    Args:
        name: the variable's name.
        shape: its shape.
        names: those of all variables.

    Returns:
        True for ``global_step``, ``.../kernel/adam_m`` and their like.

    Example:
        >>> is_training_state("output/bias/adam_m", (8,), {"output/bias", "output/bias/adam_m"})
        True
    """
    return not shape or name.rpartition("/")[0] in names


def reason_to_leave_out(name: str, architecture: Architecture) -> str | None:
    """Why a converted model has no place for a tensor.

    Args:
        name: transformers' name of the tensor.
        architecture: of the model.

    Returns:
        The reason; ``None`` for a tensor of the encoder, which nothing can be without.

    Example:
        >>> reason_to_leave_out("cls.seq_relationship.bias", "bert")
        'next-sentence head'
    """
    if name.startswith(f"{architecture}.pooler."):
        return "pooler, which the converted model does not have"
    if re.search(r"\.embeddings\.(position|token_type)_ids$", name):
        return "index buffer, which the model makes itself"
    if name.startswith("cls.seq_relationship."):
        return "next-sentence head"
    return None if name.startswith(f"{architecture}.") else "head of another task"
