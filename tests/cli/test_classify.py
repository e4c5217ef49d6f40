"""``nlpkit classify``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., str]


def test_one_answer_per_text_however_the_texts_come(call: Call, small_model: str, tmp_path: Path) -> None:
    texts = ["酒店很好", "房间不干净，我们不满意"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", "utf-8")
    options = ["--model", small_model, "-p", "{text}很{mask}。", "-l", "good=好,满意", "-l", "bad=不错"]
    from_file = call("classify", *options, "--file", str(tmp_path / "texts.txt"), "--json")
    assert from_file == call("classify", *options, *texts, "--json")
    assert from_file == call("classify", *options, "-", "--json", stdin="\n".join(texts))
    rows = [json.loads(line) for line in from_file.splitlines()]
    assert [row["text"] for row in rows] == texts
    for row in rows:
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    calibrated = call("classify", *options, *texts, "--json", "--calibrate")
    shares = [json.loads(line)["probabilities"]["good"] for line in calibrated.splitlines()]
    assert min(shares) <= 0.5 <= max(shares)


def test_fields_are_taken_by_name(call: Call, small_model: str) -> None:
    pair = '{"first": "酒店很好", "second": "酒店不错"}'
    output = call("classify", "-m", small_model, "-p", "{first}{mask}{second}", "-l", "y=是", "-l", "n=不", pair)
    assert output.split("\t")[0] in ("y", "n")


def test_blank_texts_are_not_calibrated_on(call: Call, small_model: str) -> None:
    options = ["-m", small_model, "-p", "{text}很{mask}", "-l", "good=好", "-l", "bad=不错", "--calibrate"]
    first, last = call("classify", *options, "酒店", "天气不错").splitlines()
    assert call("classify", *options, stdin="酒店\n \n天气不错\n").splitlines() == [first, "", last]


def test_a_text_in_braces_is_a_text(call: Call, small_model: str) -> None:
    options = ["-m", small_model, "-p", "{text}很{mask}", "-l", "good=好", "-l", "bad=不错", "--json"]
    texts = ["{酒店}很好", '{"text": "酒店很好"}', '{"other": "酒店"}', "酒店很好"]
    rows = [json.loads(line) for line in call("classify", *options, *texts).splitlines()]
    assert [row["text"] for row in rows] == texts
    assert rows[1]["probabilities"] == rows[3]["probabilities"] != rows[0]["probabilities"]


def test_an_argument_of_several_lines_has_one_line_of_answer(call: Call, small_model: str) -> None:
    options = ["-m", small_model, "-p", "{text}很{mask}", "-l", "good=好", "-l", "bad=不错"]
    assert call("classify", *options, "酒店\n很好").count("\n") == 1


def test_a_pattern_of_two_texts_needs_both(refuse: Call, small_model: str) -> None:
    options = ["-m", small_model, "-p", "{first}{mask}{second}", "-l", "y=是", "-l", "n=不"]
    message = "'酒店很好' must be a JSON object with the pattern's texts: first, second"
    assert refuse("classify", *options, "酒店很好").endswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "x"], "has no {mask}"),
        (["-p", "{text}{mask}"], "no labels; give each with its word"),
        (["-l", "good"], "must look like name=word"),
        (["-l", "a=好", "-l", "b=龘", "-p", "{mask}{text}"], "is [UNK]"),
    ],
)
def test_labels_and_patterns_that_cannot_be_used_are_one_line(
    refuse: Call, small_model: str, options: list[str], message: str
) -> None:
    assert message in refuse("classify", "好", "--model", small_model, *options)
