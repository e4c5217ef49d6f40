"""Noise that a row draws by what it holds, not by where it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from nlpkit.training.technique import Batch


def row_contents(batch: Batch, technique: str) -> list[bytes]:
    """The token ids of each row of a batch, without padding.

    Args:
        batch: has ``input_ids``, shape ``(..., length)``, and ``attention_mask``, if anything is padded.
        technique: who asks, for the message.

    Returns:
        One per row.

    Raises:
        ValueError: the batch has no token ids.
    """
    if batch.get("input_ids") is None:
        raise ValueError(f"{technique} draws the noise of a row by its token ids, and the batch has no input_ids")
    ids: Tensor = batch["input_ids"].flatten(0, -2).cpu()
    mask = (
        torch.ones_like(ids) if batch.get("attention_mask") is None else batch["attention_mask"].flatten(0, -2).cpu()
    )
    return [row[kept].numpy().tobytes() for row, kept in zip(ids, mask.bool(), strict=True)]


def row_noise(
    contents: Sequence[bytes],
    mask: Tensor,
    like: Tensor,
    *,
    key: str,
    draw: Callable[..., Tensor] = torch.randn,
) -> Tensor:
    """Noise for each row of a batch, a function of the row and a key alone.

    Each row seeds a generator of its own, by a hash of the key and of its token ids. So the noise does not depend on
    how a step is cut into micro-batches, on the process that a row is in, or on how far it is padded; and a row that
    comes twice in a step draws the same noise twice.

    Args:
        contents: as ``row_contents`` returns them.
        mask: where noise goes, shape ``(rows, ...)``, the first dimensions of ``like``.
        like: gives shape ``(rows, ...)``, dtype and device.
        key: of the step, and of the place in the model.
        draw: called with a shape, ``generator``, ``dtype`` and ``device``: ``torch.randn`` or ``torch.rand``.

    Returns:
        The noise, 0 where the mask is, of the shape of ``like``, in fp32 or better.

    Example:
        >>> ids, mask = torch.tensor([[5, 6, 0], [7, 8, 9]]), torch.tensor([[1, 1, 0], [1, 1, 1]])
        >>> rows = row_contents({"input_ids": ids, "attention_mask": mask}, "VAT")
        >>> noise = row_noise(rows, mask, torch.zeros(2, 3, 4), key="step 1")
        >>> alone = row_noise(rows[:1], mask[:1, :2], torch.zeros(1, 2, 4), key="step 1")
        >>> bool((noise[0, :2] == alone[0]).all()), noise[0, 2].tolist()
        (True, [0.0, 0.0, 0.0, 0.0])
    """
    noise = torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))
    for row, content, kept in zip(noise, contents, mask.bool(), strict=True):
        seed = int.from_bytes(blake2b(content, key=key.encode(), digest_size=8).digest()) >> 1
        generator = torch.Generator(like.device).manual_seed(seed)
        shape = (int(kept.sum()), *row.shape[kept.dim() :])
        row[kept] = draw(shape, generator=generator, dtype=noise.dtype, device=like.device)
    return noise
