"""Which tokens of a batch may be moved, told in each pass by the ids that embeddings get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.training.technique import Batch


@dataclass(frozen=True)
class Tokens:
    """What may be moved in the output of a module.

    Attributes:
        mask: ``True`` there, shape ``(rows, length)``; ``(rows,)`` of an output without tokens.
        ids: of the tokens, shape of the mask; ``None`` where they were not seen.
        turned: whether the output is ``(length, rows, ...)``.
    """

    mask: Tensor
    ids: Tensor | None = None
    turned: bool = False


def refuse_several_texts(title: str, batch: Batch) -> None:
    """Rows of several texts, as batches without padding have them, would share one move.

    Args:
        title: of the technique.
        batch: of rows of tokens.

    Raises:
        ValueError: ``position_ids`` begin again within a row.
    """
    positions = batch.get("position_ids")
    if positions is None or positions.dim() != 2:
        return
    mask = batch.get("attention_mask")
    own = torch.ones_like(positions) if mask is None or mask.shape != positions.shape else mask
    both = (own[:, 1:] != 0) & (own[:, :-1] != 0)
    if ((positions[:, 1:] < positions[:, :-1]) & both).any():
        raise ValueError(
            f"{title} moves each row by itself, and position_ids begin again within a row, as if it held several "
            "texts: pad them, a text per row, e.g. with DataCollatorWithPadding"
        )


class TokenFinder:
    """Finds what may be moved in the outputs of modules, while passes of a batch run.

    Padding is told by ``attention_mask``. In a decoder it is told by ``decoder_attention_mask``, by labels of its
    tokens, of which the last ends a row, or by the source, where its tokens are those. Without a mask there is none.

    Args:
        title: of the technique, for messages.
        batch: that runs.
        embeddings: the input embedding of each stack.
        still: token ids that are not moved.
    """

    def __init__(
        self,
        title: str,
        batch: Batch,
        *,
        embeddings: Sequence[nn.Module],
        still: Sequence[int],
    ) -> None:
        self._title, self._batch = title, batch
        self._embeddings, self._still = embeddings, still
        self.begin()

    def begin(self) -> None:
        """A pass begins."""
        self._decodes = False
        self._ids: Tensor | None = None  # of the stack that runs

    def begin_decoder(self) -> None:
        """The second stack begins."""
        self._decodes, self._ids = True, None

    def see(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A module has run; if it is the embedding of a stack, its ids are those of the stack."""
        if module in self._embeddings:
            first = next(iter((*inputs, *named.values())))
            self._ids = first if isinstance(first, Tensor) and first.dim() == 2 else None

    def of(self, module: nn.Module, states: Tensor) -> Tokens:
        """What may be moved.

        Args:
            module: has just run; the input embedding, or any other.
            states: its output.

        Returns:
            The tokens.

        Raises:
            ValueError: they cannot be matched with the output.
        """
        embeds = module in self._embeddings
        source = self._source()[1]
        if self._ids is None and source is None and self._batch.get("attention_mask") is None:  # no tokens at all
            return Tokens(torch.ones(states.shape[:-1], dtype=torch.bool, device=states.device))
        tokens = None if self._ids is None else self._match(self._ids.shape, self._ids)
        if tokens is None and (self._ids is None or not embeds):
            tokens = self._match(states.shape[:2])
        if tokens and states.dim() > 2 and (embeds or not tokens.turned):
            turned = states.transpose(0, 1) if tokens.turned else states
            if tokens.mask.shape == turned.shape[:2]:
                return tokens
        rows = len(states if source is None else source)
        if states.dim() == 2 and len(states) == rows and not embeds:
            return Tokens(torch.ones(rows, dtype=torch.bool, device=states.device))
        raise self._refusal(module, states, rows, tokens)

    def _refusal(self, module: nn.Module, states: Tensor, rows: int, tokens: Tokens | None) -> ValueError:
        output = f"{self._title}: the output of {type(module).__name__} has shape {tuple(states.shape)}, and "
        if tokens is not None and tokens.turned:
            return ValueError(f"{output}this model has tokens before rows; its input embedding can be moved: at=None")
        if states.dim() < 2 or (len(states) != rows and module not in self._embeddings):
            return ValueError(f"{output}the batch has {rows} rows; its first dimension must be the rows")
        if self._decodes:
            way_out = "give the batch a decoder_attention_mask of its rows and length"
        elif self._source()[1] is None:
            way_out = "give it input_ids and an attention_mask of their shape, or give still=[tokenizer.pad_token_id]"
        else:
            way_out = (
                f"name a module that has the batch's own tokens, {self._title}(at=lambda model: model...), or pad to "
                "the length that the model makes of it (pad_to_multiple_of= of the collator)"
            )
        given = {name: tuple(value.shape) for name, value in self._batch.items() if isinstance(value, Tensor)}
        return ValueError(f"{output}which of it is padding cannot be told by {given}: {way_out}")

    def _match(self, shape: torch.Size, ids: Tensor | None = None) -> Tokens | None:
        """Tokens of that shape, of which the ids may be known."""
        if self._decodes:
            mask = self._decoder_mask(shape)
            return None if mask is None else Tokens(self._stilled(mask, ids), ids)
        given, mask = self._source()
        if mask is None:  # only ids that are still tell of padding
            if ids is None or not self._still:
                return None
            mask = torch.ones_like(ids, dtype=torch.bool)
        if ids is None:
            ids = given
        elif mask.shape[::-1] == shape and (mask.shape != shape or _is_turned(ids, given)):
            return Tokens(self._stilled(mask, ids.T), ids.T, turned=True)
        elif len(mask) == shape[0] and mask.shape[1] < shape[1]:
            mask = _padded_inside(mask, ids, given)
        return None if mask.shape != shape else Tokens(self._stilled(mask, ids), ids)

    def _source(self) -> tuple[Tensor | None, Tensor | None]:
        """Ids and mask of the batch, each row of tokens as a row."""
        ids, mask = self._batch.get("input_ids"), self._batch.get("attention_mask")
        if mask is None and ids is not None:
            mask = torch.ones_like(ids)
        if mask is not None and ids is not None and mask.dim() != ids.dim():
            mask = None  # of pairs of tokens, which does not tell of padding
        ids, mask = (None if value is None else value.flatten(0, -2) for value in (ids, mask))
        return ids, None if mask is None else mask.bool()

    def _decoder_mask(self, shape: torch.Size) -> Tensor | None:
        mask, ids, labels = (self._batch.get(n) for n in ("decoder_attention_mask", "decoder_input_ids", "labels"))
        _, source = self._source()
        if mask is not None:
            return mask.bool() if mask.shape == shape else None
        if labels is not None and labels.shape == shape:
            return (labels != -100).flip(-1).cumsum(-1).flip(-1) > 0  # up to the last one with a label
        if ids is not None:
            return torch.ones_like(ids, dtype=torch.bool) if ids.shape == shape else None
        return source if source is not None and source.shape == shape else None

    def _stilled(self, mask: Tensor, ids: Tensor | None) -> Tensor:
        if ids is None or not self._still:
            return mask
        return mask & ~torch.isin(ids, torch.tensor(self._still, device=ids.device))


def _is_turned(ids: Tensor, given: Tensor | None) -> bool:
    """Of as many rows as tokens, whether ids are those of the batch, tokens before rows."""
    return given is not None and not torch.equal(ids, given) and torch.equal(ids, given.T)


def _padded_inside(mask: Tensor, ids: Tensor, given: Tensor | None) -> Tensor:
    """The mask, padded as the model itself has padded its ids; as it is where that cannot be seen."""
    length = mask.shape[1]
    more = ids.shape[1] - length
    for place, padding in ((slice(0, length), (0, more)), (slice(more, None), (more, 0))):
        if given is not None and torch.equal(ids[:, place], given):
            return nn.functional.pad(mask, padding, value=False)
    return mask
