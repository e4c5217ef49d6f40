"""Settings from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.fewshot.grid.settings import fingerprint_of_model, settings_from_files


def test_method_wins_over_task_and_task_over_common(tmp_path: Path) -> None:
    (tmp_path / "bustm.yaml").write_text(
        "# a comment\npattern: '{sentence1}'\nlearning_rate: 1\nmethods:\n  pet:\n    learning_rate: 2\n", "utf-8"
    )
    settings_of = settings_from_files(tmp_path, {"learning_rate": 0, "model": "mini"})
    assert settings_of("pet", "bustm") == {"model": "mini", "pattern": "{sentence1}", "learning_rate": 2}
    assert settings_of("efl", "bustm") == {"model": "mini", "pattern": "{sentence1}", "learning_rate": 1}
    assert settings_of("pet", "tnews") == {"model": "mini", "learning_rate": 0}
    assert settings_from_files(None, {"model": "mini"})("pet", "bustm") == {"model": "mini"}


def test_labels_are_texts_however_yaml_reads_them(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("label_words: {0: 不, true: 是, '1': 很}\n", "utf-8")
    assert settings_from_files(tmp_path)("pet", "t") == {"label_words": {"0": "不", "true": "是", "1": "很"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a", r"t\.yaml must hold lines of `name: value`"),
        ("methods: [pet]", "under `methods` a mapping of method"),
        ("methods: {pet: 3}", "under `methods` a mapping of method"),
        ("a: [", r"t\.yaml is not valid YAML"),
    ],
)
def test_files_of_another_shape_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.yaml").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        settings_from_files(tmp_path)("pet", "t")


def test_missing_folder_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder 'nowhere' of settings, one YAML file per task"):
        settings_from_files("nowhere")


def test_fingerprint_changes_with_the_weights_and_not_with_the_card(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        fingerprint_of_model(tmp_path)
    for name in ("config.json", "model.safetensors", "README.md"):
        (tmp_path / name).write_text("first")
    before = fingerprint_of_model(tmp_path)
    (tmp_path / "README.md").write_text("second")
    assert fingerprint_of_model(tmp_path) == before
    (tmp_path / "model.safetensors").write_text("second")
    assert fingerprint_of_model(tmp_path) != before


@pytest.mark.parametrize(
    ("line", "same"),
    [('"dtype": "float16"', True), ('"transformers_version": "4"', True), ('"hidden_size": 2', False)],
)
def test_fingerprint_is_of_the_model_and_not_of_how_it_was_stored(tmp_path: Path, line: str, same: bool) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 1}')
    before = fingerprint_of_model(tmp_path)
    (tmp_path / "config.json").write_text(f'{{"hidden_size": 1, {line}}}')
    assert (fingerprint_of_model(tmp_path) == before) is same
