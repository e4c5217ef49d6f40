"""Labels of texts as lines, JSON objects, or a table."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence

import typer

#: A text, and the probability of each label; ``None`` for a blank one.
Judged = tuple[str, list[float] | None]


def print_labels(
    rows: Iterable[Judged], names: Sequence[str], *, one_label: bool, as_json: bool = False, as_csv: bool = False
) -> None:
    """Print what applies to each text, as ``predict`` has it.

    Args:
        rows: texts with probabilities, in the order of ``names``.
        names: of the labels.
        one_label: whether a text has the most probable label, or all those that are more probable than not.
        as_json: an object per text.
        as_csv: a table with a column for each label.

    Example:
        >>> print_labels([("好", [0.75, 0.25]), ("", None)], ["good", "bad"], one_label=True)
        good	0.750	好
        <BLANKLINE>
        >>> print_labels([("好", [0.75, 0.6])], ["good", "bad"], one_label=False)
        good,bad	0.750,0.600	好
    """
    table = csv.writer(sys.stdout, lineterminator="\n")
    heading = "label" if one_label else "labels"
    if as_csv:
        table.writerow(["text", heading, *names])
    for source, probabilities in rows:
        shares = dict(zip(names, probabilities, strict=True)) if probabilities is not None else {}
        apply = [name for name in shares if shares[name] > 0.5]
        if one_label and shares:
            apply = [max(shares, key=lambda name: shares[name])]
        if as_json:
            rounded = {name: round(share, 6) for name, share in shares.items()}
            found = next(iter(apply), None) if one_label else apply
            typer.echo(json.dumps({"text": source, heading: found, "probabilities": rounded}, ensure_ascii=False))
        elif as_csv:
            table.writerow([source, ",".join(apply), *(f"{shares[name]:.6f}" if shares else "" for name in names)])
        else:
            line = source.replace("\n", " ")  # of an argument; lines of files hold none
            strengths = ",".join(f"{shares[name]:.3f}" for name in apply)
            typer.echo(f"{','.join(apply)}\t{strengths}\t{line}" if shares else "")
