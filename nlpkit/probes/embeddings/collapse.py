"""Whether embeddings have collapsed: into a point, or into a few directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nlpkit.embeddings import Embeddings, as_points, unit_rows


@dataclass(frozen=True)
class CollapseReport:
    """How embeddings fill the sphere.

    Attributes:
        spread: standard deviation of a coordinate of the directions, times the root of the dimension: 1 where they
            are spread evenly, 0 where they are all the same.
        effective_rank: directions that are in use, from 1 to the dimension: the exponential of the entropy of the
            covariance's eigenvalues.
        uniformity: logarithm of the mean of ``exp(-2 d^2)`` over pairs of texts, 0 where all are the same; the lower,
            the more even.
        alignment: mean squared distance of the two views of a text, if these are given.
    """

    spread: float
    effective_rank: float
    uniformity: float
    alignment: float | None = None

    @property
    def collapsed(self) -> bool:
        """Whether directions spread less than a tenth of what they could, or hardly more than one is in use."""
        return self.spread < 0.1 or self.effective_rank < 1.5


def collapse_report(embeddings: Embeddings, others: Embeddings | None = None) -> CollapseReport:
    """Look how embeddings fill the sphere.

    Source: the spread is SimSiam's monitor (arXiv 2011.10566, section 4.1); the effective rank is Roy and Vetterli
    (EUSIPCO 2007); alignment and uniformity are arXiv 2005.10242, equations 1 and 2.

    Args:
        embeddings: at least two, shape ``(texts, dim)``.
        others: embeddings of other views of the same texts, the same shape.

    Returns:
        The report.

    Raises:
        TypeError: embeddings hold no real numbers.
        ValueError: there are fewer than two texts, or views of another shape; or a number is NaN or infinite.

    Note:
        Memory is ``texts x texts``.

    Example:
        >>> report = collapse_report(torch.eye(4))
        >>> round(report.spread, 2), round(report.effective_rank, 2), report.collapsed
        (0.87, 3.0, False)
        >>> collapse_report(torch.ones(4, 4)).collapsed
        True
    """
    points = as_points(embeddings, "embeddings")
    if len(points) < 2:
        raise ValueError(f"embeddings of shape {tuple(points.shape)}: give two texts or more, (texts, dim)")
    directions = unit_rows(points.double())
    centred = directions - directions.mean(dim=0)
    variances = torch.linalg.svdvals(centred).square()
    shares = variances / variances.sum().clamp(min=torch.finfo(torch.double).tiny)
    entropy = torch.special.entr(shares).sum() if variances.sum() > 1e-12 else torch.tensor(0.0)
    distances = torch.pdist(directions).square()
    alignment = None
    if others is not None:
        views = as_points(others, "others")
        if views.shape != points.shape:
            raise ValueError(f"others of shape {tuple(views.shape)} must be views of all {len(points)} texts")
        views = unit_rows(views.double())
        alignment = (directions - views).square().sum(dim=1).mean().item()
    return CollapseReport(
        spread=(centred.square().mean().sqrt() * points.shape[1] ** 0.5).item(),
        effective_rank=entropy.exp().item(),
        uniformity=(-2 * distances).exp().mean().log().item(),
        alignment=alignment,
    )
