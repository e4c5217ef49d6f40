"""How dense known texts lie around an embedding, learned by taking noise away: texts of another kind stand out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nlpkit.checked_number import checked_number
from nlpkit.embeddings import Embeddings, as_points

#: Held-out texts are summed up in so many quantiles.
_QUANTILES = 1001
#: Of the noise beside the largest deviation; below, the inverse of the covariance would be rounding.
_LEAST_NOISE = 1e-6


def denoising_loss(energy: Callable[[Tensor], Tensor], points: Tensor, noise: Tensor) -> Tensor:
    """The mean of ``|grad energy(x + e) + e|^2``, least where ``energy = sigma^2 log p + constant``.

    ``p`` is the density of points with noise. The gradient then leads back to the mean of the points that may have
    been there: ``x + grad energy(x)`` is the best denoiser.

    Source: Denoising Density Estimators, arXiv 2001.02728; kexue.fm/archives/7038.

    Args:
        energy: points ``(n, dim)`` to numbers ``(n,)``, twice differentiable.
        points: shape ``(n, dim)``.
        noise: of that shape, normal with deviation ``sigma``.

    Returns:
        Shape ``()``.

    Example:
        >>> points = torch.zeros(1, 2)
        >>> denoising_loss(lambda x: -x.square().sum(1) / 2, points, torch.ones(1, 2)).item()
        0.0
    """
    with torch.enable_grad():
        noisy = (points + noise).detach().requires_grad_()
        (slope,) = torch.autograd.grad(energy(noisy).sum(), noisy, create_graph=True)
        return (slope + noise).square().sum(dim=1).mean()


class EmbeddingDensity(nn.Module):
    """The density of embeddings with a little noise: a Gaussian in closed form, and a network for what it misses.

    Experimental. Embeddings of texts unlike those it was fitted to have a low density.

    Source: Denoising Density Estimators, arXiv 2001.02728; kexue.fm/archives/7038. The Gaussian of mean ``m`` and
    covariance ``C`` with noise is ``-(y - m) (C + sigma^2)^-1 (y - m) / 2``, the squared Mahalanobis distance.

    Args:
        dim: of the embeddings.
        hidden: width of the network's two layers; 0 leaves it out.

    Note:
        Densities are right up to a factor that is the same for all points: the integral over a space of hundreds of
        dimensions is not taken. A module: save its ``state_dict`` as safetensors, and load it into one of the same
        sizes.

    Example:
        >>> known = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
        >>> density = EmbeddingDensity(3, hidden=0).fit(known)
        >>> density.rank(torch.tensor([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])).round(decimals=1)
        tensor([1., 0.])
    """

    sigma: Tensor
    spread: Tensor
    mean: Tensor
    precision: Tensor
    quantiles: Tensor

    def __init__(self, dim: int, hidden: int = 256) -> None:
        super().__init__()
        checked_number("dim", dim, least=1, whole=True)
        checked_number("hidden", hidden, least=0, whole=True)
        self.register_buffer("sigma", torch.zeros((), dtype=torch.float64))
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("precision", torch.eye(dim, dtype=torch.float64))
        self.register_buffer("quantiles", torch.zeros(_QUANTILES, dtype=torch.float64))
        self.network = None
        if hidden:
            self.network = nn.Sequential(
                nn.Linear(dim, hidden), nn.Softplus(), nn.Linear(hidden, hidden), nn.Softplus(), nn.Linear(hidden, 1)
            )

    def fit(
        self,
        embeddings: Embeddings,
        *,
        sigma: float | None = None,
        held_out: float = 0.1,
        steps: int = 1000,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        seed: int = 0,
        show_progress: bool = True,
    ) -> Self:
        """Learn where texts lie.

        Args:
            embeddings: of texts that are in the domain, shape ``(texts, dim)``.
            sigma: deviation of the noise, in the embeddings' unit; by default half of their mean deviation. The
                smaller, the finer, and the more texts it needs.
            held_out: share of texts that are not learned from, against which ``rank`` compares.
            steps: of the network.
            batch_size: points per step.
            learning_rate: of Adam at the start, from where it falls to 0.
            seed: of the draw of held-out texts, batches, noise and the network's weights.
            show_progress: draw a progress bar.

        Returns:
            Itself.

        Raises:
            TypeError: a number is none.
            ValueError: embeddings are of another dimension, not finite or too few, or a number is out of range.
        """
        points = self._checked(embeddings).double()
        held = checked_number("held_out", held_out, above=0, below=1)
        checked_number("steps", steps, least=0, whole=True)
        checked_number("batch_size", batch_size, least=1, whole=True)
        checked_number("learning_rate", learning_rate, above=0)
        checked_number("seed", seed, least=0, whole=True)
        if len(points) < 10:
            raise ValueError(f"{len(points)} embeddings: give at least 10, and hundreds for more than a trial")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(points), generator=generator).to(points.device)
        kept = min(len(points) - 2, max(1, round(held * len(points))))
        others, known = points[order[:kept]], points[order[kept:]]
        spread = known.var(dim=0).mean().sqrt()
        if spread == 0:
            raise ValueError("all embeddings are the same: there is no density to learn")
        if not spread.isfinite():
            raise ValueError(
                "embeddings are so large that their squares are infinite: divide all of them by one number"
            )
        noise = checked_number("sigma", spread.item() / 2 if sigma is None else sigma, above=0)
        self.to(points.device)
        self.sigma = torch.as_tensor(noise, dtype=torch.float64, device=points.device)
        self.spread, self.mean = spread, known.mean(dim=0)
        covariance = (known - self.mean).T @ (known - self.mean) / len(known)
        widest = torch.linalg.eigvalsh(covariance)[-1].sqrt().item()
        checked_number(
            "sigma", noise, above=_LEAST_NOISE * widest, hint="less is lost beside the deviations of the embeddings"
        )
        covariance.diagonal().add_(noise**2)
        self.precision = torch.linalg.inv(covariance).contiguous()
        if self.network is not None:
            self._train_network(known.float(), steps, batch_size, learning_rate, generator, show_progress)
        shares = torch.linspace(0, 1, _QUANTILES, dtype=torch.float64, device=points.device)
        self.quantiles = torch.quantile(self.log_density(others), shares)
        return self

    def log_density(self, embeddings: Embeddings) -> Tensor:
        """Logarithm of the density, up to a constant, shape ``(texts,)``, in fp64."""
        points = self._checked(embeddings, fitted=True)
        with torch.no_grad():
            return self._energy(points.double()) / self.sigma**2

    def score(self, embeddings: Embeddings) -> Tensor:
        """The gradient of ``log_density``, shape ``(texts, dim)``: the way to denser places, in fp64."""
        points = self._checked(embeddings, fitted=True).double()
        with torch.enable_grad():
            points = points.clone().requires_grad_()
            return torch.autograd.grad(self._energy(points).sum(), points)[0] / self.sigma**2

    def denoise(self, embeddings: Embeddings) -> Tensor:
        """The mean of what may have been there before the noise, shape ``(texts, dim)``, in fp64."""
        return self._checked(embeddings).double() + self.sigma**2 * self.score(embeddings)

    def rank(self, embeddings: Embeddings) -> Tensor:
        """Share of held-out texts that lie less dense, from 0 to 1, shape ``(texts,)``; near 0, a text stands out.

        Of texts in the domain, a share of ``q`` has a rank below ``q``.
        """
        found = torch.searchsorted(self.quantiles, self.log_density(embeddings))
        return (found / (_QUANTILES - 1)).clamp(0, 1)

    def _energy(self, points: Tensor) -> Tensor:
        return self.sigma**2 * self._gaussian(points) + self._correction(points)

    def _gaussian(self, points: Tensor) -> Tensor:
        away = points - self.mean
        return -((away @ self.precision) * away).sum(dim=1) / 2

    def _correction(self, points: Tensor) -> Tensor:
        """What the network adds, in units in which embeddings and densities are of size 1."""
        if self.network is None:
            return points.new_zeros(len(points))
        away = (points - self.mean.to(points.dtype)) / self.spread.to(points.dtype)
        found: Tensor = self.network(away.to(next(self.network.parameters()).dtype)).squeeze(1)
        return found.to(points.dtype) * self.sigma.to(points.dtype) ** 2

    def _train_network(
        self, known: Tensor, steps: int, batch_size: int, rate: float, generator: torch.Generator, show_progress: bool
    ) -> None:
        assert self.network is not None
        layers = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        for gain, layer in zip((4.0, 1.0, 0.0), layers, strict=True):  # 0: the Gaussian, at first
            # 4: bent enough for heaps that are narrower than the whole; at 1 two heaps are learned as one.
            nn.init.xavier_uniform_(layer.weight, gain, generator=generator)
            nn.init.zeros_(layer.bias)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        gaussian = self.precision.float() * self.sigma.float() ** 2
        unit, mean = self.sigma.float(), self.mean.float()

        def energy(points: Tensor) -> Tensor:
            away = points - mean
            return -((away @ gaussian) * away).sum(dim=1) / 2 + self._correction(points)

        bar = tqdm(range(steps), desc="learning the density", unit="step", delay=5, leave=False,
                   disable=None if show_progress else True)  # fmt: skip
        for _ in bar:
            rows = torch.randint(len(known), (batch_size,), generator=generator).to(known.device)
            noise = torch.randn(batch_size, known.shape[1], generator=generator).to(known.device) * unit
            loss = denoising_loss(energy, known[rows], noise) / unit**2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def _checked(self, embeddings: Embeddings, fitted: bool = False) -> Tensor:
        points = as_points(embeddings, "embeddings")
        if points.shape[1] != len(self.mean):
            raise ValueError(f"embeddings of shape {tuple(points.shape)}: give (texts, {len(self.mean)})")
        if fitted and self.sigma == 0:
            raise ValueError("this density has not been fitted: call fit(embeddings)")
        return points
