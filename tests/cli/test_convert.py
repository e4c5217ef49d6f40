"""``nlpkit convert``, called as a person calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM

from nlpkit.cli.convert import find_checkpoint

Call = Callable[..., str]


@pytest.fixture
def source(small_vocabulary: dict[str, int], tmp_path: Path) -> Path:
    """Folder of a BERT as transformers saves it."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(vocab_size=len(small_vocabulary), **sizes)).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("".join(f"{token}\n" for token in small_vocabulary), "utf-8")
    return tmp_path / "bert"


def test_a_folder_is_converted_and_replaced_on_request(call: Call, refuse: Call, source: Path, tmp_path: Path) -> None:
    assert "WoBertForMaskedLM" in call("convert", str(source), str(tmp_path / "out"))
    error = refuse("convert", str(source), str(tmp_path / "out"))
    assert "or pass --overwrite to replace" in error and "=" not in error
    call("convert", str(source), str(tmp_path / "out"), "--overwrite")


def test_messages_name_options(refuse: Call, source: Path, tmp_path: Path) -> None:
    (source / "vocab.txt").unlink()
    error = refuse("convert", str(source), str(tmp_path / "out"))
    assert error.endswith("holds no vocab.txt; give the checkpoint's vocabulary as --vocabulary ...")
    error = refuse("convert", str(source), str(tmp_path / "out"), "--architecture", "roformer")
    assert "--architecture 'roformer' was asked for" in error


def test_a_source_is_a_checkpoint_a_folder_or_a_model_anywhere(tmp_path: Path) -> None:
    (tmp_path / "bert.ckpt.index").touch()
    for name in ("bert.ckpt", "bert.ckpt.index"):
        assert find_checkpoint(str(tmp_path / name)) == tmp_path / name
    assert find_checkpoint(str(tmp_path)) == tmp_path
    assert (find_checkpoint("wobert-mini-zh") / "config.json").is_file()


def test_what_is_nowhere_is_one_line(refuse: Call, tmp_path: Path) -> None:
    error = refuse("convert", "nosuch", str(tmp_path / "out"))
    assert error.startswith("nlpkit: 'nosuch' is no folder here and none of the models by name (")
    assert "wobert-mini-zh" in error and "), and the Hub " in error
    assert error.endswith("; nor is there a TensorFlow checkpoint nosuch.index")
    assert refuse("convert", "./nosuch", str(tmp_path / "out")).startswith("nlpkit: there is no folder ./nosuch; nor")
