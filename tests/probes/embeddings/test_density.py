"""The density against closed forms: of Gaussian data, and of a mixture of two."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nlpkit.probes import EmbeddingDensity, denoising_loss

EXACT = {"rtol": 1e-9, "atol": 1e-9}
SIGMA = 0.5


def gaussian_points(count: int, seed: int = 0) -> Tensor:
    """With a known covariance of three dimensions."""
    mixing = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.3, 0.1]], dtype=torch.float64)
    drawn = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn @ mixing.T + torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def test_on_gaussian_data_it_is_the_closed_form() -> None:
    points = gaussian_points(400)
    density = EmbeddingDensity(3, hidden=0).fit(points, sigma=SIGMA, held_out=0.001)  # one is held out
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    known = points[order[1:]]
    noisy = torch.distributions.MultivariateNormal(
        known.mean(0), torch.cov(known.T, correction=0) + SIGMA**2 * torch.eye(3, dtype=torch.float64)
    )
    places = gaussian_points(20, seed=1).requires_grad_()
    expected = noisy.log_prob(places)
    found = density.log_density(places.detach())
    torch.testing.assert_close(found - found[0], (expected - expected[0]).detach(), **EXACT)
    (slope,) = torch.autograd.grad(expected.sum(), places)
    torch.testing.assert_close(density.score(places.detach()), slope, **EXACT)
    # the mean of x given y = x + noise
    covariance = torch.cov(known.T, correction=0)
    away = (places - known.mean(0)).detach()
    posterior = known.mean(0) + away @ torch.linalg.solve(covariance + SIGMA**2 * torch.eye(3), covariance)
    torch.testing.assert_close(density.denoise(places.detach()), posterior, rtol=1e-8, atol=1e-8)


def test_the_loss_is_least_at_the_closed_form_where_it_is_the_variance_that_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    variance = torch.tensor([4.0, 0.25], dtype=torch.float64)
    points = torch.randn(200_000, 2, generator=generator, dtype=torch.float64) * variance.sqrt()
    noise = torch.randn(200_000, 2, generator=generator, dtype=torch.float64) * SIGMA

    def loss(share: float) -> float:
        return denoising_loss(
            lambda y: -share * (y.square() * SIGMA**2 / (variance + SIGMA**2)).sum(1) / 2, points, noise
        ).item()

    stays = (SIGMA**2 * variance / (variance + SIGMA**2)).sum().item()
    assert loss(1.0) == pytest.approx(stays, rel=0.01)
    assert loss(1.0) < min(loss(0.8), loss(1.2))


def mixture_points(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randint(2, (count, 1), generator=generator) * 6.0 - 3.0
    return torch.randn(count, 2, generator=generator) * 0.5 + torch.cat([sides, torch.zeros(count, 1)], dim=1)


def test_the_network_finds_two_heaps_where_a_gaussian_sees_one() -> None:
    """Against the closed form of a mixture of two Gaussians with noise."""
    points = mixture_points(2000, seed=0)
    learned = EmbeddingDensity(2, hidden=32).fit(
        points, sigma=SIGMA, steps=300, learning_rate=1e-2, show_progress=False
    )
    gaussian = EmbeddingDensity(2, hidden=0).fit(points, sigma=SIGMA)
    places = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [-2.0, 0.5], [2.0, -0.5], [1.5, 0.0], [4.0, 0.5]])
    heaps = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
    exact = (-(places[:, None] - heaps[None]).square().sum(-1) / 2 / (0.5**2 + SIGMA**2)).logsumexp(1)
    error, wrong = (found.log_density(places) - exact for found in (learned, gaussian))
    assert 2 * error.std() < wrong.std()
    between, beside = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    assert learned.log_density(between) < learned.log_density(beside) - 4  # exactly, 9 below
    assert gaussian.log_density(between) > gaussian.log_density(beside)
    assert learned.rank(between) < 0.05 < 0.95 < gaussian.rank(between)


def test_ranks_of_texts_in_the_domain_are_spread_evenly() -> None:
    density = EmbeddingDensity(3, hidden=0).fit(gaussian_points(4000), held_out=0.5)
    ranks = density.rank(gaussian_points(4000, seed=1))
    for share in (0.05, 0.5, 0.95):
        assert (ranks < share).double().mean().item() == pytest.approx(share, abs=0.03)


def test_it_is_saved_and_fitted_alike_again(tmp_path: object) -> None:
    points = mixture_points(200, seed=0)
    density = EmbeddingDensity(2, hidden=8).fit(points, steps=20, seed=3, show_progress=False)
    save_file(density.state_dict(), f"{tmp_path}/density.safetensors")
    again = EmbeddingDensity(2, hidden=8)
    again.load_state_dict(load_file(f"{tmp_path}/density.safetensors"))
    assert torch.equal(again.rank(points), density.rank(points))
    torch.rand(5)
    refitted = EmbeddingDensity(2, hidden=8).fit(points, steps=20, seed=3, show_progress=False)
    assert torch.equal(refitted.log_density(points), density.log_density(points))


def test_bad_input_is_named() -> None:
    density = EmbeddingDensity(2, hidden=0)
    with pytest.raises(ValueError, match=r"embeddings of shape \(3, 4\): give \(texts, 2\)"):
        density.fit(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"embeddings: row 1 holds NaN or infinity"):
        density.fit(torch.tensor([[0.0, 0.0], [torch.nan, 0.0]]))
    with pytest.raises(ValueError, match="3 embeddings: give at least 10"):
        density.fit(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="all embeddings are the same"):
        density.fit(torch.zeros(30, 2))
    with pytest.raises(ValueError, match="sigma=0: give a finite number above 0"):
        density.fit(torch.randn(30, 2), sigma=0)
    with pytest.raises(ValueError, match="held_out=1"):
        density.fit(torch.randn(30, 2), held_out=1)
    with pytest.raises(ValueError, match="this density has not been fitted"):
        density.rank(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="dim=0: give a whole number at least 1"):
        EmbeddingDensity(0)


def test_arrays_are_embeddings() -> None:
    points = gaussian_points(100)
    density = EmbeddingDensity(3, hidden=0).fit(points.numpy())
    assert torch.equal(density.rank(points.numpy()), density.rank(points))
    assert torch.equal(density.denoise(points.numpy()), density.denoise(points))


def test_noise_that_is_lost_is_refused() -> None:
    flat = torch.cat([gaussian_points(100), torch.ones(100, 1)], dim=1)
    for points in (gaussian_points(100), flat):
        with pytest.raises(ValueError, match=r"sigma=1e-200: give a finite number above .*; less is lost"):
            EmbeddingDensity(points.shape[1], hidden=0).fit(points, sigma=1e-200)
    density = EmbeddingDensity(4, hidden=0).fit(flat, sigma=1e-3)
    assert density.rank(flat[:1] + 9).item() == 0
    with pytest.raises(TypeError, match=r"seed=1.5: give a whole number"):
        EmbeddingDensity(4, hidden=0).fit(flat, seed=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"embeddings are so large that their squares are infinite"):
        EmbeddingDensity(4, hidden=0).fit(flat.double() * 1e200)
