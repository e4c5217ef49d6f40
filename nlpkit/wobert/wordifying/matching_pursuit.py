"""Rows for words that a donor model knows: combinations of shared tokens found in the donor, taken over here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from nlpkit.embeddings import unit_rows
from nlpkit.wobert.wordifying.embedding_surgery import find_pieces

_TARGETS_AT_ONCE = 512


class Combinations(NamedTuple):
    """Words of a new vocabulary as combinations of its other tokens."""

    words: Tensor  #: ids of the words, ``(words,)``
    tokens: Tensor  #: ids of the tokens combined for each, ``(words, sparsity)``
    coefficients: Tensor  #: their coefficients, ``(words, sparsity)``

    def rows(self, matrix: Tensor) -> Tensor:
        """The combinations of rows of a matrix ``(V, hidden)`` of the new vocabulary, ``(words, hidden)``."""
        wide = torch.promote_types(matrix.dtype, torch.float32)
        chosen = matrix.to(wide)[self.tokens.to(matrix.device)]  # (words, sparsity, hidden)
        weights = self.coefficients.to(matrix.device, wide)
        return torch.einsum("wk,wkh->wh", weights, chosen).to(matrix.dtype)


def orthogonal_matching_pursuit(dictionary: Tensor, targets: Tensor, sparsity: int) -> tuple[Tensor, Tensor]:
    """Write each target as a combination of a few rows of a dictionary.

    Source: orthogonal matching pursuit as of arXiv 2506.06607, algorithm 1: take the row with the largest cosine to
    what is left, then fit the target by least squares on all rows taken.

    Args:
        dictionary: shape ``(rows, hidden)``.
        targets: shape ``(targets, hidden)``.
        sparsity: how many rows may be taken; at most ``rows`` and ``hidden``.

    Returns:
        Which rows, ``(targets, sparsity)``, in the order in which they were taken, and their coefficients, likewise.
        A row is taken once; where nothing is left to explain, what is taken gets coefficient 0.

    Raises:
        ValueError: a ``sparsity`` below 1 or above the number or length of rows.

    Example:
        >>> rows, coefficients = orthogonal_matching_pursuit(torch.eye(3), torch.tensor([[0.0, 2.0, -3.0]]), 2)
        >>> rows.tolist(), coefficients.tolist()
        ([[2, 1]], [[-3.0, 2.0]])
    """
    if not 1 <= sparsity <= min(dictionary.shape):
        raise ValueError(
            f"sparsity={sparsity} must be from 1 to {min(dictionary.shape)} for a dictionary of shape "
            f"{tuple(dictionary.shape)}"
        )
    unit = unit_rows(dictionary)
    chosen = torch.empty(len(targets), 0, dtype=torch.long, device=targets.device)
    coefficients = targets.new_empty(len(targets), 0)
    left = targets
    for _ in range(sparsity):
        likeness = (left @ unit.T).abs().scatter(1, chosen, -1.0)  # (targets, rows); a row is taken once
        chosen = torch.cat([chosen, likeness.argmax(dim=1, keepdim=True)], dim=1)
        taken = dictionary[chosen]  # (targets, k, hidden)
        # Rows that are nearly combinations of others make the fit ill-posed: gelsd's like, by the pseudo-inverse.
        coefficients = torch.einsum("th,thk->tk", targets, torch.linalg.pinv(taken))
        left = targets - torch.einsum("tk,tkh->th", coefficients, taken)
    return chosen, coefficients


def donor_combinations(
    vocabulary: Mapping[str, int],
    pieces: Sequence[tuple[int, ...]],
    unknown_id: int,
    donor: Tensor,
    donor_tokenizer: Any,
    sparsity: int = 64,
    show_progress: bool = True,
) -> Combinations:
    """New words that a donor has as one token, as combinations of tokens that it shares with us.

    Source: arXiv 2506.06607: the coefficients found in the donor's embedding space are applied in ours.

    Args:
        vocabulary: the new vocabulary, token to id.
        pieces: source ids of each new id, as ``find_pieces`` gives them.
        unknown_id: the source's unknown token.
        donor: the donor's input embedding, shape ``(donor tokens, donor hidden)``.
        donor_tokenizer: its tokenizer.
        sparsity: tokens per combination; fewer where the donor shares fewer.
        show_progress: show a bar.

    Returns:
        The words that the source cuts and the donor does not.

    Raises:
        ValueError: the donor shares no token with the source, or knows no new word.
    """
    ids = sorted(vocabulary.values())
    theirs = find_pieces(vocabulary, donor_tokenizer)
    whole = {
        number for number in ids if len(theirs[number]) == 1 and theirs[number][0] != donor_tokenizer.unk_token_id
    }
    shared = [
        number for number in ids if number in whole and len(pieces[number]) == 1 and pieces[number][0] != unknown_id
    ]
    words = [number for number in ids if number in whole and len(pieces[number]) > 1]
    if not shared or not words:
        raise ValueError(
            f"the donor knows {len(words):,} of the new words and shares {len(shared):,} tokens with the model; give "
            "one whose vocabulary holds new words, or leave donor=None"
        )
    donor = donor.detach().to(torch.promote_types(donor.dtype, torch.float32))
    dictionary = donor[[theirs[number][0] for number in shared]]
    targets = donor[[theirs[number][0] for number in words]]
    found: list[tuple[Tensor, Tensor]] = []
    for part in tqdm(
        targets.split(_TARGETS_AT_ONCE),
        "matching words",
        unit=" parts",
        disable=None if show_progress else True,
        delay=5,
    ):
        found.append(orthogonal_matching_pursuit(dictionary, part, min(sparsity, *dictionary.shape)))
    rows, coefficients = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Combinations(torch.tensor(words), torch.tensor(shared)[rows.cpu()], coefficients.cpu())
