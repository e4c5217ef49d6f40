"""Masks for masked-LM training, drawn anew in each pass, as a function of a row's number and a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nlpkit.batches import refuse_no_rows

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def counter_uniforms(seed: int, stream: int, draws: NDArray[Any], length: int) -> NDArray[np.float64]:
    """Uniform numbers that are a function of (seed, stream, draw, position) and of nothing else.

    Source: SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014).

    Args:
        seed: any integer.
        stream: separates numbers that serve different purposes.
        draws: one integer per row, shape ``(rows,)``.
        length: numbers per row.

    Returns:
        Numbers in [0, 1), shape ``(rows, length)``.

    Example:
        >>> both = counter_uniforms(0, 0, np.array([7, 8]), 3)
        >>> bool((both[1:] == counter_uniforms(0, 0, np.array([8]), 3)).all())
        True
    """
    with np.errstate(over="ignore"):
        key = _scramble(_scramble(np.array(seed).astype(np.uint64)) + np.uint64(stream) * _GOLDEN)
        rows = _scramble(key + draws.astype(np.uint64) * _GOLDEN)  # (rows,)
        positions = np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN  # (length,)
        bits = _scramble(rows[:, None] + positions)  # (rows, length)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _scramble(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def choose_positions(
    maskable: NDArray[np.bool_], probability: float, scores: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Choose the same share of each row's maskable positions: rounded, and at least one.

    Args:
        maskable: positions that may be chosen, shape ``(rows, length)``.
        probability: share of them to choose.
        scores: random numbers; the lowest of a row are chosen, shape ``(rows, length)``.

    Returns:
        The chosen positions, shape ``(rows, length)``; a row without maskable positions gets none.

    Note:
        An exact count has less variance from step to step than one coin per token, and leaves no row without a target.
    """
    available = maskable.sum(axis=1)  # (rows,)
    counts = np.minimum(np.maximum(np.floor(available * probability + 0.5), 1), available)
    order = np.where(maskable, scores, 2.0).argsort(axis=1)  # (rows, length)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
    return ranks < counts[:, None]


class MaskedTokenCollator:
    """Batch rows of token ids and mask them anew at each draw, reproducibly.

    Source: BERT (Devlin et al., 2019, section 3.1); drawn anew at each pass as in RoBERTa (Liu et al., 2019).

    Args:
        tokenizer: gives the mask and padding ids and the special tokens, which are neither masked nor drawn.
        mask_probability: share of each row's ordinary tokens that become targets (rounded, at least one per row).
        mask_share: share of the targets shown as ``[MASK]``.
        random_share: share of the targets shown as a random ordinary token; the rest stay as they are.
        seed: the seed of all masks.

    Raises:
        ValueError: a share outside its range, a tokenizer without mask or padding token, or ids it does not know.

    Note:
        A row's mask is a function of ``seed`` and the row's ``"draw"`` number. It does not depend on who else is in
        the batch, on the process or dataloader worker, or on what was drawn before; therefore a resumed run and a run
        on several processes see exactly the masks of the plain one. A generator's state could not give that: the
        dataloader collates one batch ahead, so a checkpoint holds a state from after the next batch.
        Rows without ``"draw"`` take a number from torch's generator, as other collators do.

    Example:
        >>> from transformers import BertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天气", "很", "好"]
        >>> tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
        >>> collate = MaskedTokenCollator(tokenizer, mask_share=1.0, random_share=0.0)
        >>> batch = collate([{"input_ids": [2, 5, 6, 7, 3], "draw": 0}])
        >>> (batch["input_ids"] == 4).sum().item(), (batch["labels"] != -100).sum().item()
        (1, 1)
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        mask_probability: float = 0.15,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        seed: int = 0,
    ) -> None:
        if not 0 < mask_probability < 1:
            raise ValueError(f"mask_probability must lie between 0 and 1, exclusive; got {mask_probability}")
        if min(mask_share, random_share) < 0 or mask_share + random_share > 1:
            raise ValueError(
                "mask_share and random_share must not be negative, nor their sum above 1; "
                f"got {mask_share} and {random_share}"
            )
        for role in ("mask_token_id", "pad_token_id"):
            if getattr(tokenizer, role) is None:
                raise ValueError(f"the tokenizer has no {role}; masked-LM training needs one")
        self.mask_id: int = tokenizer.mask_token_id
        self.pad_id: int = tokenizer.pad_token_id
        self.mask_probability, self.mask_share, self.random_share = mask_probability, mask_share, random_share
        self.seed = seed
        self.special = np.zeros(len(tokenizer), dtype=bool)  # (vocab,)
        self.special[tokenizer.all_special_ids] = True
        self.ordinary_ids = np.flatnonzero(~self.special)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pad and mask a batch.

        Args:
            rows: each with ``"input_ids"`` and, for reproducible masks, an integer ``"draw"``; an integer
                ``"domain"`` is handed on.

        Returns:
            ``input_ids`` and ``labels`` (-100 where nothing is to be predicted), both ``(rows, length)``;
            ``attention_mask`` only when rows differ in length, so that attention takes the faster path without one.

        Raises:
            ValueError: there are no rows.
        """
        refuse_no_rows(rows)
        ids, present = self._pad([np.asarray(row["input_ids"], dtype=np.int64) for row in rows])
        if "draw" in rows[0]:
            draws = np.array([row["draw"] for row in rows], dtype=np.int64)
        else:
            draws = torch.randint(2**62, (len(rows),)).numpy()
        inputs, labels = self.mask(ids, draws)
        batch = {"input_ids": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}
        if not present.all():
            batch["attention_mask"] = torch.from_numpy(present.astype(np.int64))
        if "domain" in rows[0]:
            batch["domain"] = torch.tensor([row["domain"] for row in rows])
        return batch

    def mask(self, ids: NDArray[np.int64], draws: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Mask padded ids.

        Args:
            ids: token ids, shape ``(rows, length)``.
            draws: the number of each row's draw, shape ``(rows,)``.

        Returns:
            Inputs and labels, both ``(rows, length)``.
        """
        if ids.size and not 0 <= ids.min() <= ids.max() < len(self.special):
            raise ValueError(
                f"input_ids range from {ids.min()} to {ids.max()}, but the tokenizer knows ids 0 to "
                f"{len(self.special) - 1}; the rows were made with another tokenizer"
            )
        scores, kinds, fillers = (counter_uniforms(self.seed, stream, draws, ids.shape[1]) for stream in range(3))
        chosen = choose_positions(~self.special[ids], self.mask_probability, scores)  # (rows, length)
        inputs = np.where(chosen & (kinds < self.mask_share), self.mask_id, ids)
        swapped = chosen & (kinds >= self.mask_share) & (kinds < self.mask_share + self.random_share)
        inputs[swapped] = self.ordinary_ids[(fillers[swapped] * len(self.ordinary_ids)).astype(np.int64)]
        return inputs, np.where(chosen, ids, -100)

    def _pad(self, rows: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        lengths = np.array([len(row) for row in rows])
        present = np.arange(lengths.max())[None, :] < lengths[:, None]  # (rows, length)
        ids = np.full(present.shape, self.pad_id, dtype=np.int64)
        ids[present] = np.concatenate(rows)
        return ids, present
