"""What the tagging recipe reports: entity-level scores, and the entities that labels of words cannot express."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nlpkit.labels import Span, bio_to_spans, find_inexpressible_spans, score_spans
from nlpkit.wobert import WoBertTokenizer


def score(
    rows: np.ndarray,
    part: Sequence[dict[str, Any]],
    to_labels: Callable[[Sequence[int], str], list[str]],
    words: WoBertTokenizer,
) -> dict[str, dict[str, float]]:
    """Exact-match scores of predicted classes, for all types together and for each.

    ``inside_words`` counts the entities that begin or end inside a token of ``words``; of those there is only recall.
    """
    gold = [bio_to_spans(example["labels"]) for example in part]
    found = [bio_to_spans(to_labels(row.tolist(), example["text"])) for row, example in zip(rows, part, strict=True)]
    scores = {
        name: vars(scores) | {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
        for name, scores in score_spans(gold, found).items()
    }
    inside = [spans_inside_words(spans, example["text"], words) for spans, example in zip(gold, part, strict=True)]
    total = sum(map(len, inside))
    correct = sum(len(some.intersection(spans)) for some, spans in zip(inside, found, strict=True))
    return scores | {"inside_words": {"gold": total, "correct": correct, "recall": correct / total if total else 0.0}}


def spans_inside_words(spans: list[Span], text: str, words: WoBertTokenizer) -> set[Span]:
    """The spans that labels of word tokens cannot express."""
    offsets = words(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return set(find_inexpressible_spans(spans, offsets, len(text)))


def summarise(name: str, values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation; the deviation of one run is 0."""
    return {
        f"{name}_mean": statistics.mean(values),
        f"{name}_std": statistics.stdev(values) if len(values) > 1 else 0.0,
    }
