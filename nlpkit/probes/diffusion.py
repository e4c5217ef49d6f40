"""Two steps of diffusion samplers, experimental: the best variance of the way back, and the way without noise.

A point is mixed with noise at each time, ``x = signal * x0 + noise * e``, with ``e`` standard normal; towards the
data, ``signal`` grows to 1 and ``noise`` shrinks to 0. "Earlier" is the time nearer the data.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: A number, or one per time or per point.
Level = Tensor | float


def reverse_variance(
    noise_power: Level,
    signal: Level,
    noise: Level,
    earlier_signal: Level,
    earlier_noise: Level,
    *,
    stochasticity: Level = 1.0,
) -> Tensor:
    """The variance of the step back that is best for a model that predicts noise. Experimental.

    Source: Analytic-DPM, arXiv 2201.06503, theorem 1; kexue.fm/archives/9245. With
    ``s = stochasticity * earlier_noise * jump / noise`` and ``g = earlier_signal - signal * sqrt(earlier_noise^2 -
    s^2) / noise``, it is ``s^2 + g^2 (noise / signal)^2 (1 - noise_power)``; ``jump`` is the noise that is added
    between the two times.

    Args:
        noise_power: the mean square of the model's predictions at this time, per dimension. The best model's lies
            between 0 and 1; what an imperfect one gives is clipped to that.
        signal: above 0.
        noise: above 0.
        earlier_signal: at least ``signal``.
        earlier_noise: from 0 to ``noise``.
        stochasticity: 1 makes ``s^2`` the variance given the data, as DDPM; 0 none, as DDIM.

    Returns:
        Variances per dimension, in fp64, of the shape that all arguments are broadcast to.

    Raises:
        ValueError: a level is outside its range or not finite, or noise shrinks relative to the signal on the way from
            the data.

    Example:
        >>> reverse_variance(1.0, 0.6, 0.8, 0.8, 0.6)  # the model knows the data: what is left is s^2
        tensor(0.2461, dtype=torch.float64)
    """
    power, a, b, earlier_a, earlier_b, share = _levels(
        noise_power, signal, noise, earlier_signal, earlier_noise, stochasticity
    )
    if ((share < 0) | (share > 1)).any():
        raise ValueError(f"stochasticity={stochasticity} must lie from 0 to 1")
    jump = b**2 - (a / earlier_a * earlier_b) ** 2
    given_data = (share * earlier_b) ** 2 * jump / b**2
    gain = earlier_a - a * (earlier_b**2 - given_data).clamp(min=0).sqrt() / b
    return given_data + gain**2 * (b / a) ** 2 * (1 - power.clamp(0, 1))


def probability_flow_step(
    state: Tensor,
    predicted_noise: Tensor,
    signal: Level,
    noise: Level,
    earlier_signal: Level,
    earlier_noise: Level,
) -> Tensor:
    """One step back along the ordinary differential equation that has the diffusion's distributions. Experimental.

    In ``y = x / signal`` and ``r = noise / signal`` the equation is ``dy / dr = predicted noise``, whatever the
    schedule; this is Euler's step, which is DDIM.

    Source: arXiv 2011.13456, equation 13; kexue.fm/archives/9228; arXiv 2010.02502, equation 13 (DDIM).

    Args:
        state: points, any shape.
        predicted_noise: the model's, of that shape; ``-noise * score``.
        signal: above 0; as ``reverse_variance``, levels of points are broadcast to the state's shape.
        noise: above 0.
        earlier_signal: at least ``signal``.
        earlier_noise: from 0 to ``noise``.

    Returns:
        Points at the earlier time, in the state's dtype.

    Raises:
        TypeError: the state is of whole numbers.
        ValueError: a level is outside its range or not finite, or the shapes differ.

    Example:
        >>> probability_flow_step(torch.tensor([1.0]), torch.tensor([0.5]), 0.6, 0.8, 1.0, 0.0)  # to the data at once
        tensor([1.0000])
    """
    if not state.is_floating_point():
        raise TypeError(f"the state is of {state.dtype}: a step is no whole number; give state.float()")
    if state.shape != predicted_noise.shape:
        raise ValueError(
            f"predicted_noise of shape {tuple(predicted_noise.shape)} is not that of the state, {tuple(state.shape)}"
        )
    a, b, earlier_a, earlier_b = _levels(signal, noise, earlier_signal, earlier_noise)[-4:]
    ratio = earlier_a / a
    return (ratio * state + (earlier_b - ratio * b) * predicted_noise).to(state.dtype)


def _levels(*given: Level) -> list[Tensor]:
    """All in fp64; signal, noise and the earlier ones are the second to fifth, or all four."""
    levels = [torch.as_tensor(one, dtype=torch.float64) for one in given]
    a, b, earlier_a, earlier_b = levels[1:5] if len(levels) > 4 else levels
    finite = all(one.isfinite().all() for one in levels)
    inside = (a > 0) & (b > 0) & (earlier_a >= a) & (earlier_b >= 0) & (earlier_b <= b)
    if not (finite and inside.all()):
        others = "" if finite else "; one of the numbers given is NaN or infinite"
        raise ValueError(
            f"signal={a.tolist()}, noise={b.tolist()}, earlier_signal={earlier_a.tolist()}, earlier_noise="
            f"{earlier_b.tolist()}: towards the data the signal grows, from above 0, and the noise shrinks, to 0"
            + others
        )
    return levels
