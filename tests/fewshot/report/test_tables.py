"""Tables say what the results say."""

from __future__ import annotations

import statistics

import pytest

from nlpkit.fewshot.grid.results import RunResult
from nlpkit.fewshot.report.tables import cells_of, comparison_table, cost_table, score_table
from nlpkit.fewshot.tasks.fewclue import FEWCLUE
from nlpkit.fewshot.tasks.published import ERNIE_ROWS, HUMAN, MAJORITY, ROBERTA_ROWS, ZERO_SHOT_GPT


def run(task: str, method: str, split: int, score: float | None, seed: int = 0, error: str | None = None) -> RunResult:
    scores = None if score is None else {"accuracy": score}
    sizes = {"dev": 30, "test": 70}
    return RunResult(
        task, method, split, seed, "1f", scores, None, scores, "", sizes, 2.0 + split, 0.5, 900.0, {}, error, "0"
    )


PET = [run("eprstmt", "pet", split, score) for split, score in enumerate([0.8, 0.85, 0.9, 0.8, 0.9])]
TUNED = [run("eprstmt", "fine-tuning", split, score) for split, score in enumerate([0.6, 0.7, 0.6, 0.7, 0.8])]


def rows(table: str) -> dict[str, list[str]]:
    """First column to all columns."""
    lines = [line for line in table.split("\n") if line.startswith("| ")]
    return {cells[0]: cells for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}


def test_cells_are_mean_and_sample_deviation_over_splits() -> None:
    found = rows(score_table([*PET, *TUNED]))
    deviation = 100 * statistics.stdev([0.8, 0.85, 0.9, 0.8, 0.9])
    assert found["method"] == ["method", "model", "score", "eprstmt"]
    assert found["pet"] == ["pet", "measured here", "85.0", f"85.0 ± {deviation:.1f}"]
    assert found["fine-tuning"][3] == "68.0 ± 8.4"


def test_seeds_of_a_split_are_averaged_before_splits_are_compared() -> None:
    runs = [run("t", "m", split, score, seed) for split, seed, score in [(0, 0, 0.2), (0, 1, 0.4), (1, 0, 0.5)]]
    cell = cells_of(runs)["m", "t"]
    assert cell.split_scores == pytest.approx({0: 0.3, 1: 0.5})
    assert (cell.mean, cell.deviation) == pytest.approx((0.4, statistics.stdev([0.3, 0.5])))


def test_one_split_has_no_deviation() -> None:
    assert str(cells_of(PET[:1])["pet", "eprstmt"]) == "80.0"


def test_withheld_failed_and_missing_cells_are_told_apart() -> None:
    runs = [
        *PET[:2],
        run("eprstmt", "pet", 2, None, error="ValueError: x"),
        run("tnews", "pet", 0, None),
        run("eprstmt", "efl", 0, None, error="ValueError: x"),
    ]
    found = rows(score_table(runs))
    assert found["pet"][2:] == ["", "82.5 ± 3.5 (1 of 3 runs failed)", "withheld"]
    assert found["efl"][2:] == ["", "failed", ""]


def test_published_rows_are_marked_as_another_model() -> None:
    table = score_table(PET, published=(MAJORITY, *ROBERTA_ROWS))
    found = rows(table)
    assert found["*PET*"] == ["*PET*", "*published: RoBERTa-wwm-ext, 12 layers*", "86.7", "86.7 ± 1.0"]
    assert "others' figures with other, larger models: FewCLUE, arXiv 2107.07498, Table 3" in table
    assert "italics" not in score_table(PET)
    assert rows(score_table([*PET, *TUNED], models={"pet": "mini"}))["pet"][1] == "mini"


@pytest.mark.parametrize(
    ("row", "score"),
    list(
        zip(
            (MAJORITY, HUMAN, ZERO_SHOT_GPT, *ROBERTA_ROWS, *ERNIE_ROWS),
            (29.04, 82.50, 43.40, 44.10, 44.60, 57.44, 56.32, 59.91, 55.91, 48.34, 56.39, 54.37, 52.27),
            strict=True,
        )
    ),
    ids=lambda value: getattr(value, "method", None),
)
def test_published_tasks_have_the_published_mean(row, score: float) -> None:
    assert tuple(row.cells) == FEWCLUE
    # The source rounds the tasks to a tenth and its score from figures we do not have.
    assert statistics.fmean(mean for mean, _ in row.cells.values()) == pytest.approx(score, abs=0.35)


def test_differences_are_paired_over_shared_splits() -> None:
    found = rows(comparison_table([*PET, *TUNED[:4]], baseline="fine-tuning"))["eprstmt"]
    # Splits 0 to 3: 20, 15, 30 and 10 points.
    assert found[1:4] == ["pet", "4", "+18.8"]
    assert found[6] == "0.1250 (0.1250)"
    assert 0.01 < float(found[5]) < 0.05
    with pytest.raises(ValueError, match="there is no result of 'zero-shot' to compare with; there are pet"):
        comparison_table(PET, baseline="zero-shot")


def test_cost_is_the_median_of_the_runs_that_ended() -> None:
    failed = run("eprstmt", "pet", 5, None, error="ValueError: x")
    assert rows(cost_table([*PET, failed]))["pet"] == ["pet", "eprstmt", "5", "4.0", "200", "900"]


def test_no_results_make_no_table() -> None:
    with pytest.raises(ValueError, match="there are no results to tabulate"):
        score_table([])
