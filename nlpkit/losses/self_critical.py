"""Policy gradient: raise the probability of samples by how much better than a baseline they are."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32

Baseline = Literal["leave_one_out", "mean", "greedy", "none"]


def policy_gradient(
    log_probs: Tensor,
    rewards: Tensor,
    mask: Tensor | None = None,
    *,
    baseline: Baseline = "leave_one_out",
    greedy: Tensor | None = None,
    length_normalised: bool = False,
) -> Tensor:
    """A loss whose gradient is, on average over samples, that of the expected reward, downwards.

    Source: REINFORCE; ``"greedy"`` is self-critical training, arXiv 1612.00563; kexue.fm/archives/7737
    tells of baselines and of their relation to searches without gradients.

    Args:
        log_probs: of the tokens of K samples from the model, shape ``(inputs, K, length)``.
        rewards: of the samples, shape ``(inputs, K)``; what they are measured in is the user's.
        mask: ``False`` behind the end of a sample, shape of ``log_probs``.
        baseline: what is subtracted from a reward: the mean of the other samples of the same input, the mean of all of
            them, the reward of the model's greedy output, or nothing.
        greedy: rewards of the greedy outputs, shape ``(inputs,)``, for that baseline.
        length_normalised: the mean over a sample's tokens in place of their sum.

    Returns:
        ``-mean over K of (reward - baseline) * log_prob``, shape ``(inputs,)``. The gradient means something, the
        value does not.

    Raises:
        ValueError: shapes do not fit, rewards are not finite, or the baseline cannot be computed.

    Note:
        ``"mean"`` holds a sample's own reward, and gives ``1 - 1 / K`` of the gradient of ``"leave_one_out"``. With
        ``length_normalised`` the gradient is no longer that of the expected reward.

    Example:
        >>> log_probs = torch.tensor([[[-1.0, -1.0], [-2.0, 0.0]]], requires_grad=True)
        >>> mask = torch.tensor([[[True, True], [True, False]]])
        >>> policy_gradient(log_probs, torch.tensor([[1.0, 0.0]]), mask).sum().backward()
        >>> log_probs.grad
        tensor([[[-0.5000, -0.5000],
                 [ 0.5000,  0.0000]]])
    """
    scores = sample_scores(log_probs, mask, length_normalised)
    return -(_advantages(_checked(rewards, scores), baseline, greedy) * scores).mean(1)


def minimum_risk(
    log_probs: Tensor, rewards: Tensor, mask: Tensor | None = None, *, sharpness: float = 0.005
) -> Tensor:
    """Minus the expected reward over samples, as if there were no others.

    Source: minimum risk training, arXiv 1512.02433, with its sharpness.

    Args:
        log_probs: as for ``policy_gradient``; the samples of an input should differ from each other.
        rewards: shape ``(inputs, K)``.
        mask: shape of ``log_probs``.
        sharpness: by which the log-probability of a sample is multiplied before the softmax over samples.

    Returns:
        Shape ``(inputs,)``.

    Raises:
        ValueError: shapes do not fit, rewards are not finite, or the sharpness is not above 0.

    Example:
        >>> minimum_risk(torch.zeros(1, 2, 3), torch.tensor([[1.0, 0.0]])).item()
        -0.5
    """
    checked_number("sharpness", sharpness, above=0)
    scores = sample_scores(log_probs, mask)
    return -((sharpness * scores).softmax(1) * _checked(rewards, scores)).sum(1)


def sample_scores(log_probs: Tensor, mask: Tensor | None = None, length_normalised: bool = False) -> Tensor:
    """Log-probabilities of whole samples, or their means over tokens; shape ``(inputs, K)``.

    Args:
        log_probs: of tokens, shape ``(inputs, K, length)``.
        mask: ``False`` behind the end of a sample, where anything may stand.
        length_normalised: the mean in place of the sum.
    """
    if log_probs.dim() != 3 or (mask is not None and mask.shape != log_probs.shape):
        raise ValueError(
            f"log_probs are of shape {tuple(log_probs.shape)}; give (inputs, samples, length)"
            + ("" if mask is None else f", and a mask of the same shape, not {tuple(mask.shape)}")
        )
    kept = torch.ones_like(log_probs, dtype=torch.bool) if mask is None else mask.bool()
    total = torch.where(kept, at_least_fp32(log_probs), 0.0).sum(-1)
    return total / kept.sum(-1).clamp(min=1) if length_normalised else total


def _checked(rewards: Tensor, scores: Tensor) -> Tensor:
    if rewards.shape != scores.shape:
        raise ValueError(f"rewards are of shape {tuple(rewards.shape)}; give one per sample, {tuple(scores.shape)}")
    if not rewards.isfinite().all():
        raise ValueError("rewards hold NaN or infinity; give a finite number for every sample, empty ones included")
    return rewards.detach().to(scores.dtype)


def _advantages(rewards: Tensor, baseline: Baseline, greedy: Tensor | None) -> Tensor:
    samples = rewards.shape[1]
    if (greedy is not None) != (baseline == "greedy"):
        raise ValueError(
            f"baseline={baseline!r} with greedy={greedy}: give rewards of greedy outputs for 'greedy' alone"
        )
    if greedy is not None:
        if greedy.shape != rewards.shape[:1]:
            raise ValueError(f"greedy is of shape {tuple(greedy.shape)}; give one reward per input, ({len(rewards)},)")
        return rewards - greedy.to(rewards.dtype).unsqueeze(1)
    if baseline == "none":
        return rewards
    if baseline not in ("mean", "leave_one_out"):
        raise ValueError(f"baseline={baseline!r}: give 'leave_one_out', 'mean', 'greedy' or 'none'")
    if samples < 2:
        raise ValueError(
            f"baseline={baseline!r} compares samples of an input, and there is {samples}: draw at least 2"
        )
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred if baseline == "mean" else centred * samples / (samples - 1)
