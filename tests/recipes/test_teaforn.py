"""The comparison of TeaForN and its rivals, end to end on small tasks that it makes itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nlpkit.runs import arm_table, last_complete_checkpoint
from recipes import teaforn_data
from recipes.teaforn import ARMS, main, score_of
from tests.recipes.copies import help_of_a_copy


def rows_of(folder: Path) -> dict[str, list[dict[str, str]]]:
    return {
        part: [json.loads(line) for line in (folder / f"{part}.jsonl").read_text("utf-8").split("\n") if line]
        for part in ("train", "dev", "test")
    }


def make(task: str, folder: Path, *options: str) -> dict[str, list[dict[str, str]]]:
    teaforn_data.main([task, str(folder), "--train", "200", "--dev", "20", "--test", "20", *options])
    return rows_of(folder)


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Settings of a run of a few steps."""
    make("checksum", tmp_path / "data", "--length", "2")
    files = [f"--{part}_file={tmp_path / 'data' / part}.jsonl" for part in ("train", "dev", "test")]
    sizes = ["--width=32", "--layers=1", "--max_steps=6", "--dropout=0", "--exposure_rows=8", "--max_target_length=8"]
    return [*files, *sizes, "--disable_tqdm=true", f"--output_dir={tmp_path / 'runs'}", "--beams", "1", "2"]


def test_ways_in_a_star_are_the_only_ones(tmp_path: Path) -> None:
    for row in make("star_graph", tmp_path, "--arms", "3", "--length", "4", "--nodes", "20")["train"]:
        edges, _, asked = row["source"].partition(" / ")
        following: dict[str, list[str]] = {}
        for edge in edges.split(" | "):
            one, other = edge.split()
            following.setdefault(one, []).append(other)
        start, end = asked.split()
        assert len(following[start]) == 3
        ways = [[start, first] for first in following[start]]
        for way in ways:
            while way[-1] in following:
                assert len(following[way[-1]]) == 1
                way.extend(following[way[-1]])
        assert [" ".join(way) for way in ways if way[-1] == end] == [row["target"]]
        assert all(len(way) == 4 for way in ways)


def test_polynomials_are_those_of_exact_integers(tmp_path: Path) -> None:
    """A number in whose place X stands, and so large that coefficients never carry, holds them all."""
    found = make("polynomials", tmp_path)["train"]
    assert any("*" in row["source"] for row in found) and any(row["source"].count("(") == 2 for row in found)
    for row in found:
        text = re.sub(r"\d(?: \d){4}", lambda five: "(" + _at(five[0].split()) + ")", row["source"])
        assert re.fullmatch(r"[\d()+*\- ]+", text)
        value = eval(text)  # of what was matched above
        digits = []
        for _ in range(5):
            digit = (value + 5000) % 10_000 - 5000
            digits.append(str(digit % 7))
            value = (value - digit) // 10_000
        assert row["target"].split() == digits


def _at(coefficients: list[str]) -> str:
    return "+".join(f"{number}*{10_000**power}" for power, number in enumerate(coefficients))


def test_checksums_come_first(tmp_path: Path) -> None:
    for row in make("checksum", tmp_path)["train"]:
        digits, (first, *sums) = (list(map(int, row[side].split())) for side in ("source", "target"))
        assert sums == [sum(digits[: place + 1]) % 10 for place in range(len(digits))]
        assert first == sums[-1]


def test_made_rows_are_the_same_again_and_no_source_is_in_two_parts(tmp_path: Path) -> None:
    first, second = (make("star_graph", tmp_path / name) for name in ("one", "two"))
    assert first == second
    sources = [row["source"] for part in first.values() for row in part]
    assert len(set(sources)) == len(sources)
    with pytest.raises(ValueError, match=r"a star of 4 arms of 20 nodes needs 77 names, and nodes=50"):
        make("star_graph", tmp_path, "--length", "20")
    with pytest.raises(ValueError, match=r"checksum has hardly more than 1\d\d different sources: ask for fewer rows"):
        make("checksum", tmp_path, "--length", "1")
    with pytest.raises(ValueError, match=r"multi30k is a public set: give its folder"):
        teaforn_data.main(["multi30k", str(tmp_path)])


