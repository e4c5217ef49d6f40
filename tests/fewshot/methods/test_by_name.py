"""Rows of a grid by name: methods, and methods with a model of their own."""

from __future__ import annotations

import sys

import pytest

from nlpkit.fewshot.methods.by_name import METHODS, MethodRow, rows_named, settings_of_rows


def test_a_row_is_a_method_and_the_model_behind_it() -> None:
    rows = rows_named(["pet", "frozen-means", "frozen-means@some/where/e5", "pet"])
    assert list(rows) == ["pet", "frozen-means", "frozen-means@e5"]
    assert rows["pet"] == MethodRow(METHODS["pet"], "pet", None)
    assert rows["frozen-means@e5"] == MethodRow(METHODS["frozen-means"], "frozen-means", "some/where/e5")


def test_the_model_of_a_row_wins_over_the_grids() -> None:
    rows = rows_named(["pet", "pet@e5"])
    of_task = {"eprstmt": {"model": "mini", "max_length": 96}}
    settings_of = settings_of_rows(
        rows, lambda name, task: of_task[task] | {"name": name}, lambda name: {"model": name}
    )
    assert settings_of("pet", "eprstmt") == {"model": "mini", "max_length": 96, "name": "pet"}
    assert settings_of("pet@e5", "eprstmt") == {"model": "e5", "max_length": 96, "name": "pet"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["petty@e5"], "unknown method 'petty'; there are majority"),
        (["tf-idf@e5"], "tf-idf@e5: tf-idf reads no model; write tf-idf"),
        (["pet@"], "pet@: the model is missing; write pet@MODEL, or pet for the grid's own"),
        (["pet@a/e5", "pet@b/e5"], "two models would be called pet@e5: a/e5 and b/e5; use two grids"),
    ],
)
def test_rows_that_cannot_be_told_apart_or_run_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rows_named(names)


@pytest.mark.parametrize("name", ["tf-idf", "frozen-means@some/where/e5"])
def test_what_needs_scikit_learn_is_refused_before_any_run(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"logistic regression is scikit-learn's; .*\[eval\]"):
        rows_named(["majority", name])
    assert list(rows_named(["majority", "pet"])) == ["majority", "pet"]
