"""Amos written out with numpy from its formula, entry by entry; shares nothing with the library."""

from __future__ import annotations

from typing import Any

import numpy as np


def amos_trajectory(
    theta: Any, gradients: Any, *, lr: float, eta: float, axis: int | None, beta: float, zeta: float = 0.25,
    extra_l2: float = 0.0, momentum: float = 0.0,
) -> list[Any]:  # fmt: skip
    """The tensor after each step, given the gradient of each step and the axis whose indices have slots."""
    theta, v, b, mean = theta.copy(), None, None, np.zeros_like(theta)
    states = []
    for step, gradient in enumerate(gradients, start=1):
        squares = np.moveaxis(gradient**2, axis, 0) if axis is not None else gradient[None] ** 2
        g2 = np.array([row.mean() for row in squares])
        v = np.zeros_like(g2) if v is None else v
        b = np.zeros_like(g2) if b is None else b
        v = beta * v + (1 - beta) * g2
        r = (1 - beta**step) / v
        gamma = lr**2 * r * g2 / np.sqrt(1 + zeta * np.sqrt(lr) * b)
        d = 1 / (1 + zeta * np.sqrt(lr * eta) * b)
        change = np.zeros_like(theta)
        for place in np.ndindex(theta.shape):
            slot = 0 if axis is None else place[axis]
            decay = (gamma[slot] / 2 + extra_l2) * theta[place]
            change[place] = d[slot] * (decay + lr * eta * np.sqrt(r[slot]) * gradient[place])
        b = b + gamma * (1 + b)
        mean = momentum * mean + (1 - momentum) * change
        theta = theta - mean
        states.append(theta)
    return states
