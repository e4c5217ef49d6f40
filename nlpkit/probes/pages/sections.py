"""What a page on a model says: tables, each with a sentence on how to read it."""

from __future__ import annotations

from math import isinf
from typing import NamedTuple

from nlpkit.probes.pages.model_probe import ModelProbe
from nlpkit.probes.positions.constant_texts import MARKS
from nlpkit.probes.positions.identifiability import TITLES
from nlpkit.probes.training_mode.normalisations import NormalisationUse


class Section(NamedTuple):
    """A table with its title."""

    title: str
    says: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(probe: ModelProbe) -> tuple[Section, ...]:
    """The tables of a page.

    Args:
        probe: what was found.

    Returns:
        In the order of the page; none is empty.
    """
    return tuple(
        one for one in (_positions(probe), _dropout(probe), _normalisations(probe), _embeddings(probe)) if one.rows
    )


def facts(probe: ModelProbe) -> str:
    """A model in one line.

    Args:
        probe: what was found.
    """
    room = "any length" if probe.room is None else f"up to {probe.room} tokens"
    return f"{probe.model}: {probe.parameters:,} parameters, {probe.vocabulary:,} tokens, texts of {room}"


def _positions(probe: ModelProbe) -> Section:
    report = probe.positions
    stacks = dict.fromkeys(case.stack for case in report.cases)
    rows = [
        (
            stack,
            *(f"{case.verdict} {case.gap:.0e}" for case in (report.case(kind, stack) for kind in MARKS)),
            f"{report.case('none', stack).layers[0]:.0%} to {report.case('none', stack).accuracy:.0%}",
        )
        for stack in stacks
    ]
    says = (
        f"Can it count? {report.length} identical tokens go in; the number is how far positions differ at most. "
        f"Last, how many of them a linear probe finds, from the embeddings to the last layer; chance is "
        f"{1 / report.length:.0%}."
    )
    return Section("Positions", says, ("stack", *(TITLES[kind] for kind in MARKS), "linear probe"), tuple(rows))


def _dropout(probe: ModelProbe) -> Section:
    report = probe.dropout
    rows = [
        (use.place or "the model itself", str(use.kind), f"{use.probability:g}", str(use.calls)) for use in report.uses
    ]
    rows += [(place, "declared, not run", f"{probability:g}", "0") for place, probability in report.unused]
    says = (
        "No dropout is drawn: two passes are equal, and techniques that need them to differ do nothing."
        if report.silent
        else f"In training it changes the output by {report.noise:.0%} of its size, on random tokens or your batch."
    )
    return Section("Dropout", says, ("place", "drawn by", "probability", "calls"), tuple(rows))


def _normalisations(probe: ModelProbe) -> Section:
    uses = probe.normalisations
    says = (
        "What is divided by, at 5, 50 and 95 %, and how many times as fast what comes before learns for it; then the "
        "share of eps."
    )
    columns: tuple[str, ...] = ("place", "kind", "divides by", "rate", "eps")
    rows: tuple[tuple[str, ...], ...] = tuple(
        (use.place, use.kind, _range(use.spreads), _range(use.rates), f"{use.eps_share:.0e}") for use in uses
    )
    if any(use.batch is not None for use in uses):
        says += " Last, after how many steps batch norm has forgotten one half."
        columns += ("half-life",)
        rows = tuple((*row, _half_life(use)) for row, use in zip(rows, uses, strict=True))
    return Section("Normalisation", says, columns, rows)


def _embeddings(probe: ModelProbe) -> Section:
    found = probe.embeddings
    row = (
        f"{probe.dim}",
        f"{probe.recommended_dim}",
        f"{found.effective_rank:.0f}",
        f"{found.spread:.2f}",
        f"{found.uniformity:.1f}",
    )
    says = (
        "Rows of the vocabulary: their width, beside what inner products need to tell pairs of so many words apart "
        "(8.33 ln N, no rule for states), directions in use, and how evenly they spread (1 evenly, 0 a point)."
    )
    return Section("Embeddings", says, ("width", "8.33 ln N", "effective rank", "spread", "uniformity"), (row,))


def _range(numbers: tuple[float, float, float]) -> str:
    return " ".join(f"{one:.2g}" for one in numbers)


def _half_life(use: NormalisationUse) -> str:
    if use.batch is None:
        return ""
    return "never" if isinf(use.batch.half_life) else f"{use.batch.half_life:.1f}"
