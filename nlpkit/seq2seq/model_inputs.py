"""What a UniLM is given: segments and positions that were left out, and inputs by which a target would be seen."""

from __future__ import annotations

import torch
from torch import Tensor


def checked_segments(token_type_ids: Tensor | None, given: Tensor, past: int | Tensor) -> Tensor:
    """The segments of the tokens that are read now.

    Args:
        token_type_ids: as ``forward`` has them; ``None`` means all of the source, or behind a cache of the target.
        given: ids or embeddings, shape ``(batch, length, ...)``.
        past: tokens in the cache.

    Returns:
        Shape ``(batch, length)``.

    Raises:
        ValueError: another shape; or a token of the source behind a cache, which those before it could not see.

    Example:
        >>> checked_segments(None, torch.tensor([[7, 8]]), past=3)
        tensor([[1, 1]])
    """
    shape = given.shape[:2]
    if token_type_ids is None:
        return torch.full(shape, int(past > 0), dtype=torch.long, device=given.device)
    if token_type_ids.shape != shape:
        raise ValueError(
            f"token_type_ids of shape {tuple(token_type_ids.shape)} do not fit tokens of shape {tuple(shape)}: "
            "give one segment per token"
        )
    if not torch.compiler.is_compiling() and past > 0 and (token_type_ids == 0).any():
        raise ValueError(
            "token_type_ids hold 0 behind a cache: the source is read both ways and must be read at once; give all of "
            "it without a cache first (and no prefill_chunk_size), and 1 for what follows"
        )
    return token_type_ids


def positions(attention_mask: Tensor | None, given: Tensor, past: int | Tensor) -> Tensor:
    """The number of each token in its row, padding not counted.

    Args:
        attention_mask: 0 for padding, of all tokens so far, shape ``(batch, past + length)``; ``None``, or one of four
            dimensions, means no padding.
        given: ids or embeddings, shape ``(batch, length, ...)``.
        past: tokens in the cache.

    Returns:
        Shape ``(batch, length)`` or ``(1, length)``; 0 at padding on the left.

    Example:
        >>> positions(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 7, 8]]), past=0)
        tensor([[0, 0, 1]])
    """
    length = given.shape[1]
    if attention_mask is None or attention_mask.dim() != 2:
        return (torch.arange(length, device=given.device) + past)[None]
    return (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -length:]


def refuse_seen_labels(labels: Tensor, token_type_ids: Tensor | None) -> None:
    """A ``ValueError`` where the token that is to be predicted can be seen, since it is not of the target.

    Args:
        labels: -100 where there is none, shape ``(batch, length)``.
        token_type_ids: the segments; on a GPU, which would have to be waited for, nobody looks into them.
    """
    if token_type_ids is None:
        raise ValueError(
            "labels need token_type_ids, 1 for the target: without them all is source, which is read both ways, and "
            "every token sees what it is to predict; UniLmCollator makes them"
        )
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        seen = (labels != -100) & (token_type_ids == 0)
        if seen.any():
            row, place = seen.nonzero()[0].tolist()
            raise ValueError(
                f"labels[{row}, {place}] is a token of segment 0, which all tokens see, so that the model would learn "
                "to copy it: give -100 on the source, and token_type_ids of 1 on the target"
            )


def refuse_beyond(room: int | None, source: int, wanted: int) -> None:
    """A ``ValueError`` where source and target, which share the positions, are longer than there are any.

    Args:
        room: positions of the model; ``None`` where nothing limits them.
        source: tokens of a source, padding included.
        wanted: tokens of both together.
    """
    wanted = max(wanted, source + 1)
    if room is not None and wanted > room:
        target = wanted - source
        cut = f"cut sources to {room - target} tokens, or " if room - target > 2 else ""
        raise ValueError(
            f"a source of {source} tokens and a target of {target} need {wanted} positions, and the model has {room} "
            f"for both: {cut}give a smaller max_new_tokens"
        )


def prompts(
    input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor, pad_token_id: int
) -> tuple[Tensor, Tensor]:
    """The sources of rows that hold targets too, padded on the left, as ``generate`` wants them.

    Args:
        input_ids: shape ``(batch, length)``.
        attention_mask: 0 for padding, likewise; ``None`` means none.
        token_type_ids: 1 for the target, likewise.
        pad_token_id: stands before shorter sources.

    Returns:
        Ids and mask, shape ``(batch, longest source)`` each.

    Example:
        >>> ids = torch.tensor([[2, 7, 3, 8, 3, 0], [2, 7, 7, 3, 8, 3]])
        >>> segments = torch.tensor([[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]])
        >>> prompts(ids, (ids != 0).long(), segments, pad_token_id=0)[0]
        tensor([[0, 2, 7, 3],
                [2, 7, 7, 3]])
    """
    kept = token_type_ids == 0
    if attention_mask is not None:
        kept = kept & (attention_mask != 0)
    order = kept.long().argsort(dim=1, stable=True)[:, -int(kept.sum(dim=1).max()) :]  # what is kept comes last
    mask = kept.gather(1, order)
    return input_ids.gather(1, order).masked_fill(~mask, pad_token_id), mask.long()
