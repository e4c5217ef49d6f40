"""The grid: what a method can see, what is selected on what, and what happens when it is called again."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nlpkit.fewshot.grid.protocol import RunData, RunOutcome, run_grid
from nlpkit.fewshot.grid.results import ResultsFile, RunResult
from nlpkit.fewshot.methods.baselines import majority
from nlpkit.fewshot.scoring import score_predictions
from nlpkit.fewshot.tasks.folders import TaskFolder
from nlpkit.pet import Example
from tests.fewshot.written_folders import HOTELS, reviews, write_hotels, write_lines


def always(label: str) -> Any:
    def method(run: RunData) -> RunOutcome:
        return RunOutcome(lambda examples: [label] * len(examples))

    return method


@pytest.fixture
def hotels(tmp_path: Path) -> TaskFolder:
    return write_hotels(tmp_path / "hotels")


def grid(hotels: TaskFolder, output: Path, **options: Any) -> list[RunResult]:
    return run_grid([hotels], output=output, show_progress=False, **{"methods": {"bad": always("bad")}, **options})


def test_every_cell_is_run_and_scored_in_order(hotels: TaskFolder, tmp_path: Path) -> None:
    methods = {"bad": always("bad"), "good": always("good")}
    results = grid(hotels, tmp_path / "out", methods=methods, seeds=[3, 5])
    assert [(found.method, found.split, found.seed) for found in results] == [
        (method, split, seed) for method in methods for split in (0, 1) for seed in (3, 5)
    ]
    assert {found.method: (found.dev, found.test) for found in results} == {
        "bad": ({"accuracy": 0.5}, {"accuracy": 0.75}),
        "good": ({"accuracy": 0.5}, {"accuracy": 0.25}),
    }
    assert results[0].sizes == {"train": 3, "dev": 2, "unlabelled": 1, "other_dev": 2, "test": 4}
    assert ResultsFile(tmp_path / "out" / "results.jsonl").read() == results
    own = tmp_path / "out" / "runs" / "hotels" / "bad" / f"split0-seed3-{results[0].settings_hash}"
    assert json.loads((own / "predictions.json").read_text("utf-8")) == {
        "dev": ["bad"] * 2,
        "other_dev": ["bad"] * 2,
        "test": ["bad"] * 4,
    }


def test_a_method_gets_its_split_and_nothing_else(hotels: TaskFolder, tmp_path: Path) -> None:
    seen: list[RunData] = []

    def method(run: RunData) -> RunOutcome:
        seen.append(run)
        return always("bad")(run)

    grid(hotels, tmp_path / "out", methods={"m": method}, settings_of=lambda method, task: {"for": [method, task]})
    assert [[example.fields["review"] for example in run.train] for run in seen] == [
        [f"train{split} 第{n}条" for n in range(3)] for split in (0, 1)
    ]
    assert [[example.fields["review"] for example in run.dev] for run in seen] == [
        [f"dev{split} 第{n}条" for n in range(2)] for split in (0, 1)
    ]
    assert [run.unlabelled for run in seen] == [(Example({"review": "一条没有标签的"}),)] * 2
    assert seen[0].settings == {"for": ["m", "hotels"]}
    assert seen[0].folder != seen[1].folder
    assert seen[0].folder.is_dir()


def test_nothing_of_the_test_is_in_memory_while_a_method_learns(hotels: TaskFolder, tmp_path: Path) -> None:
    def texts_alive() -> set[str]:
        alive = [found.fields.get("review", "") for found in gc.get_objects() if type(found) is Example]
        return {text for text in alive if text.startswith("test 第")}

    counts = []

    def method(run: RunData) -> RunOutcome:
        gc.collect()
        counts.append(len(texts_alive()))

        def predict(examples: Sequence[Example]) -> list[str]:
            counts.append(len(texts_alive()))
            return ["bad"] * len(examples)

        return RunOutcome(predict)

    grid(hotels, tmp_path / "out", methods={"m": method}, splits=[0])
    assert counts[0] == 0
    assert counts[-1] == 4  # the search does find them once they are there


def test_predictions_are_asked_for_without_labels_and_once_for_the_test(hotels: TaskFolder, tmp_path: Path) -> None:
    asked: list[list[Example]] = []

    def method(run: RunData) -> RunOutcome:
        def predict(examples: Sequence[Example]) -> list[str]:
            asked.append(list(examples))
            return ["bad"] * len(examples)

        return RunOutcome(predict)

    grid(hotels, tmp_path / "out", methods={"m": method}, splits=[0])
    assert [len(examples) for examples in asked] == [2, 2, 4]
    assert {example.label for examples in asked for example in examples} == {None}


def test_selection_is_by_the_splits_own_dev(tmp_path: Path) -> None:
    folder = tmp_path / "hotels"
    hotels = write_hotels(folder)
    write_lines(folder / "dev_0.json.xz", reviews("dev0", ["bad"] * 3 + ["good"]))
    write_lines(folder / "dev_1.json.xz", reviews("dev1", ["good"] * 30 + ["bad"]))

    def method(run: RunData) -> RunOutcome:
        candidates = {label: always(label)(run).predict for label in run.task.labels}
        best = max(candidates, key=lambda label: run.dev_score(candidates[label]))
        return RunOutcome(candidates[best], {"chosen": best, "score": run.dev_score(candidates[best])})

    results = grid(hotels, tmp_path / "out", methods={"best": method})
    # Both devs pooled, or the test, would choose the same in both splits.
    assert [found.details["chosen"] for found in results] == ["bad", "good"]
    assert (
        [found.details["score"] for found in results] == [found.score("dev") for found in results] == [0.75, 30 / 31]
    )


def test_runs_that_ended_are_not_repeated_and_the_grid_can_grow(hotels: TaskFolder, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def method(run: RunData) -> RunOutcome:
        calls.append((run.split, run.seed))
        return always("bad")(run)

    first = grid(hotels, tmp_path / "out", methods={"m": method}, splits=[0])
    grown = grid(hotels, tmp_path / "out", methods={"m": method, "good": always("good")}, seeds=[0, 1])
    assert calls == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert grown[0] == first[0]
    assert len(grown) == 8
    # Part of the grid is its own answer.
    assert grid(hotels, tmp_path / "out", methods={"m": method}, splits=[1]) == [grown[2]]


def test_failures_are_kept_and_tried_again(hotels: TaskFolder, tmp_path: Path) -> None:
    broken = True

    def method(run: RunData) -> RunOutcome:
        if broken and run.split == 0:
            raise RuntimeError("no pattern")
        return always("bad")(run)

    first = grid(hotels, tmp_path / "out", methods={"m": method})
    assert [found.error for found in first] == ["RuntimeError: no pattern", None]
    assert (first[0].dev, first[0].test, first[0].test_state) == (None, None, "failed")
    assert "in method" in first[0].details["traceback"]
    broken = False
    # The cause may have been a setting: what failed may be tried again with others.
    again = grid(hotels, tmp_path / "out", methods={"m": method}, splits=[0], settings_of=lambda *_: {"pattern": "p"})
    assert (again[0].error, again[0].test) == (None, {"accuracy": 0.75})
    assert [found.error for found in ResultsFile(tmp_path / "out" / "results.jsonl").read()] == [
        "RuntimeError: no pattern",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda examples: ["bad"], "ValueError: predict gave 1 labels for 2 examples; give one each"),
        (
            lambda examples: ["fair"] * len(examples),
            "ValueError: predict gave ['fair'], which are not among the labels",
        ),
        (lambda examples: [None] * len(examples), "ValueError: predict gave ['None'], which are not among"),
    ],
)
def test_predictions_that_are_no_labels_are_failures(
    hotels: TaskFolder, tmp_path: Path, predict: Any, message: str
) -> None:
    (found,) = grid(hotels, tmp_path / "out", methods={"m": lambda run: RunOutcome(predict)}, splits=[0])
    assert str(found.error).startswith(message)


def test_details_that_no_file_could_hold_are_a_failure(hotels: TaskFolder, tmp_path: Path) -> None:
    outcome = RunOutcome(lambda examples: ["bad"] * len(examples), {"model": object()})
    (found,) = grid(hotels, tmp_path / "out", methods={"m": lambda run: outcome}, splits=[0])
    assert "ValueError: settings and details must be JSON values" in str(found.error)
    assert found.test is None


def test_interruption_is_no_failure_of_the_method(hotels: TaskFolder, tmp_path: Path) -> None:
    def method(run: RunData) -> RunOutcome:
        if run.split == 1:
            raise KeyboardInterrupt
        return always("bad")(run)

    with pytest.raises(KeyboardInterrupt):
        grid(hotels, tmp_path / "out", methods={"m": method})
    assert [found.split for found in ResultsFile(tmp_path / "out" / "results.jsonl").read()] == [0]


def test_other_settings_are_refused_before_anything_runs(hotels: TaskFolder, tmp_path: Path) -> None:
    grid(hotels, tmp_path / "out", settings_of=lambda *_: {"pattern": "a", "words": {"bad": "差"}})
    with pytest.raises(
        ValueError, match=r"split 0/seed 0 of other settings: settings\.pattern was 'a' and is now 'b'"
    ):
        grid(hotels, tmp_path / "out", settings_of=lambda *_: {"pattern": "b", "words": {"bad": "差"}})
    assert len(ResultsFile(tmp_path / "out" / "results.jsonl").read()) == 2


def test_other_data_are_refused(hotels: TaskFolder, tmp_path: Path) -> None:
    grid(hotels, tmp_path / "out")
    write_lines(hotels.path / "dev_1.json.xz", reviews("dev1", ["bad"]))
    with pytest.raises(
        ValueError, match=r"hotels/bad/split 0/seed 0 of other settings: data\.dev 1 was '.*' and is now"
    ):
        grid(hotels, tmp_path / "out")


def test_withheld_test_is_told_and_its_arrival_noticed(tmp_path: Path) -> None:
    hotels = write_hotels(tmp_path / "hotels", test=False)
    results = grid(hotels, tmp_path / "out")
    assert {(found.test, found.test_state) for found in results} == {(None, "absent")}
    assert results[0].dev == {"accuracy": 0.5}
    write_lines(hotels.path / "test_public.json", reviews("test", ["bad"]))
    with pytest.raises(ValueError, match=r"data\.test was 'absent' and is now"):
        grid(hotels, tmp_path / "out")


def test_dev_of_the_other_splits_is_recorded_where_there_is_any(tmp_path: Path) -> None:
    hotels = write_hotels(tmp_path / "hotels")
    write_lines(hotels.path / "dev_1.json.xz", reviews("dev1", ["bad", "bad", "good", "bad"]))
    assert [found.other_dev for found in grid(hotels, tmp_path / "out")] == [{"accuracy": 0.75}, {"accuracy": 0.5}]
    alone = write_hotels(tmp_path / "alone", splits=1)
    (found,) = grid(alone, tmp_path / "other")
    assert (found.other_dev, "other_dev" in found.sizes) == (None, False)


def test_test_can_be_left_out(hotels: TaskFolder, tmp_path: Path) -> None:
    results = grid(hotels, tmp_path / "out", score_test=False)
    assert {(found.test, found.test_state) for found in results} == {(None, "left out")}
    assert "test" not in results[0].sizes


def test_a_method_cannot_spoil_the_next_run(hotels: TaskFolder, tmp_path: Path) -> None:
    seen = []

    def method(run: RunData) -> RunOutcome:
        seen.append((run.train[0].fields["review"], dict(run.settings)))
        run.train[0].fields["review"] = "spoiled"
        run.settings["words"] = "spoiled"  # type: ignore[index]
        return always("bad")(run)

    settings = {"words": "差"}
    grid(hotels, tmp_path / "out", methods={"m": method}, splits=[0], seeds=[0, 1], settings_of=lambda *_: settings)
    assert seen == [("train0 第0条", {"words": "差"})] * 2


def test_majority_draws_among_labels_that_tie(tmp_path: Path) -> None:
    hotels = write_hotels(tmp_path / "hotels")
    results = grid(hotels, tmp_path / "out", methods={"majority": majority})
    assert [found.details for found in results] == [{"label": "good", "tied": 1}] * 2
    write_lines(hotels.path / "train_0.json", reviews("even", ["good", "bad"]))
    options = {"methods": {"majority": majority}, "splits": [0], "seeds": range(6)}
    drawn = [found.details["label"] for found in grid(hotels, tmp_path / "other", **options)]
    assert set(drawn) == {"good", "bad"}
    random.seed(1)  # the draw is the run's own
    assert drawn == [found.details["label"] for found in grid(hotels, tmp_path / "again", **options)]


def test_broken_training_data_are_an_error_and_no_failure_of_the_method(hotels: TaskFolder, tmp_path: Path) -> None:
    write_lines(hotels.path / "train_0.json", reviews("train0", ["fair"]))
    with pytest.raises(ValueError, match=r"train_0\.json, line 1: label 'fair' is none of the labels of hotels"):
        grid(hotels, tmp_path / "out")
    assert not (tmp_path / "out" / "results.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": {}}, "1 tasks, 0 methods, 1 seeds; give at least one of each"),
        ({"seeds": []}, "1 tasks, 1 methods, 0 seeds"),
        ({"splits": [0, 9]}, r"has no split \[9\]; it has \[0, 1\]"),
        ({"settings_of": lambda *_: {"words": {"好"}}}, "settings and details must be JSON values"),
    ],
)
def test_grids_that_cannot_run_are_refused(
    hotels: TaskFolder, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        grid(hotels, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_examples_without_labels_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="1 of 1 examples have no label to score by"):
        score_predictions(HOTELS, [Example({"review": "x"})], lambda examples: ["bad"])
