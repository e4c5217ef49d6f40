"""Calibration errors and the best temperature by loops, from their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def binned_error(confidences: Sequence[float], hits: Sequence[float], bins: int) -> float:
    """Bins of equal width, each with its upper end."""
    total = 0.0
    for number in range(bins):
        inside = [
            (confidence, hit)
            for confidence, hit in zip(confidences, hits, strict=True)
            if number / bins < confidence <= (number + 1) / bins or (number == 0 and confidence == 0)
        ]
        total += abs(sum(confidence - hit for confidence, hit in inside))
    return total / len(confidences)


def equal_mass_error(confidences: Sequence[float], hits: Sequence[float], bins: int) -> float:
    """Bins of equally many, of numbers that all differ and are a multiple of the bins."""
    pairs = sorted(zip(confidences, hits, strict=True))
    size = len(pairs) // bins
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return sum(abs(sum(c for c, _ in chunk) - sum(h for _, h in chunk)) / size for chunk in chunks) / bins


def cross_entropy(logits: Sequence[Sequence[float]], classes: Sequence[int], temperature: float) -> float:
    """In nats per row."""
    total = 0.0
    for row, right in zip(logits, classes, strict=True):
        total += math.log(sum(math.exp((one - row[right]) / temperature) for one in row))
    return total / len(classes)
