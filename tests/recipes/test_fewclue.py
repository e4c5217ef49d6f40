"""The FewCLUE recipe, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nlpkit.fewshot.report.tables import cells_of
from nlpkit.fewshot.tasks.fewclue import FEWCLUE
from nlpkit.fewshot.tasks.published import MAJORITY
from nlpkit.runs.recipe_arguments import parse_recipe_arguments
from recipes import fewclue
from recipes.fewclue import FewClueArguments, main
from tests.fewshot.written_folders import write_lines

CONFIGS = Path(fewclue.__file__).parent / "configs" / "fewclue"


def test_shipped_settings_are_read() -> None:
    (settings,) = parse_recipe_arguments([FewClueArguments], [str(CONFIGS / "grid.yaml"), "--data", "datasets"])
    assert (settings.tasks, settings.splits, settings.score_test) == (["all"], "0-4", True)


@pytest.mark.parametrize("name", FEWCLUE)
def test_every_task_has_settings_that_begin_with_their_command(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text("utf-8")
    assert text.startswith("# python recipes/fewclue.py recipes/configs/fewclue/grid.yaml")
    assert f"--tasks {name}" in text.split("\n")[0]
    assert isinstance(yaml.safe_load(text), dict)


def test_recipe_on_a_written_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, labels in (
        ("train_0", "110"),
        ("dev_0", "01"),
        ("train_1", "100"),
        ("dev_1", "01"),
        ("test_public", "1110"),
    ):
        records = [
            {"sentence1": f"{part} {number}", "sentence2": "x", "label": label} for number, label in enumerate(labels)
        ]
        write_lines(tmp_path / "data" / "bustm" / f"{part}.json", records)
    options = {"data": tmp_path / "data", "output_dir": tmp_path / "out", "tasks": "bustm", "splits": "0-1"}
    options["settings_dir"] = CONFIGS
    argv = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    results = main(argv)
    assert [found.test for found in results] == [{"accuracy": 0.75}, {"accuracy": 0.25}]
    printed = capsys.readouterr().out
    assert "No duplicates in: bustm." in printed
    assert "| majority | measured here | 50.0 | 50.0 ± 35.4 |" in printed
    assert main(argv) == results


@pytest.mark.shared
@pytest.mark.slow
def test_majority_on_all_nine_tasks_is_what_was_published(shared_data: Path, tmp_path: Path) -> None:
    data, output = str(shared_data / "fewclue"), str(tmp_path / "out")
    results = main(
        [str(CONFIGS / "grid.yaml"), "--data", data, "--output_dir", output, "--settings_dir", str(CONFIGS)]
    )
    assert len(results) == 45
    assert not [found.error for found in results if found.error]
    for (_, task), cell in cells_of(results).items():
        # Ties of 67 and 119 labels are drawn, so that five splits scatter; OCNLI's figure is not of this test.
        if task not in ("csldcp", "iflytek", "ocnli") and cell.mean is not None:
            assert 100 * cell.mean == pytest.approx(MAJORITY.cells[task][0], abs=0.1)
    assert (tmp_path / "out" / "table.md").is_file()
