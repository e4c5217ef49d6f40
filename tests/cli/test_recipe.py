"""``nlpkit recipe``: the programs that come with nlpkit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nlpkit.cli import app
from nlpkit.cli.recipe import recipe_names, recipe_path, settings_file, shipped_settings

Call = Callable[..., str]


def test_the_list_names_every_program_and_its_settings(call: Call) -> None:
    lines = call("recipe", "--list").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("wobert_pretrain: "))
    assert lines[start].startswith("wobert_pretrain: Continued masked-LM pre-training")
    assert lines[start + 1 : start + 3] == ["    mini_zh", "    tiny"]
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == recipe_names()


def test_a_program_is_printed_as_it_is(call: Call) -> None:
    assert call("recipe", "demo", "--show") == recipe_path("demo").read_text("utf-8")


def test_settings_are_found_by_name_or_by_path(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("seed: 1\n")
    tiny = next(path for path in shipped_settings("wobert_pretrain") if path.stem == "tiny")
    assert settings_file("wobert_pretrain", "tiny") == settings_file("wobert_pretrain", "tiny.yaml") == tiny
    assert settings_file("wobert_pretrain", str(own)) == own
    with pytest.raises(FileNotFoundError, match=r"no settings file 'big'; .* with wobert_pretrain: mini_zh, tiny"):
        settings_file("wobert_pretrain", "big")


def test_a_recipe_runs_with_its_settings_and_what_overrides_them(tmp_path: Path) -> None:
    """In a process of its own, as it ends with the process, and far from the checkout."""
    (tmp_path / "corpus.tagged").write_text(
        "19980101-01-001-001/m  中国/ns  政府/n  很/d  高兴/a  。/w\n" * 4, "utf-8"
    )
    command = [sys.executable, "-m", "nlpkit", "recipe", "pfr_entities", "corpus.tagged", "out"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "nlpkit: running " in found.stderr.splitlines()[0]
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which recipe? `nlpkit recipe --list` lists them"),
        (["wobert_pretain"], "unknown recipe 'wobert_pretain'; near: wobert_pretrain"),
        (["wobert"], "unknown recipe 'wobert'; near: wobert_pretrain"),
        (["Ladder-Finetune.py"], "near: ladder_finetune"),
        (
            ["pfr_nested"],
            "unknown recipe 'pfr_nested'; pfr_nested is a file of settings: `nlpkit recipe entities ",
        ),
        (["tiny"], "tiny is a file of settings: `nlpkit recipe wobert_pretrain tiny`"),
        (["xyz"], "unknown recipe 'xyz'; there are character_counts, "),
        (["wobert_pretrain", "nothing.yaml"], "there is no settings file 'nothing.yaml'"),
        (["wobert_pretrain", "--max_step", "1"], "max_steps"),
    ],
)
def test_what_the_user_can_mend_is_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["recipe", *arguments])
    assert result.exit_code == 1
    *_, error = result.stderr.splitlines()
    assert error.startswith("nlpkit: ") and message in error


@pytest.mark.parametrize("name", recipe_names())
def test_help_after_the_name_is_that_of_the_recipe(
    call: Call, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("recipe", name, "--help").startswith("usage: ")
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_without_settings_gets_its_arguments_as_they_are(call: Call) -> None:
    assert call("recipe", "ladder_data", "tnews", "--help").startswith("usage: ")
    result = CliRunner().invoke(app, ["recipe", "demo", "now"])
    assert result.exit_code == 2 and "unrecognized arguments: now" in result.stderr
