"""Settings from a YAML file and the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from transformers import TrainingArguments

from nlpkit.runs.recipe_arguments import parse_recipe_arguments


@dataclass
class Settings:
    model_path: str
    block_size: int = 128
    dropout_rate: float = 0.1
    streaming: bool = False
    shuffle: bool = True
    files: list[str] = field(default_factory=list)
    limit: int | None = None
    notice: str | None = None
    seeds: list[int] = field(default_factory=list)
    dtype: str = field(default="float32", metadata={"choices": ["float32", "float16"]})


def parse(tmp_path, text, *options):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    (settings,) = parse_recipe_arguments([Settings], [str(path), *options])
    return settings


def test_values_have_the_types_of_their_fields(tmp_path):
    text = "model_path: m\ndropout_rate: 6e-4\nstreaming: true\nshuffle: no\nfiles: [a b, '*.txt']\nlimit: 3\n"
    text += "notice: |\n  第一行: -\n  --second\n"
    settings = parse(tmp_path, text)
    expected = Settings("m", 128, 6e-4, True, False, ["a b", "*.txt"], 3, "第一行: -\n--second\n")
    assert settings == expected


def test_the_command_line_wins(tmp_path):
    text = "model_path: m\nblock_size: 64\nfiles: [a, b]\nstreaming: true\n"
    settings = parse(tmp_path, text, "--block_size", "32", "--files", "c", "--streaming", "false", "--no_shuffle")
    assert settings == Settings("m", 32, files=["c"], shuffle=False)


def test_dashes_stand_for_underscores(tmp_path):
    assert parse(tmp_path, "model_path: m\n", "--block-size", "8").block_size == 8


def test_an_empty_value_leaves_the_default(tmp_path):
    assert parse(tmp_path, "model_path: m\nlimit:\nblock_size: null\n") == Settings("m")


def test_public_data_are_found_by_their_variable_or_beside(tmp_path, monkeypatch):
    text = "model_path: name=$NLPKIT_MODELS/m\nfiles: [$NLPKIT_DATA/a.txt]\n"
    monkeypatch.setenv("NLPKIT_DATA", "/data")
    monkeypatch.setenv("NLPKIT_MODELS", "/models")
    assert parse(tmp_path, text) == Settings("name=/models/m", files=["/data/a.txt"])
    left_by_the_shell = ["--files", "$NLPKIT_DATA/b*", "$NLPKIT_MODELS/c", "--model_path=$NLPKIT_MODELS/d"]
    assert parse(tmp_path, text, *left_by_the_shell) == Settings("/models/d", files=["/data/b*", "/models/c"])
    monkeypatch.delenv("NLPKIT_DATA")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    missing = (
        r"the settings name \$NLPKIT_DATA/a.txt, and NLPKIT_DATA is not set; set it to the folder of the public data"
    )
    with pytest.raises(ValueError, match=missing):
        parse(tmp_path, text)
    assert parse(tmp_path, text, "--files", "b").files == ["b"]
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert parse(tmp_path, text).files == ["../shared/data/a.txt"]


def test_the_file_may_be_left_out():
    assert parse_recipe_arguments([Settings], ["--model_path=m"]) == (Settings("m"),)


def test_several_classes_share_one_command_line():
    options = ["--model_path", "m", "--max_steps", "7", "--use_cpu", "--lr_scheduler_kwargs", '{"num_cycles": 2}']
    settings, training = parse_recipe_arguments([Settings, TrainingArguments], [*options, "--output_dir", "out"])
    assert (settings.model_path, training.max_steps, training.lr_scheduler_kwargs) == ("m", 7, {"num_cycles": 2})


def test_an_unknown_name_in_the_file_is_an_error_with_near_names(tmp_path):
    with pytest.raises(ValueError, match=r"settings\.yaml: unknown setting 'block_sise'.*did you mean block_size\?"):
        parse(tmp_path, "model_path: m\nblock_sise: 3\n")


def test_an_unknown_name_on_the_command_line_is_an_error_with_near_names(tmp_path):
    with pytest.raises(ValueError, match=r"command line: unknown setting 'dropout_rat'.*mean dropout_rate"):
        parse(tmp_path, "model_path: m\n", "--dropout_rat=3")


def test_a_name_may_not_be_shortened(tmp_path):
    with pytest.raises(ValueError, match="unknown setting 'block'"):
        parse(tmp_path, "model_path: m\n", "--block", "3")


def test_a_missing_name_is_an_error():
    with pytest.raises(ValueError, match=r"the following arguments are required: --model_path"):
        parse_recipe_arguments([Settings], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block_size: many", "block_size.*invalid int value: 'many'"),
        ("dtype: int8", r"dtype.*invalid choice: 'int8' \(choose from"),
        ("streaming: perhaps", "streaming.*Truthy value expected"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        parse(tmp_path, f"model_path: m\n{text}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("files: [a, b, a]", "files name one twice: a, b, a; each counts once"),
        ("seeds: [0, 1, 1]", "seeds name one twice: 0, 1, 1; each counts once"),
        ("seeds: [0, -1]", "seed=-1: give a whole number at least 0"),
    ],
)
def test_what_would_count_twice_or_not_at_all_is_an_error(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        parse(tmp_path, f"model_path: m\n{text}\n")


def test_a_seed_of_the_trainer_below_0_is_an_error():
    with pytest.raises(ValueError, match="seed=-3: give a whole number at least 0"):
        parse_recipe_arguments([TrainingArguments], ["--output_dir", "runs", "--seed", "-3"])


def test_words_between_settings_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="settings look like --name value; cannot read 'more'"):
        parse(tmp_path, "model_path: m\n", "--block_size", "3", "more")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no settings file '.*none\.yaml'"):
        parse_recipe_arguments([Settings], [str(tmp_path / "none.yaml")])


def test_a_file_of_something_else_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="must hold lines of `name: value`; it holds a list"):
        parse(tmp_path, "- model_path\n")


def test_a_file_that_is_no_yaml_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"settings\.yaml is not valid YAML"):
        parse(tmp_path, "model_path: [m\n")
