"""``nlpkit fewshot``, called as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nlpkit.cli.fewshot import fewshot
from nlpkit.fewshot.grid.results import ResultsFile
from nlpkit.fewshot.tasks.sampling import write_k_shot
from tests.fewshot.written_folders import HOTELS, reviews, write_lines

app = typer.Typer()
app.command()(fewshot)


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Options of a call on sampled splits, with a folder in a model's place."""
    write_k_shot(reviews("r", ["good", "bad"] * 20), HOTELS, tmp_path / "data", k=2, seeds=[0, 1, 2])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    options = {"data": "data", "out": "out", "model": "model"}
    return [word for name, folder in options.items() for word in (f"--{name}", str(tmp_path / folder))]


def test_leaks_come_first_and_the_table_last(arguments: list[str], tmp_path: Path) -> None:
    printed = call(*arguments, "--task", "hotels", "--method", "majority", "--splits", "0,2", "--seeds", "0-1")
    assert printed.index("No duplicates in: hotels.") < printed.index("| majority | measured here |")
    results = ResultsFile(tmp_path / "out" / "results.jsonl").read()
    assert [(found.split, found.seed) for found in results] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    assert {found.dev["accuracy"] for found in results if found.dev} == {0.5}


def test_settings_of_a_task_reach_its_runs(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "hotels.yaml").write_text("pattern: '{review}'\n")
    call(*arguments, "--task", "all", "--method", "majority", "--settings", str(tmp_path / "settings"), "--no-test")
    assert '"pattern": "{review}"' in (tmp_path / "out" / "settings.json").read_text("utf-8")


def test_the_tasks_of_fewclue_bring_their_settings(tmp_path: Path) -> None:
    examples = [{"id": n, "sentence": "房间干净", "label": "Positive"} for n in range(2)]
    for name in ("train_0", "dev_0", "test_public"):
        write_lines(tmp_path / "eprstmt" / f"{name}.json", examples)
    printed = call(
        *("--data", str(tmp_path), "--task", "eprstmt", "--method", "zero-shot", "--out", str(tmp_path / "out"))
    )
    assert "| zero-shot | measured here |" in printed
    assert "{mask}" in (tmp_path / "out" / "settings.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "hotels", "--method", "petty"], "no method is called 'petty'; there are majority"),
        (["--task", "tnews", "--method", "majority"], r"holds the task 'hotels' only; got \['tnews'\]"),
        (["--task", "all", "--method", "majority", "--splits", "0-x"], "cannot read '0-x'; give numbers and ranges"),
        (["--task", "all", "--method", "majority", "--splits", "7"], r"has no split \[7\]; it has \[0, 1, 2\]"),
        (["--task", "all", "--method", "majority", "--baseline", "pet"], "--baseline pet is none of the methods"),
    ],
)
def test_what_the_user_can_mend_is_said(arguments: list[str], options: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(*arguments, *options)