@pytest.mark.slow
def test_every_arm_runs(options: list[str], tmp_path: Path) -> None:
    results = main([*options, "--seeds", "0", "--arms", *ARMS])
    assert [result["arm"] for result in results] == list(ARMS)
    for result in results:
        assert result["steps"] == round(6 * ARMS[result["arm"]].steps)
        assert all(0 <= result[f"{part} exact beam {beams}"] <= 1 for part in ("dev", "test") for beams in (1, 2))
        assert len(result["exposure"]["rows"]) <= 8
    written = (tmp_path / "runs" / "results.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in written] == results
    for picture in ("beams.svg", "exposure.svg"):
        assert "teaforn 3" in (tmp_path / "runs" / picture).read_text("utf-8")


@pytest.mark.slow
def test_it_learns_goes_on_where_it_was_and_keeps_what_was_finished(options: list[str], tmp_path: Path) -> None:
    settings = [*options, "--max_steps=300", "--learning_rate=5e-3", "--save_steps=100", "--arms", "base", "teaforn"]
    first = main([*settings, "--seeds", "0"])
    losses = {
        arm: [
            json.loads(line)["loss"]
            for line in (tmp_path / "runs" / arm / "seed-0" / "metrics.jsonl").read_text("utf-8").splitlines()
            if "loss" in line and "train_loss" not in line
        ]
        for arm in ("base", "teaforn")
    }
    assert all(found[-1] < found[0] / 2 for found in losses.values())
    folder = tmp_path / "runs" / "teaforn" / "seed-0"
    assert last_complete_checkpoint(folder) == folder / "checkpoint-300"
    (folder / "result.json").unlink()
    before = (folder / "metrics.jsonl").read_text("utf-8").count('"loss"')
    again = main([*settings, "--seeds", "0", "1"])
    assert (folder / "metrics.jsonl").read_text("utf-8").count('"loss"') == before  # no step was repeated
    timeless = [{name: value for name, value in result.items() if name != "seconds"} for result in (*first, *again)]
    assert timeless[:2] == timeless[2:4]
    columns = [f"{part} exact beam {beams}" for part in ("test", "dev") for beams in (1, 2)]
    assert (tmp_path / "runs" / "table.md").read_text("utf-8") == arm_table(again, columns)
    assert "test exact beam 1" in (tmp_path / "runs" / "table.svg").read_text("utf-8")
    with pytest.raises(ValueError, match="made with other settings: max_steps was 300 and is now 301"):
        main([*settings, "--seeds", "0", "--max_steps=301"])


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "folder", "units"),
    [("multi30k", "multi30k", "pieces"), ("classical_modern", "classical-modern", "characters")],
)
def test_texts_are_written_and_scored(name: str, folder: str, units: str, tmp_path: Path, shared_data: Path) -> None:
    teaforn_data.main([name, str(tmp_path / "whole"), "--folder", str(shared_data / "seq2seq" / folder)])
    parts: dict[str, Any] = rows_of(tmp_path / "whole")
    assert len(parts["train"]) > 28_000 and len(parts["dev"]) > 1000 and len(parts["test"]) >= 1000
    assert not {row["source"] for row in parts["train"]} & {row["source"] for row in parts["test"]}
    for part, rows in parts.items():
        lines = [json.dumps(row) + "\n" for row in rows[: 200 if part == "train" else 12]]
        (tmp_path / f"{part}.jsonl").write_text("".join(lines), "utf-8")
    files = [f"--{part}_file={tmp_path / part}.jsonl" for part in parts]
    settings = [f"--units={units}", "--vocabulary=1000", "--metrics", "bleu", "chrf", "--beams", "1", "--seeds", "0"]
    sizes = ["--width=32", "--layers=1", "--max_steps=3", "--disable_tqdm=true", "--exposure_rows=8"]
    (result,) = main([*files, *settings, *sizes, "--arms", "teaforn", f"--output_dir={tmp_path / 'runs'}"])
    assert all(0 <= result[f"{part} {metric} beam 1"] <= 1 for part in ("dev", "test") for metric in ("bleu", "chrf"))


def test_scores_are_those_of_sacrebleu() -> None:
    targets = ["ein Mann geht", "zwei Hunde spielen im Park"]
    assert score_of(("exact", "bleu", "chrf"), targets, targets) == pytest.approx({"exact": 1, "bleu": 1, "chrf": 1})
    assert score_of(("exact",), ["ein  Mann geht", "zwei"], targets) == {"exact": 0.5}
    assert score_of(("bleu",), ["天气很好啊"], ["天气很好啊"])["bleu"] == pytest.approx(1)  # by characters
    with pytest.raises(ValueError, match=r"unknown metric 'rouge'; use exact, bleu, chrf"):
        score_of(("rouge",), targets, targets)


def test_unknown_arms_are_named(options: list[str]) -> None:
    with pytest.raises(ValueError, match=r"unknown arm 'teeforn'; use base, base x4/3"):
        main([*options, "--arms", "teeforn"])
    with pytest.raises(ValueError, match=r"the strength of arm 'teaforn=much' is no number"):
        main([*options, "--arms", "teaforn=much"])
    with pytest.raises(ValueError, match=r"arm 'base' has no strength, so that 'base=2' is 'base'"):
        main([*options, "--arms", "base=2"])
    with pytest.raises(ValueError, match=r"seeds name one twice: 0, 0"):
        main([*options, "--arms", "base", "--seeds", "0", "0"])


@pytest.mark.parametrize("recipe", ["teaforn.py", "teaforn_data.py"])
def test_it_runs_from_a_copy(recipe: str, tmp_path: Path) -> None:
    assert "--arms" in help_of_a_copy(recipe, tmp_path)
