"""BIO labels as scores: of a token's later characters, and the best labelling as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: What is taken off ``B-X`` for a character inside a token: an entity may begin there, but few do.
BEGINS_INSIDE = 4.0


def continue_inside(scores: Tensor, names: Sequence[str]) -> Tensor:
    """The scores of a token's labels for its characters after the first: ``B-X`` becomes ``I-X`` there.

    Args:
        scores: logits, shape ``(..., labels)``.
        names: of the labels in their order. Those that are not BIO stay as they are.

    Returns:
        Same shape: ``I-X`` takes over the probability of ``B-X``, which keeps ``exp(-4)`` of it.

    Example:
        >>> continue_inside(torch.tensor([0.0, 3.0, -50.0]), ["O", "B-LOC", "I-LOC"])
        tensor([ 0., -1.,  3.])
    """
    begins = [number for number, name in enumerate(names) if name[:2] == "B-" and f"I-{name[2:]}" in names]
    continued = [names.index(f"I-{names[number][2:]}") for number in begins]
    inside = scores.clone()
    inside[..., continued] = torch.logaddexp(scores[..., begins], scores[..., continued])
    inside[..., begins] = scores[..., begins] - BEGINS_INSIDE
    return inside


def decode_bio(logits: Tensor, mask: Tensor, names: Sequence[str]) -> Tensor:
    """Find the labelling with the highest sum of scores among those that BIO allows (Viterbi's algorithm).

    Best labels taken one by one may contradict each other (``B-LOC I-PER``), and every contradiction reads as a span
    that nobody meant. No training is needed: what may follow what is known.

    Source: A. Viterbi 1967; constraints alone in place of learnt transitions as in He et al. 2017 (Deep Semantic Role
    Labeling, section 2.3).

    Args:
        logits: scores of the labels, shape ``(batch, positions, labels)``; normalised or not.
        mask: true where there is something to label, shape ``(batch, positions)``. Other positions count for nothing
            and repeat the label before them (``O`` at the front).
        names: ``"O"``, ``"B-<type>"`` and ``"I-<type>"`` in the order of the scores.

    Returns:
        Numbers of labels, shape ``(batch, positions)``.

    Raises:
        ValueError: there is no ``"O"``, a name is not a BIO label, or there are not as many names as scores.

    Note:
        ``positions`` steps over ``(batch, labels, labels)`` values each, on the device of the scores.

    Example:
        >>> names = ["O", "B-LOC", "I-LOC"]
        >>> logits = torch.tensor([[[0.0, 0.9, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
        >>> [names[number] for number in decode_bio(logits, torch.ones(1, 3, dtype=torch.bool), names)[0]]
        ['B-LOC', 'I-LOC', 'O']
    """
    if logits.shape[-1] != len(names):
        raise ValueError(f"{len(names)} label names for {logits.shape[-1]} scores")
    batch, positions, labels = logits.shape
    forbidden = torch.where(_may_follow(names), 0.0, -torch.inf).to(logits.device)  # (before, after)
    best = torch.full((batch, labels), -torch.inf, device=logits.device)
    best[:, names.index("O")] = 0.0  # what stands before the text
    stay = torch.arange(labels, device=logits.device).expand(batch, labels)
    steps: list[Tensor] = []
    for position in range(positions):
        here = mask[:, position, None].bool()  # (batch, 1)
        reached, before = (best[:, :, None] + forbidden).max(dim=1)  # (batch, labels)
        best = torch.where(here, reached + logits[:, position].float(), best)
        steps.append(torch.where(here, before, stay))
    last = best.argmax(dim=-1, keepdim=True)  # (batch, 1)
    path: list[Tensor] = []
    for before in reversed(steps):
        path.append(last)
        last = before.gather(1, last)
    return torch.cat(path[::-1], dim=1) if path else mask.long()


def _may_follow(names: Sequence[str]) -> Tensor:
    wrong = next((name for name in names if name != "O" and (name[:2] not in ("B-", "I-") or not name[2:])), None)
    if wrong is not None or "O" not in names:
        raise ValueError(f"{list(names)} are no BIO labels; those are 'O', 'B-<type>' and 'I-<type>'")
    rows = [[after[0] != "I" or (before != "O" and before[2:] == after[2:]) for after in names] for before in names]
    return torch.tensor(rows)  # (before, after)
