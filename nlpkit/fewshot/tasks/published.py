"""FewCLUE's published results, to stand beside one's own: another model size, pre-trained on far more text.

Source: Table 3 of arXiv 2107.07498, shown in the README of github.com/CLUEbenchmark/FewCLUE (commit 62a02c6): accuracy
in percent on ``test_public``, mean and standard deviation over the five splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nlpkit.fewshot.tasks.fewclue import FEWCLUE

SOURCE = "FewCLUE, arXiv 2107.07498, Table 3; test_public, five splits"


@dataclass(frozen=True)
class PublishedRow:
    """Figures that others measured.

    Args:
        method: as the source calls it.
        model: what it was measured with.
        cells: task to mean and, where one is given, standard deviation, in percent.
    """

    method: str
    model: str
    cells: Mapping[str, tuple[float, float | None]]


def _row(method: str, model: str, figures: str) -> PublishedRow:
    cells = {}
    for task, figure in zip(FEWCLUE, figures.split(), strict=True):
        mean, _, deviation = figure.partition("±")
        cells[task] = (float(mean), float(deviation) if deviation else None)
    return PublishedRow(method, model, cells)


ROBERTA = "RoBERTa-wwm-ext, 12 layers"
ERNIE = "ERNIE 1.0, 12 layers"
GPT = "NEZHA-Gen, GPT"

#: One over the number of labels, except OCNLI's; that task's public test, too, holds its three labels alike.
MAJORITY = _row("majority", "none", "50.0 1.5 6.7 0.8 38.1 50.0 50.0 14.3 50.0")
HUMAN = _row("human", "none", "90.0 68.0 71.0 66.0 90.3 88.0 84.0 87.1 98.0")
ZERO_SHOT_GPT = _row("zero-shot", GPT, "57.5 26.2 37.0 19.0 34.4 50.0 50.1 65.6 50.3")

ROBERTA_ROWS = (
    _row("fine-tuning", ROBERTA, "65.4±7.7 35.5±2.5 49.0±1.6 32.8±1.7 33.0±0.34 60.7±9.1 50.0±0.1 14.9±0.4 55.6±14"),
    _row("zero-shot", ROBERTA, "85.2 12.6 25.3 27.7 40.3 50.6 52.2 57.6 50.0"),
    _row("PET", ROBERTA, "86.7±1.0 51.7±1.0 54.5±1.2 46.0±1.1 44.0±0.4 56.0±5.0 59.4±1.3 61.2±1.1 57.5±2.7"),
    _row("LM-BFF", ROBERTA, "85.6±0.9 54.4±3.1 53.0±2.1 47.1±2.6 41.6±4.0 57.6±3.4 51.7±2.4 61.2±1.1 54.7±6.7"),
    _row("P-tuning", ROBERTA, "88.3±0.7 56.0±1.1 54.2±1.0 57.6±0.9 41.9±1.9 60.9±2.9 62.9±2.3 59.3±1.4 58.1±2.2"),
    _row("EFL", ROBERTA, "84.9±0.4 45.0±2.3 52.1±0.8 42.7±1.1 66.2±1.4 71.8±0.8 56.6±1.8 30.9±1.9 53.0±3.1"),
)
ERNIE_ROWS = (
    _row("fine-tuning", ERNIE, "66.5±6.3 57.0±3.4 51.6±3.3 42.1±3.7 32.0±1.6 60.4±5.7 60.1±3.5 15.0±0.4 50.3±1.4"),
    _row("PET", ERNIE, "84.0±4.8 59.9±3.0 56.4±0.8 50.3±2.8 38.1±0.3 58.4±3.4 61.1±4.4 40.6±2.5 58.7±1.4"),
    _row("P-tuning", ERNIE, "80.6±5.3 56.6±6.6 55.9±1.3 52.6±5.0 35.7±0.8 60.8±5.3 51.8±3.5 39.6±1.7 55.7±2.0"),
    _row("EFL", ERNIE, "76.7±6.3 47.9±2.3 56.3±0.6 52.1±2.2 48.7±2.5 54.6±8.1 52.8±3.2 30.3±4.3 52.3±3.7"),
)
