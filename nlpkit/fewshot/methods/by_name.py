"""The methods that can be asked for by name, on the command line and in recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nlpkit.fewshot.grid.protocol import Method, SettingsOf
from nlpkit.fewshot.grid.results import RunResult
from nlpkit.fewshot.methods import prompting
from nlpkit.fewshot.methods.baselines import majority
from nlpkit.fewshot.methods.linear import frozen_means, refuse_missing_scikit_learn, tf_idf

#: Name to method. A method of one's own needs no entry here: ``run_grid`` takes any function.
METHODS: Mapping[str, Method] = {
    "majority": majority,
    "tf-idf": tf_idf,
    "frozen-means": frozen_means,
    "zero-shot": prompting.zero_shot,
    "zero-shot-calibrated": prompting.zero_shot_calibrated,
    "zero-shot-masked-lm": prompting.zero_shot_masked_lm,
    "fine-tuning": prompting.fine_tuning,
    "pet": prompting.pet,
    "pet-mlm": prompting.pet_mlm,
    "pet-mlm-supervised": prompting.pet_mlm_supervised,
    "p-tuning": prompting.p_tuning,
    "adapet": prompting.adapet,
    "lm-bff": prompting.lm_bff,
    "efl": prompting.efl,
    "ipet": prompting.ipet,
}


#: Methods that read no model, so that none can be named behind them.
WITHOUT_MODEL = ("majority", "tf-idf")


class MethodRow(NamedTuple):
    """A row of a grid: a method, and the model that it alone is run with.

    Args:
        method: the method.
        name: its name, by which settings of a task are written.
        model: folder, shipped name or repository; ``None`` is the model of the grid.
    """

    method: Method
    name: str
    model: str | None


def rows_named(names: Sequence[str]) -> dict[str, MethodRow]:
    """The rows asked for: names of methods, or ``method@model`` for another model than the grid's.

    Args:
        names: e.g. ``frozen-means@my-encoder``; the model is a folder, the name of a shipped model or a repository.

    Returns:
        What a row is called in results, ``method@`` and the last part of the model's path, to the row.

    Raises:
        ImportError: a method needs scikit-learn, which is not installed.
        ValueError: a method is unknown, which the message answers by those there are; it reads no model; or two models
            would be called alike.

    Example:
        >>> list(rows_named(["majority", "frozen-means@models/my-encoder"]))
        ['majority', 'frozen-means@my-encoder']
    """
    rows: dict[str, MethodRow] = {}
    for given in names:
        name, at, model = given.partition("@")
        if name not in METHODS:
            raise ValueError(f"unknown method {name!r}; there are {', '.join(METHODS)}")
        if METHODS[name] in (tf_idf, frozen_means):
            refuse_missing_scikit_learn()
        if at and name in WITHOUT_MODEL:
            raise ValueError(f"{given}: {name} reads no model; write {name}")
        if at and not Path(model).name:
            raise ValueError(f"{given}: the model is missing; write {name}@MODEL, or {name} for the grid's own")
        row = MethodRow(METHODS[name], name, model if at else None)
        called = f"{name}@{Path(model).name}" if at else name
        if rows.setdefault(called, row) != row:
            raise ValueError(f"two models would be called {called}: {rows[called].model} and {model}; use two grids")
    return rows


def settings_of_rows(
    rows: Mapping[str, MethodRow], settings_of: SettingsOf, model_settings: Callable[[str], Mapping[str, Any]]
) -> SettingsOf:
    """The settings of rows: those of their methods, with the model of the row where it has its own.

    Args:
        rows: see ``rows_named``.
        settings_of: the settings of a method on a task.
        model_settings: settings that say which model is read.

    Returns:
        A function for ``run_grid``.
    """

    def of_row(row: str, task: str) -> Mapping[str, Any]:
        _, name, model = rows[row]
        return {**settings_of(name, task), **(model_settings(model) if model else {})}

    return of_row


def in_order(results: Iterable[RunResult]) -> list[RunResult]:
    """Results in the order in which methods are listed, a method with models of its own behind the method.

    Example:
        >>> runs = [RunResult("t", name, 0, 0, "") for name in ("my-method", "pet", "frozen-means@e5", "frozen-means")]
        >>> [result.method for result in in_order(runs)]
        ['frozen-means', 'frozen-means@e5', 'pet', 'my-method']
    """
    places = {name: place for place, name in enumerate(METHODS)}

    def place(result: RunResult) -> tuple[int, bool]:
        name, at, _ = result.method.partition("@")
        return places.get(name, len(places)), bool(at)

    return sorted(results, key=place)
