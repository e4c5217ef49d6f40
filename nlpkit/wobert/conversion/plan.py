"""Which tensor of a checkpoint goes where: decided from names and shapes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from nlpkit.wobert.conversion.checkpoint_names import (
    Architecture,
    reason_to_leave_out,
    rename_tensorflow,
    rename_transformers,
)
from nlpkit.wobert.conversion.checkpoint_source import CheckpointSource
from nlpkit.wobert.conversion.report import TensorRecord

_SINUSOIDS = "encoder.embed_positions.weight"


def name_tensors(checkpoint: CheckpointSource, architecture: Architecture) -> dict[str, str]:
    """Find the tensors of a source that belong to a model, whatever their source calls them.

    Args:
        checkpoint: the source.
        architecture: whose names to give.

    Returns:
        transformers' name of each tensor, within a model with a masked-LM head, and the source's own.

    Raises:
        ValueError: two tensors have the same name.
    """
    rename = rename_tensorflow if checkpoint.format == "tensorflow" else rename_transformers
    sources: dict[str, str] = {}
    for source in checkpoint.tensors:
        name = rename(source, architecture)
        if name in sources:
            raise ValueError(
                f"source {checkpoint.path} holds {name!r} twice, as {sources[name]!r} and as {source!r}; remove one"
            )
        sources[name] = source
    return sources


def plan_conversion(
    checkpoint: CheckpointSource,
    sources: Mapping[str, str],
    state: Mapping[str, Tensor],
    architecture: Architecture,
    prefix: str,
) -> list[TensorRecord]:
    """Decide the fate of each tensor of a source and of each tensor of the model it becomes.

    Args:
        checkpoint: the source.
        sources: its tensors by name, as ``name_tensors`` gives them.
        state: the tensors of the model; tied ones share their memory.
        architecture: of the model.
        prefix: what a name in ``sources`` has before the model's own name: ``"bert."`` for a bare encoder.

    Returns:
        The model's tensors in their order, then the source's that are left out.

    Raises:
        ValueError: a tensor is missing, has the wrong shape, or is one that the model should have a place for.
    """
    records = []
    first_of: dict[int, str] = {}
    for target, tensor in state.items():
        first = first_of.setdefault(tensor.data_ptr(), target)
        source = sources.get(prefix + target)
        if source is None:
            records.append(_without_source(checkpoint, target, tuple(tensor.shape), first))
        else:
            records.append(_with_source(checkpoint, source, target, tuple(tensor.shape), first))
    placed = {record.source for record in records}
    records += [
        _left_out(source, tuple(checkpoint.tensors[source].shape), name, architecture)
        for name, source in sources.items()
        if source not in placed
    ]
    state_records = (
        TensorRecord("left out", name, shape, note="training state")
        for name, shape in checkpoint.training_state.items()
    )
    return [*records, *state_records]


def _without_source(checkpoint: CheckpointSource, target: str, shape: tuple[int, ...], first: str) -> TensorRecord:
    if first != target:
        return TensorRecord("tied", target=target, target_shape=shape, note=f"to {first}")
    if target.endswith(_SINUSOIDS):
        return TensorRecord("computed", target=target, target_shape=shape, note="sinusoids of the rotary positions")
    raise ValueError(
        f"source {checkpoint.path} has no tensor for {target!r} of shape {shape}; it is incomplete, or of another "
        "architecture, or its configuration has too many layers"
    )


def _with_source(
    checkpoint: CheckpointSource, source: str, target: str, shape: tuple[int, ...], first: str
) -> TensorRecord:
    stored = tuple(checkpoint.tensors[source].shape)
    is_kernel = checkpoint.format == "tensorflow" and source.endswith("/kernel")
    if shape != (stored[::-1] if is_kernel else stored):
        raise ValueError(
            f"source tensor {source!r} of shape {stored}{', transposed,' if is_kernel else ''} does not fit "
            f"{target!r} of shape {shape}; the configuration is not that of these weights"
        )
    if first != target:
        return TensorRecord("tied", source, stored, target, shape, f"to {first}")
    return TensorRecord("transposed" if is_kernel else "copied", source, stored, target, shape)


def _left_out(source: str, shape: tuple[int, ...], name: str, architecture: Architecture) -> TensorRecord:
    reason = reason_to_leave_out(name, architecture)
    if reason is None:
        raise ValueError(
            f"source tensor {source!r} of shape {shape} has no place in the encoder of a {architecture} of this "
            "configuration; the architecture is another, or the configuration has too few layers"
        )
    return TensorRecord("left out", source, shape, note=reason)
