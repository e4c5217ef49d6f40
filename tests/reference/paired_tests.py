"""Student's distribution by numerical integration, and the sign-flip test by listing every pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product


def two_sided_by_integration(t: float, degrees: int, steps: int = 20_000) -> float:
    """Simpson's rule on the density from 0 to t, which is smooth there."""
    scale = math.gamma((degrees + 1) / 2) / (math.sqrt(degrees * math.pi) * math.gamma(degrees / 2))

    def density(x: float) -> float:
        return scale * (1 + x * x / degrees) ** (-(degrees + 1) / 2)

    width = abs(t) / steps
    inner = sum((4 if step % 2 else 2) * density(step * width) for step in range(1, steps))
    return 1 - 2 * width / 3 * (density(0.0) + inner + density(abs(t)))


def sign_flip_by_listing(differences: Sequence[float]) -> float:
    """The share of sign patterns whose sum is as far from 0 as the observed one."""
    observed = abs(sum(differences))
    patterns = list(product((1, -1), repeat=len(differences)))
    far = 0
    for signs in patterns:
        total = abs(sum(sign * difference for sign, difference in zip(signs, differences, strict=True)))
        far += total > observed or math.isclose(total, observed, rel_tol=0, abs_tol=1e-9)
    return far / len(patterns)
