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
