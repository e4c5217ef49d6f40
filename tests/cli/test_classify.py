"""``nlpkit classify``, called as a person calls it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from nlpkit.cli import app
from nlpkit.cli.classify import read_labels
from nlpkit.pet import MultiLabelClassifier

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


OPTIONS = ["-p", "{text}很{mask}", "-l", "good=好", "-l", "bad=不错"]


def test_another_file_calibrates_and_what_is_saved_answers_the_same(
    call: Call, small_model: str, tmp_path: Path
) -> None:
    (tmp_path / "unlabelled.csv").write_text("stars,review\n5,酒店很好\n1,\n3,天气不错\n", "utf-8")
    (tmp_path / "lines.txt").write_text("酒店很好\n\n天气不错\n", "utf-8")
    texts = ["酒店很好", "房间"]
    saved = str(tmp_path / "saved")
    plain = call("classify", "-m", small_model, *OPTIONS, *texts, "--json")
    on_table = ["--calibrate-on", str(tmp_path / "unlabelled.csv"), "--text", "review"]
    first = call("classify", "-m", small_model, *OPTIONS, *on_table, "--json", "--save", saved, stdin="\n".join(texts))
    on_lines = ["--calibrate-on", str(tmp_path / "lines.txt")]
    assert first == call("classify", "-m", small_model, *OPTIONS, *on_lines, *texts, "--json") != plain
    assert first == call("classify", "-m", saved, *texts, "--json")
    arithmetic = call("classify", "-m", small_model, *OPTIONS, *on_lines, *texts, "--json", "--mean", "arithmetic")
    assert arithmetic not in (first, plain)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_of_a_file_keep_their_places(call: Call, small_model: str, tmp_path: Path, kind: str) -> None:
    content = {
        "csv": 'stars,review\n5,酒店很好\n1,\n3,"天气, 不错"\n',
        "jsonl": '{"review": "酒店很好", "stars": 5}\n\n{"review": "天气, 不错", "stars": 3}\n',
    }
    file = tmp_path / f"a.{kind}"
    file.write_text(content[kind], "utf-8")
    output = call("classify", "-m", small_model, *OPTIONS, "--file", str(file), "--text", "review", "--csv")
    rows = list(csv.DictReader(output.splitlines()))
    assert [row["text"] for row in rows] == ["酒店很好", "", "天气, 不错"]
    assert rows[1]["label"] == rows[1]["good"] == ""
    expected = call("classify", "-m", small_model, *OPTIONS, "酒店很好", "天气, 不错", "--json").splitlines()
    for row, line in zip([rows[0], rows[2]], map(json.loads, expected), strict=True):
        assert row["label"] == line["label"]
        assert float(row["good"]) == pytest.approx(line["probabilities"]["good"], abs=1e-5)


def test_a_column_that_is_not_there_is_named(refuse: Call, small_model: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("stars,review\n5,酒店很好\n", "utf-8")
    options = ["-m", small_model, *OPTIONS]
    message = refuse("classify", *options, "--file", str(file))
    assert message.endswith(
        "a.csv, line 2 has no column 'text'; name that of the text by --text, of 'stars', 'review'"
    )
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"review": "好", "stars": 1}\n{"stars": 1}\n', "utf-8")
    assert "a.jsonl, line 2 has no column 'review'" in refuse(
        "classify", *options, "--file", str(lines), "--text", "review"
    )
    lines.write_text('{"review": 5}\n', "utf-8")
    assert "a.jsonl, line 1 holds 5 in the column 'review', which is no text" in refuse(
        "classify", *options, "--file", str(lines), "--text", "review"
    )
    assert "--mean harmonic is of calibration; give --calibrate or --calibrate-on" in refuse(
        "classify", *options, "--mean", "harmonic", "好"
    )
    assert "give --calibrate or --calibrate-on, not both" in refuse(
        "classify", *options, "--calibrate", "--calibrate-on", str(file), "好"
    )
    assert "give --json or --csv, not both" in refuse("classify", *options, "--json", "--csv", "好")
    assert "give --file with JSON lines, .csv or .tsv" in refuse("classify", *options, "--text", "review", "好")


def test_null_is_a_blank_text(call: Call, small_model: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"review": "酒店很好", "stars": 5}\n{"review": null, "stars": 3}\n', "utf-8")
    rows = call("classify", "-m", small_model, *OPTIONS, "--file", str(file), "--text", "review", "--json")
    first, second = map(json.loads, rows.splitlines())
    assert first["label"]
    assert second == {"text": "", "label": None, "probabilities": {}}


def test_texts_of_many_labels_have_those_that_predict_gives_them(call: Call, small_model: str, tmp_path: Path) -> None:
    settings = {"words": ("好", "不"), "names": ["房间", "服务", "天气"]}
    asking = MultiLabelClassifier.from_pretrained(small_model, "{text}{label}{mask}", **settings)
    thresholds = asking.scores(["酒店很好"])[0] - torch.tensor([1.0, -1.0, 1.0])
    classifier = MultiLabelClassifier(
        asking.model, asking.tokenizer, asking.pattern, thresholds=thresholds, **settings
    )
    classifier.save_pretrained(tmp_path)
    texts = ["酒店很好", "天气", "酒店酒店酒店"]
    expected = classifier.predict(texts)
    assert expected[0] == ["房间", "天气"]
    rows = [json.loads(row) for row in call("classify", "-m", str(tmp_path), *texts, "--json").splitlines()]
    assert [sorted(row["labels"]) for row in rows] == [sorted(labels) for labels in expected]
    table = csv.DictReader(call("classify", "-m", str(tmp_path), *texts, "--csv").splitlines())
    lines = call("classify", "-m", str(tmp_path), *texts).splitlines()
    for row, line, labels in zip(table, lines, expected, strict=True):
        assert row["labels"] == line.split("\t")[0] == ",".join(sorted(labels))


def test_words_may_stand_between_chinese_commas(call: Call, small_model: str) -> None:
    by_comma = [
        call("classify", "-m", small_model, "-p", "{text}{mask}", "-l", f"good=好{comma}酒", "-l", "bad=不", "天气")
        for comma in ",，"
    ]
    assert by_comma[0] == by_comma[1]


def test_a_text_that_begins_with_a_brace_is_a_text(call: Call, small_model: str) -> None:
    texts = ['{"text": 5}', "{", '{"text": "酒店"', "[1]"]
    rows = call("classify", "-m", small_model, *OPTIONS, *texts, "--json").splitlines()
    assert [json.loads(row)["text"] for row in rows] == texts
    assert all(json.loads(row)["label"] for row in rows)


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


def test_options_are_refused_before_anything_is_measured() -> None:
    for options in (["--mean", "foo", "--calibrate"], ["--engine", "foo", "--calibrate"]):
        result = CliRunner().invoke(app, ["classify", "-m", "./no/model", *OPTIONS, "好", *options])
        assert result.stderr.startswith(f"nlpkit: {options[0]} foo is unknown; "), result.stderr


def test_label_words_are_divided_at_chinese_commas_too() -> None:
    assert read_labels(["good=满意，喜欢、开心, 好"]) == {"good": ["满意", "喜欢", "开心", "好"]}
    with pytest.raises(ValueError, match="--label 'good=好，' holds an empty word"):
        read_labels(["good=好，"])


def test_a_model_that_was_not_saved_as_a_classifier_is_told_in_flags(
    refuse: Callable[..., str], small_model: str
) -> None:
    message = f"{small_model} was not saved as a classifier; give --pattern and --label, such as -p"
    assert message in refuse("classify", "-m", small_model, "好")
