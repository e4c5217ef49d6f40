"""EXACT: the expected accuracy of logits with noise, as a loss that has a gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.divergences import Divergence, softmax
from nlpkit.losses.labels import class_indices, refuse_probabilities
from nlpkit.losses.loss import Loss


def exact_log_probability(logits: Tensor, labels: Tensor, sigma: float = 1.0, nodes: int = 32) -> Tensor:
    """Log-probability that a label has the largest logit once each has noise of its own.

    Source: arXiv 2205.09615 for the model: ``argmax(logits + sigma * noise)``, noise independent and standard normal.
    Given the noise ``z`` of the label, its rivals are independent of each other, so that the probability is
    ``E_z prod_i Phi(z + (logit_label - logit_i) / sigma)``: one integral, computed by Gauss-Hermite quadrature around
    the largest value of the integrand, in logarithms.

    Args:
        logits: in fp32 or better, shape ``(items, classes)``; -inf for a class that cannot be.
        labels: class indices, shape ``(items,)``.
        sigma: of the noise, in units of a logit.
        nodes: of the quadrature.

    Returns:
        Nats, shape ``(items,)``; -inf, without a gradient, where the label cannot be, or is so far behind that the
        logarithm is beyond the range of the dtype.

    Raises:
        ValueError: ``sigma`` or ``nodes`` cannot be used, labels are no class indices, or (on the CPU) logits are
            surely probabilities.

    Note:
        ``nodes`` times the memory and time of the logits.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0, 0.0]]).expand(3, 3)
        >>> p = exact_log_probability(logits, torch.arange(3)).exp()
        >>> [round(value, 4) for value in p.tolist()]
        [0.6337, 0.1831, 0.1831]
    """
    if logits.device.type == "cpu":  # elsewhere a look would wait for the device
        refuse_probabilities(logits)
    return _log_probability(logits, labels, sigma, nodes)


def _log_probability(logits: Tensor, labels: Tensor, sigma: float, nodes: int) -> Tensor:
    _check(sigma, nodes)
    chosen = class_indices(logits, labels).unsqueeze(-1)
    hopeless = torch.isneginf(logits.gather(-1, chosen))
    logits = logits.masked_fill(hopeless, 0.0)
    largest_number = torch.finfo(logits.dtype).max
    ahead = (logits.gather(-1, chosen) - logits) / sigma
    if logits.dtype != torch.float64 and (ahead < -math.sqrt(largest_number)).any():  # whose squares are infinite
        wide = _log_probability(logits.double(), labels, sigma, nodes).to(logits.dtype)
        return wide.masked_fill(hopeless.squeeze(-1) | torch.isneginf(wide), -torch.inf)
    hopeless = hopeless | (ahead.amin(-1, keepdim=True) < -math.sqrt(largest_number))
    ahead = ahead.masked_fill(hopeless, 0.0).clamp(max=largest_number)  # of classes that are masked by -inf
    rivals = torch.ones_like(ahead, dtype=torch.bool).scatter(-1, chosen, False)
    centre, width = _peak(ahead.detach(), rivals)
    points, weights = (torch.as_tensor(part).to(ahead) for part in np.polynomial.hermite.hermgauss(nodes))
    noise = centre + math.sqrt(2) * width * points  # (items, nodes)
    wins = LogNormalCdf.apply(noise.unsqueeze(1) + ahead.unsqueeze(2)).masked_fill(~rivals.unsqueeze(2), 0.0)
    density = (math.sqrt(0.5) * noise).square()  # not half the square, which may be beyond the range
    parts = weights.log() + points.square() + width.log() - density + wins.sum(1)
    # The slope of logsumexp is exp(part - result), which rounds badly where parts are far below 0.
    largest = parts.detach().amax(-1, keepdim=True)
    found = (parts - largest).logsumexp(-1) + largest.squeeze(-1) - math.log(math.pi) / 2
    return found.masked_fill(hopeless.squeeze(-1), -torch.inf)


class ExactLoss(Loss):
    """One minus the probability that a label has the largest logit once each has noise: expected errors.

    Source: EXACT, arXiv 2205.09615, for the objective, which is estimated there by quasi-random sampling;
    kexue.fm/archives/9098.

    Args:
        sigma: of the noise, in units of a logit, above 0. The smaller, the nearer to the share of errors, and the less
            gradient there is; set the attribute of the same name to lower it in training.
        log: cross-entropy of those probabilities (a probit model) in place of the share of errors.
        nodes: of the quadrature.

    Raises:
        ValueError: ``sigma`` or ``nodes`` cannot be used, or labels are no class indices.

    Note:
        Experimental: the post could not reproduce the paper's gains in NLP, and shows that its example comes from a
        temperature that was left out, so begin with ``CrossEntropyLoss``. The gradient of an item that is surely wrong
        vanishes, unless ``log``. ``nodes`` times the memory of the logits.

    Example:
        >>> ExactLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).item()  # Phi(-1 / sqrt 2)
        0.239...
    """

    def __init__(self, sigma: float = 1.0, *, log: bool = False, nodes: int = 32) -> None:
        super().__init__()
        _check(sigma, nodes)
        self.sigma, self.log, self.nodes = sigma, log, nodes

    @property
    def divergence(self) -> Divergence:
        """Of distributions over classes."""
        return softmax

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Probabilities of an error, or nats, shape ``(items,)``."""
        right = _log_probability(logits, labels, self.sigma, self.nodes)
        if self.log:
            return -right
        # The slope of expm1 is its result plus 1, which rounds to 0 where the label has hardly a chance.
        steep = (right.detach().exp() * right).masked_fill(torch.isneginf(right), 0.0)
        return -torch.expm1(right.detach()) - (steep - steep.detach())


def _check(sigma: float, nodes: int) -> None:
    checked_number("sigma", sigma, above=0)
    checked_number("nodes", nodes, least=1, whole=True, hint="better 32")


class LogNormalCdf(torch.autograd.Function):
    """``torch.special.log_ndtr``, with a gradient that is right in fp32 too.

    Note:
        torch 2.13's own gradient is ``exp(-x^2 / 2 - log_ndtr(x))``, whose two terms cancel: in fp32 it is 64,930 at
        -10,000, and 0 at -1,000,000.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """``log Phi(x)``."""
        ctx.save_for_backward(x)
        return torch.special.log_ndtr(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """``phi(x) / Phi(x)`` times what comes from above."""
        (x,) = ctx.saved_tensors
        return gradient * _slope(x)


def _slope(x: Tensor) -> Tensor:
    """``phi(x) / Phi(x)``, the derivative of ``log Phi``."""
    return math.sqrt(2 / math.pi) / torch.special.erfcx(-x / math.sqrt(2))


@torch.no_grad()
def _peak(ahead: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """Where ``log phi(z) + sum log Phi(z + ahead)`` is largest, and its width there; both of shape ``(items, 1)``.

    Without it the nodes would miss what is left of the integral where a label is far behind, or has many rivals.
    """
    z = torch.zeros_like(ahead[:, :1])
    for _ in range(10):  # Newton from below a root of a convex decreasing slope: it neither overshoots nor turns back
        moved = z + ahead
        slopes = _slope(moved) * rivals
        # Far behind, slope and distance cancel to nothing in fp32, and their product is 1.
        bends = torch.where(moved < -50, 1.0, slopes * (slopes + moved)) * rivals
        z = z + (slopes.sum(1, keepdim=True) - z) / (1 + bends.sum(1, keepdim=True))
    return z, (1 + bends.sum(1, keepdim=True)).rsqrt()
