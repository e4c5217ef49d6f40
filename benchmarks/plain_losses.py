"""The formulas of losses as one would write them in torch from a paper, for ``losses.py`` to compare with."""

from __future__ import annotations

import torch
from loss_inputs import TAU, prior
from torch import Tensor
from torch.nn import functional as F


def zlpr(logits: Tensor, labels: Tensor) -> Tensor:
    absent, present = (1 - labels) * logits.exp(), labels * (-logits).exp()
    return ((1 + absent.sum(-1)).log() + (1 + present.sum(-1)).log()).mean()


def sparse_zlpr(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over classes that do not apply as all less those that do, in logarithms (kexue.fm/archives/8888)."""
    logits, found = logits.flatten(2), logits.flatten(2).gather(-1, labels)
    zero = torch.zeros_like(logits[..., :1])
    every = torch.cat([logits, zero], -1).logsumexp(-1)
    absent = every + (1 - (found.logsumexp(-1) - every).exp()).clamp(1e-7, 1).log()
    return (absent + torch.cat([-found, zero[..., :1]], -1).logsumexp(-1)).mean()


def dense_zlpr_of_lists(logits: Tensor, labels: Tensor) -> Tensor:
    return zlpr(logits.flatten(2), torch.zeros_like(logits.flatten(2)).scatter(-1, labels, 1.0))


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    p = logits.softmax(-1).gather(-1, labels[:, None])
    return (-((1 - p) ** 2) * p.log()).mean()


def binary_focal(logits: Tensor, labels: Tensor) -> Tensor:
    p = torch.where(labels == 1, logits.sigmoid(), 1 - logits.sigmoid())
    return ((1 - p) ** 2 * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")).mean()


def soft_truncation(logits: Tensor, labels: Tensor) -> Tensor:
    p = logits.softmax(-1).gather(-1, labels[:, None])
    return ((1 - p) * -p.log()).mean()


def hard_truncation(logits: Tensor, labels: Tensor) -> Tensor:
    wrong = logits.argmax(-1) != labels
    return (F.cross_entropy(logits, labels, reduction="none") * wrong).mean()


def log_balanced(logits: Tensor, labels: Tensor) -> Tensor:
    """Per class the tokens of it share a logarithm (kexue.fm/archives/9158)."""
    own = F.one_hot(labels, logits.shape[-1])
    others = (logits - logits.gather(-1, labels[..., None])).exp() * (1 - own)
    return (1 + (own * others.sum(-1, keepdim=True)).sum(1)).log().sum(-1).mean()


def logit_adjustment(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits + prior(logits.shape[-1]).to(logits).log(), labels)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    p, y = logits.softmax(-1), F.one_hot(labels, logits.shape[-1])
    return (1 - (2 * (p * y).sum(0) + 1) / ((p + y).sum(0) + 1)).mean()


def f1(logits: Tensor, labels: Tensor) -> Tensor:
    p, y = logits.softmax(-1), F.one_hot(labels, logits.shape[-1])
    return 1 - 2 * (p * y).sum() / (p + y).sum()


def f1_weighted(logits: Tensor, labels: Tensor) -> Tensor:
    """With an F of 1, where all labels weigh a half."""
    p = logits.sigmoid()
    return -(labels * p.log() + (1 - labels) * (1 - p).log()).mean() / 2


def sampled_exact(logits: Tensor, labels: Tensor) -> Tensor:
    """A thousand samples of the label's noise; the other noises are integrated out, in fp32, as torch wants it."""
    return _exact(logits.float(), labels, torch.randn(1000)).mean(-1).neg().add(1).mean()


def integrated_exact(logits: Tensor, labels: Tensor) -> Tensor:
    noise = torch.linspace(-12, 12, 4001, dtype=logits.dtype)
    weights = torch.exp(-noise.square() / 2) * (noise[1] - noise[0]) / (2 * torch.pi) ** 0.5
    return 1 - (_exact(logits, labels, noise) * weights).sum(-1).mean()


def _exact(logits: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
    ahead = logits.gather(-1, labels[:, None]) - logits
    wins = torch.special.log_ndtr(noise + ahead[..., None])
    own = F.one_hot(labels, logits.shape[-1]).bool()[..., None]
    return wins.masked_fill(own, 0.0).sum(1).exp()


def info_nce(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Questions, the first half, against all answers."""
    questions, answers = F.normalize(embeddings, dim=-1).chunk(2)
    return F.cross_entropy(questions @ answers.T / TAU, torch.arange(len(questions)))


def nt_xent(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Every text against all others."""
    return F.cross_entropy(_scores(embeddings), _partners(embeddings))


def flat_nce(embeddings: Tensor, labels: Tensor) -> Tensor:
    scores, partners = _scores(embeddings), _partners(embeddings)[:, None]
    gaps = (scores - scores.gather(1, partners)).scatter(1, partners, -torch.inf)
    return gaps.exp().sum(1).log().mean()


def supervised(embeddings: Tensor, labels: Tensor) -> Tensor:
    same = (labels == labels[:, None]).fill_diagonal_(False)
    log_p = _scores(embeddings).log_softmax(-1).masked_fill(~same, 0.0)
    return (-log_p.sum(1) / same.sum(1)).mean()


def _scores(embeddings: Tensor) -> Tensor:
    directions = F.normalize(embeddings, dim=-1)
    return (directions @ directions.T / TAU).fill_diagonal_(-torch.inf)


def _partners(embeddings: Tensor) -> Tensor:
    return torch.arange(len(embeddings)).roll(len(embeddings) // 2)


def simsiam(embeddings: Tensor, labels: Tensor) -> Tensor:
    first, second = embeddings.chunk(2)
    return 1 - (F.cosine_similarity(first, second.detach()) + F.cosine_similarity(second, first.detach())).mean() / 2


def center(features: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    return ((features - centers[labels]) ** 2).sum(-1).mean() / 2


def cross_entropy(states: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Of a language model, from hidden states and the matrix of its output layer."""
    return F.cross_entropy(states @ head.T, labels)
