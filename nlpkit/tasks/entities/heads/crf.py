"""Chains of labels (linear-chain CRF), exact: the sum over all of them, the best one, and probabilities of parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nlpkit.losses.loss import at_least_fp32


class Chain(NamedTuple):
    """Scores of labels in a chain; a labelling's score is the sum of all that it goes through.

    Args:
        emissions: of each label at each position, shape ``(batch, length, labels)``.
        transitions: from a label to the next one, -inf where that is not allowed, shape ``(labels, labels)``.
        starts: of the first label, shape ``(labels,)``.
        ends: of the last one, likewise.
    """

    emissions: Tensor
    transitions: Tensor
    starts: Tensor
    ends: Tensor

    def packed(self, mask: Tensor) -> tuple[Chain, Tensor]:
        """The same with the positions of the mask moved to the front; and how many there are, shape ``(batch,)``."""
        lengths = mask.sum(dim=1)
        if bool((mask.cummin(dim=1).values == mask).all()):
            emissions = self.emissions
        else:
            order = _front(mask)[..., None].expand(-1, -1, self.emissions.shape[-1])
            emissions = self.emissions.gather(1, order)
        parts = (emissions, self.transitions, self.starts, self.ends)
        return Chain(*map(at_least_fp32, parts)), lengths


def chain_log_likelihood(chain: Chain, labels: Tensor, mask: Tensor) -> Tensor:
    """The logarithm of the probability of each row's labels among all labellings of its positions.

    Source: Lafferty et al. 2001; the forward algorithm.

    Args:
        chain: scores.
        labels: numbers of labels where the mask is true, anything elsewhere, shape ``(batch, length)``.
        mask: positions of the chain, anywhere in a row; those left out are skipped, and their neighbours adjoin.

    Returns:
        Nats, 0 at most, shape ``(batch,)``; 0 for a row without positions.

    Raises:
        ValueError: labels are none, or follow one another as is not allowed.

    Note:
        One step per position over ``(batch, labels, labels)`` numbers.

    Example:
        >>> nothing = Chain(torch.zeros(1, 3, 2), torch.zeros(2, 2), torch.zeros(2), torch.zeros(2))
        >>> chain_log_likelihood(nothing, torch.tensor([[0, 1, 1]]), torch.ones(1, 3, dtype=torch.bool)).exp()
        tensor([0.1250])
    """
    mask = mask.bool()
    _refuse_other_labels(labels[mask], chain.emissions.shape[-1])
    packed, lengths = chain.packed(mask)
    labels = torch.where(mask, labels, 0).gather(1, _front(mask))
    score = path_score(packed, labels, lengths)
    if bool(torch.isneginf(score).any()):
        raise ValueError(
            f"the labels of text {int(torch.isneginf(score).nonzero()[0])} of the batch follow one another as BIO "
            "does not allow (I-X behind neither B-X nor I-X); write them as B-X, or give spans"
        )
    return score - log_partition(packed, lengths)


def path_score(chain: Chain, labels: Tensor, lengths: Tensor) -> Tensor:
    """The score of one labelling per row, of a packed chain, shape ``(batch,)``."""
    length = chain.emissions.shape[1]
    inside = torch.arange(length, device=labels.device) < lengths[:, None]  # (batch, length)
    emitted = chain.emissions.gather(2, labels[..., None])[..., 0]
    total = torch.where(inside, emitted, 0.0).sum(dim=1)
    if length > 1:
        moved = chain.transitions[labels[:, :-1], labels[:, 1:]]  # (batch, length - 1)
        total = total + torch.where(inside[:, 1:], moved, 0.0).sum(dim=1)
    last = labels.gather(1, (lengths - 1).clamp(min=0)[:, None])[:, 0]
    return total + torch.where(lengths > 0, chain.starts[labels[:, 0]] + chain.ends[last], 0.0)


def log_partition(chain: Chain, lengths: Tensor) -> Tensor:
    """The logarithm of the sum over all labellings, of a packed chain, shape ``(batch,)``; 0 for empty rows."""
    alphas = _forward(chain, lengths)
    last = alphas.gather(1, (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, alphas.shape[2]))[:, 0]
    return torch.where(lengths > 0, _log_sum(last + chain.ends, -1), 0.0)


def best_labels(chain: Chain, mask: Tensor) -> Tensor:
    """The labelling of each row with the highest score (Viterbi's algorithm).

    Source: A. Viterbi 1967.

    Args:
        chain: scores.
        mask: positions of the chain, shape ``(batch, length)``, boolean.

    Returns:
        Numbers of labels, shape ``(batch, length)``, -1 where the mask is false.

    Example:
        >>> stay = Chain(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.0, -3.0], [-3.0, 0.0]]),
        ...              torch.zeros(2), torch.zeros(2))
        >>> best_labels(stay, torch.tensor([[True, True]]))
        tensor([[0, 0]])
    """
    mask = mask.bool()
    packed, lengths = chain.packed(mask)
    batch, length, labels = packed.emissions.shape
    stay = torch.arange(labels, device=mask.device).expand(batch, labels)
    best = packed.starts + packed.emissions[:, 0] if length else packed.starts.expand(batch, labels)
    steps = []
    for place in range(1, length):
        reached, before = (best[:, :, None] + packed.transitions).max(dim=1)  # (batch, labels)
        here = (place < lengths)[:, None]
        best = torch.where(here, reached + packed.emissions[:, place], best)
        steps.append(torch.where(here, before, stay))
    last = (best + packed.ends).argmax(dim=-1, keepdim=True)
    path = []
    for before in reversed(steps):
        path.append(last)
        last = before.gather(1, last)
    path.append(last)
    found = torch.cat(path[::-1], dim=1)[:, :length]
    unpacked = torch.full_like(found, -1).scatter(1, _front(mask), found)
    return torch.where(mask, unpacked, -1)


class Posterior(NamedTuple):
    """Sums over the labellings before and behind each position of a packed chain.

    Args:
        alphas: over all that end in a label at a position, its own emission included, ``(batch, length, labels)``.
        betas: over all that go on from there, without that emission, likewise.
        total: over all, shape ``(batch,)``.
    """

    alphas: Tensor
    betas: Tensor
    total: Tensor


def posterior(chain: Chain, lengths: Tensor) -> Posterior:
    """Run the forward and the backward algorithm over a packed chain."""
    alphas = _forward(chain, lengths)
    batch, length, labels = alphas.shape
    beta = chain.ends.expand(batch, labels)
    betas = [beta] * length
    for place in reversed(range(length - 1)):
        onward = chain.transitions + (chain.emissions[:, place + 1] + beta)[:, None, :]
        beta = torch.where((place + 1 < lengths)[:, None], _log_sum(onward, -1), chain.ends)
        betas[place] = beta
    return Posterior(alphas, torch.stack(betas, dim=1) if length else alphas, log_partition(chain, lengths))


def log_marginals(chain: Chain, mask: Tensor) -> Tensor:
    """The logarithm of each label's probability at each position, all labellings considered.

    Args:
        chain: scores.
        mask: positions of the chain, shape ``(batch, length)``, boolean.

    Returns:
        Shape ``(batch, length, labels)``; elsewhere of the emissions alone.
    """
    mask = mask.bool()
    packed, lengths = chain.packed(mask)
    found = posterior(packed, lengths)
    logs = found.alphas + found.betas - found.total[:, None, None]
    order = _front(mask)[..., None].expand_as(logs)
    unpacked = torch.zeros_like(logs).scatter(1, order, logs)
    return torch.where(mask[..., None], unpacked, at_least_fp32(chain.emissions).log_softmax(dim=-1))


def _forward(chain: Chain, lengths: Tensor) -> Tensor:
    alphas: list[Tensor] = []
    for place in range(chain.emissions.shape[1]):
        here = chain.emissions[:, place]
        if not alphas:
            alphas.append(chain.starts + here)
            continue
        reached = _log_sum(alphas[-1][:, :, None] + chain.transitions, 1) + here
        alphas.append(torch.where((place < lengths)[:, None], reached, alphas[-1]))
    return torch.stack(alphas, dim=1) if alphas else chain.emissions


def _log_sum(exponents: Tensor, dim: int) -> Tensor:
    """``logsumexp``, whose gradient is 0, and not NaN, where all exponents are -inf."""
    peak = exponents.detach().amax(dim=dim, keepdim=True)
    peak = torch.where(torch.isneginf(peak), 0.0, peak)
    total = (exponents - peak).exp().sum(dim=dim)
    none = total == 0
    return torch.where(none, -torch.inf, torch.where(none, 1.0, total).log() + peak.squeeze(dim))


def _front(mask: Tensor) -> Tensor:
    """The order of positions in which those of the mask come first, as they stood."""
    return (~mask).long().argsort(dim=1, stable=True)


def _refuse_other_labels(labels: Tensor, classes: int) -> None:
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise ValueError(f"labels hold {int(labels.min())} to {int(labels.max())}, but there are {classes} of them")
