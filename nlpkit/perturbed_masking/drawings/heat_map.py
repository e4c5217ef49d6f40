"""Impact matrices as heat maps, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from nlpkit.perturbed_masking.trees.impact_matrix import as_impact
from nlpkit.pictures import picture


def save_heat_map(impact: ArrayLike, words: Sequence[str], path: str | Path, *, dpi: int = 150) -> None:
    """Draw an impact matrix: the darker a cell, the greater the impact of its column's unit on its row's.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, shape ``(n, n)``; the diagonal is left grey.
        words: the units' names, one each.
        path: file to write or replace: ``.svg``, ``.png`` or ``.pdf``.
        dpi: pixels per inch; a cell is a quarter of an inch.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the matrix is not square or not finite, the words do not fit it, or, unless it is SVG, no
            installed font has their characters.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_heat_map([[0.0, 1.0], [2.0, 0.0]], ["我", "来"], Path(folder, "impact.svg"))
        ...     Path(folder, "impact.svg").read_text("utf-8").count("我")
        2
    """
    scores = as_impact(impact)
    if len(scores) == 0 or len(words) != len(scores):
        raise ValueError(
            f"{len(words)} words for an impact matrix of shape {scores.shape}; give one per row, 1 or more"
        )
    side = 0.25 * len(words) + 1.6
    with picture(path, words, dpi=dpi) as figure:
        figure.set_size_inches(side + 0.6, side)
        axes = figure.add_subplot()
        # Cells as shapes, not as an image, so that SVG and PDF stay sharp.
        cells = axes.pcolormesh(np.ma.masked_array(scores, mask=np.eye(len(scores), dtype=bool)), cmap="Blues")
        axes.set_facecolor("#eeeeee")
        axes.set_aspect("equal")
        axes.invert_yaxis()
        places = np.arange(len(words)) + 0.5
        # Words are never markup: a dollar sign would start a formula.
        names = [word.replace("$", r"\$") for word in words]
        axes.set_xticks(places, names, rotation=45, ha="left", rotation_mode="anchor")
        axes.set_yticks(places, names)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0)
        axes.set_xlabel("masked beside it")
        axes.set_ylabel("predicted")
        if len(words) > 1:
            figure.colorbar(cells, shrink=0.6)
