"""What a conversion did with each tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Fate = Literal["copied", "transposed", "tied", "computed", "left out"]


@dataclass(frozen=True)
class TensorRecord:
    """The fate of one tensor.

    Args:
        fate: ``"copied"`` or ``"transposed"`` (from source to target), ``"tied"`` (the target shares another target's
            numbers), ``"computed"`` (the target has no source and follows from the configuration), or ``"left out"``
            (the source has no target).
        source: its name in the source.
        source_shape: its shape there.
        target: its name in the converted model.
        target_shape: its shape there.
        note: what it is tied to, how it is computed, why it is left out.
    """

    fate: Fate
    source: str | None = None
    source_shape: tuple[int, ...] | None = None
    target: str | None = None
    target_shape: tuple[int, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class ConversionReport:
    """What became of a checkpoint, tensor by tensor; ``str()`` is a table.

    Args:
        source: the files read.
        source_format: ``"tensorflow"``, ``"safetensors"`` or ``"pytorch"``.
        destination: the folder written.
        model: class of the converted model.
        dtype: its precision, e.g. ``"float32"``.
        parameters: how many numbers it has, shared ones counted once.
        tensors: one record for every tensor of the source and every tensor of the model.
        notes: what a reader should know beyond single tensors.

    Example:
        >>> record = TensorRecord("left out", "global_step", (), note="training state")
        >>> print(ConversionReport("a.ckpt", "tensorflow", "out", "WoBertForMaskedLM", "float32", 0, [record], []))
        a.ckpt (tensorflow) -> WoBertForMaskedLM in out: 0 parameters, float32
        fate      source       shape  target  shape  note
        left out  global_step  ()                    training state
        1 left out
    """

    source: str
    source_format: str
    destination: str
    model: str
    dtype: str
    parameters: int
    tensors: list[TensorRecord]
    notes: list[str]

    def __str__(self) -> str:
        rows = [("fate", "source", "shape", "target", "shape", "note")]
        rows += [
            (t.fate, t.source or "", _shape(t.source_shape), t.target or "", _shape(t.target_shape), t.note)
            for t in self.tensors
        ]
        counts = Counter(tensor.fate for tensor in self.tensors)
        return "\n".join(
            [
                f"{self.source} ({self.source_format}) -> {self.model} in {self.destination}: "
                f"{self.parameters:,} parameters, {self.dtype}",
                *_aligned(rows),
                ", ".join(f"{count} {fate}" for fate, count in counts.items()),
                *(f"note: {note}" for note in self.notes),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it; this is what ``conversion.json`` holds."""
        return asdict(self)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else "(" + " ".join(map(str, shape)) + ")"


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
