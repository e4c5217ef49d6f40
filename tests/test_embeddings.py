"""Directions do not depend on the size of vectors, and are torch's to the last digit where those are right."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nlpkit.embeddings import unit_rows
from nlpkit.losses import InfoNCELoss
from nlpkit.losses.embeddings.non_contrastive import NonContrastiveLoss
from nlpkit.perturbed_masking.impact.distances import cosine

VECTORS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-3, 1.0, 77.0])
def test_ordinary_vectors_have_the_directions_and_gradients_of_torch(dtype: torch.dtype, size: float) -> None:
    ours, theirs = ((VECTORS * size).to(dtype).requires_grad_() for _ in range(2))
    found, wanted = unit_rows(ours), F.normalize(theirs, dim=-1)
    tolerance = {"rtol": 0.0, "atol": 0.0} if dtype.itemsize > 2 else {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(found, wanted, **tolerance)
    weights = torch.arange(5.0).to(dtype)
    (found @ weights).sum().backward()
    (wanted @ weights).sum().backward()
    if dtype.itemsize > 2:
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e-25, 1e-13, 1e25, 1e37])
def test_losses_and_distances_do_not_depend_on_the_size(size: float) -> None:
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    for loss in (InfoNCELoss(), NonContrastiveLoss(torch.nn.Identity())):
        torch.testing.assert_close(loss(VECTORS * size, groups), loss(VECTORS, groups))
    torch.testing.assert_close(cosine(VECTORS[:3] * size, VECTORS[3:] * size), cosine(VECTORS[:3], VECTORS[3:]))


def test_nothing_has_no_direction_and_a_finite_gradient() -> None:
    nothing = torch.zeros(2, 3, requires_grad=True)
    unit_rows(nothing).sum().backward()
    assert nothing.grad is not None and nothing.grad.isfinite().all()
    assert unit_rows(torch.zeros(0, 3)).shape == (0, 3)
