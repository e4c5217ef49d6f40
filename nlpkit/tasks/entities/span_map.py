"""The score of every span of a text, as numbers and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from nlpkit.losses.loss import at_least_fp32
from nlpkit.modes import evaluating
from nlpkit.pictures import picture
from nlpkit.tasks.entities.recognizer import EntityRecognizer
from nlpkit.tasks.given_texts import given_texts


class SpanMap(NamedTuple):
    """What a head that scores spans makes of a text.

    Args:
        units: where an entity may begin or end: the characters of each one.
        types: of entities.
        scores: of a span from unit ``i`` to unit ``j``, shape ``(types, units, units)``; an entity is one above 0, and
            what lies before ``i`` is no span, whatever stands there.
    """

    units: Sequence[str]
    types: Sequence[str]
    scores: ArrayLike


def span_map(recognizer: EntityRecognizer, text: str) -> SpanMap:
    """Score every span of a text.

    Args:
        recognizer: trained, with a head that scores spans.
        text: within its ``max_length``.

    Returns:
        The scores in fp32 or fp64, -inf where there is no span.

    Raises:
        TypeError: the text is no string.
        ValueError: the head scores no spans, or the text is too long or blank.

    Example:
        >>> recognizer = EntityRecognizer.from_pretrained("wobert-mini-zh", types=["LOC", "PER"], units="characters")
        >>> found = span_map(recognizer, "在 北京")
        >>> found.units, found.scores.shape
        (['在', '北', '京'], (2, 3, 3))
    """
    config = recognizer.model.config
    if not config.scores_spans:
        raise ValueError(
            f"head={config.head!r} scores labels, not spans; train one with head='global_pointer' or "
            "'efficient_global_pointer'"
        )
    (text,) = given_texts([text])
    read = recognizer.collator().read([text])
    places = [place for place, (start, end) in enumerate(read.offsets[0]) if start < end]
    if not places:
        raise ValueError(f"text {text!r} is blank and has no span")
    with evaluating(recognizer.model), torch.no_grad():
        scores = recognizer.model(**read.batch.to(recognizer.model.device)).scores
    whole = at_least_fp32(scores.of_types(0, scores.types))[0].cpu().numpy()
    units = [text[start:end] for start, end in (read.offsets[0][place] for place in places)]
    return SpanMap(units, config.entity_types, whole[:, places][:, :, places])


def plot_span_map(spans: SpanMap, path: str | Path) -> None:
    """Draw the score of every span, a panel for each type: first units down, last units across, entities in boxes.

    Args:
        spans: of a text, at best of one line.
        path: the file, see ``nlpkit.pictures.picture``; the same scores give the same file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
        ValueError: units, types and scores do not fit one another, or a score is NaN.
    """
    scores, length = np.asarray(spans.scores, dtype=float), len(spans.units)
    if not spans.types or not length or scores.shape != (len(spans.types), length, length):
        raise ValueError(
            f"scores of shape {scores.shape} for {len(spans.types)} types and {length} units; give one for each type, "
            "first and last unit"
        )
    is_span = np.triu(np.ones((length, length), dtype=bool))
    if np.isnan(scores[:, is_span]).any():
        raise ValueError("scores hold NaN: the weights are broken, as after training in fp16; train the model again")
    columns = min(3, len(spans.types))
    rows = math.ceil(len(spans.types) / columns)
    side = max(1.6, 0.19 * length)
    known = scores[:, is_span][np.isfinite(scores[:, is_span])]
    lowest, highest = min([-1.0, *known]), max([1.0, *known])
    names = [unit.replace("$", r"\$") for unit in spans.units]  # never markup
    with picture(path, [*spans.units, *spans.types]) as figure:
        from matplotlib.colors import TwoSlopeNorm

        colours = TwoSlopeNorm(0.0, lowest, highest)  # white is the border, however far scores go on either side
        figure.set_size_inches(columns * (side + 0.3) + 0.9, rows * (side + 0.5) + 0.4)
        panels = []
        for number, (kind, given) in enumerate(zip(spans.types, scores, strict=True)):
            axes = figure.add_subplot(rows, columns, number + 1)
            cells = axes.pcolormesh(np.ma.masked_array(given, ~is_span), cmap="RdBu_r", norm=colours)
            axes.set_facecolor("0.93")
            axes.set_aspect("equal")
            axes.invert_yaxis()
            for first, last in zip(*np.nonzero(is_span & (given > 0)), strict=True):
                axes.plot(last + np.array([0, 1, 1, 0, 0]), first + np.array([0, 0, 1, 1, 0]), "k", linewidth=1.2)
            axes.set_xticks(np.arange(length) + 0.5, names, fontsize=8)
            axes.set_yticks(np.arange(length) + 0.5, names, fontsize=8)
            axes.tick_params(length=0)
            axes.set_title(kind.replace("$", r"\$"), fontsize=10)
            panels.append(axes)
        figure.supxlabel("last", fontsize=9)
        figure.supylabel("first", fontsize=9)
        bar = figure.colorbar(cells, ax=panels, ticks=[lowest, 0, highest], format="%.0f")
        bar.set_label("score; an entity is above 0", fontsize=8)
