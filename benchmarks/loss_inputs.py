"""What ``losses.py`` computes losses of: random inputs of real sizes, and logits whose label is ahead by a number."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Temperature of all contrastive losses.
TAU = 0.05
#: Tensors that take a gradient, and labels.
Inputs = tuple[tuple[Tensor, ...], Tensor]


def prior(classes: int) -> Tensor:
    """Frequencies that fall as those of words do."""
    weights = 1 / torch.arange(1, classes + 1, dtype=torch.float64)
    return weights / weights.sum()


def normal(*shape: int, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(shape)


def multi_hot(rows: int, classes: int) -> Inputs:
    return (normal(rows, classes),), (torch.rand(rows, classes) < 5 / classes).float()


def class_indices(rows: int, classes: int) -> Inputs:
    return (normal(rows, classes),), torch.randint(classes, (rows,))


def tags(length: int) -> Inputs:
    return (normal(32, length, 20),), torch.randint(20, (32, length))


def spans(length: int) -> Inputs:
    return (normal(4, 10, length, length),), torch.rand(4, 10, length**2).topk(5).indices


def texts(rows: int, views: bool = True) -> Inputs:
    groups = torch.arange(rows // 2).repeat(2)
    views_of = torch.arange(2).repeat_interleave(rows // 2)
    return (torch.randn(rows, 768),), torch.stack([groups, views_of], 1) if views else groups


def tokens(rows: int, words: int) -> Inputs:
    return (normal(rows, 768, scale=1.0), normal(words, 768, scale=768**-0.5)), torch.randint(words, (rows,))


def features(rows: int, dim: int, classes: int) -> Inputs:
    return (normal(rows, dim), normal(classes, dim)), torch.randint(classes, (rows,))


def features_ahead(gap: float) -> Inputs:
    """Features at a distance from the center of their class."""
    (apart, centers), labels = features(8, 16, 12)
    return (centers[labels].double() + gap * apart.double(), centers.double()), labels


def one_ahead(gap: float, rows: int = 8, classes: int = 12) -> Inputs:
    labels = torch.arange(rows) % classes
    return ((torch.rand(rows, classes).double() + gap * F.one_hot(labels, classes)),), labels


def tags_ahead(gap: float) -> Inputs:
    (logits,), labels = one_ahead(gap, rows=12)
    return (logits.view(2, 6, 12),), labels.view(2, 6)


def cells_ahead(gap: float) -> Inputs:
    labels = (torch.rand(8, 12) < 0.3).double()
    return ((torch.rand(8, 12).double() + gap) * (2 * labels - 1),), labels


def some_ahead(gap: float) -> Inputs:
    """Labels at the gap, all others around 0."""
    labels = torch.rand(8, 12).topk(3).indices
    hot = torch.zeros(8, 12).scatter(-1, labels, 1.0).double()
    return (torch.rand(8, 12).double() + gap * hot,), hot


def spans_ahead(gap: float) -> Inputs:
    (logits,), hot = some_ahead(gap)
    return (F.pad(logits, (0, 4)).view(2, 4, 4, 4),), hot.topk(3).indices.view(2, 4, 3)


def texts_ahead(gap: float, views: bool = True) -> Inputs:
    """Cosines of partners are above those of others by ``TAU * gap``; below them, where texts of a view are alike."""
    rows, share = 8, abs(gap) * TAU
    group, view = torch.arange(rows) % (rows // 2), torch.arange(rows) // (rows // 2)
    common = F.one_hot(group if gap > 0 else view + rows, 2 * rows + 4)
    own = F.one_hot(torch.arange(rows) + rows + 2, 2 * rows + 4)
    embeddings = share**0.5 * common.double() + max(1 - share, 0.0) ** 0.5 * own + 0.01 * torch.rand(own.shape)
    return (embeddings.double(),), torch.stack([group, view], 1) if views else group


def tokens_ahead(gap: float) -> Inputs:
    head = torch.randn(50, 64, dtype=torch.float64) / 8
    labels = torch.arange(8)
    return (gap * head[labels] + 0.1 * torch.randn(8, 64), head), labels
