from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nlpkit.wobert.conversion.tensorflow_checkpoint import find_prefix, read_tensorflow
from tests.wobert.published_checkpoints import FIXTURES, needs_tensorflow, refused

INDEX, DATA = "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A copy, to be damaged, of the BERT that TensorFlow wrote."""
    return Path(shutil.copytree(FIXTURES / "tf_bert_tiny", tmp_path / "released"))


@needs_tensorflow
def test_numbers_are_read_bit_for_bit_whatever_their_type_and_parts_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    weights, training_state = read_tensorflow(find_prefix(FIXTURES / "tf_types"))
    expected: dict[str, Any] = json.loads((FIXTURES / "tf_types" / "expected.json").read_text())["tensors"]
    assert set(training_state) == {"bool", "complex64", "complex128", "string", "scalar"}
    assert set(weights) == set(expected) - set(training_state)
    for name, tensor in weights.items():
        # Of bfloat16, which numpy lacks, the same numbers in float32 are expected.
        array = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        assert (array.dtype.str, list(array.shape)) == (expected[name]["dtype"], expected[name]["shape"]), name
        assert hashlib.sha256(array.tobytes()).hexdigest() == expected[name]["sha256"], name
    assert training_state["string"] == (2, 2)
    assert capfd.readouterr() == ("", "")


@needs_tensorflow
def test_the_old_v1_format_is_read_too() -> None:
    weights, training_state = read_tensorflow(find_prefix(FIXTURES / "tf_v1" / "bert_model.ckpt"))
    assert {name: tensor.tolist() for name, tensor in weights.items()} == {
        "bert/embeddings/word_embeddings": [[1.0] * 3] * 2
    }
    assert training_state == {}


def data_cut_short(folder: Path) -> None:
    (folder / DATA).write_bytes((folder / DATA).read_bytes()[:-1])


def data_with_a_bit_flipped(folder: Path) -> None:
    data = bytearray((folder / DATA).read_bytes())
    data[1000] ^= 1
    (folder / DATA).write_bytes(data)


def index_of_ones(folder: Path) -> None:
    (folder / INDEX).write_bytes(b"\xff" * 400_000)


def index_cut_short(folder: Path) -> None:
    (folder / INDEX).write_bytes((folder / INDEX).read_bytes()[:900])


def parts_that_overlap(folder: Path) -> None:
    """TensorFlow's SaveV2 wrote it: rows 0 and 1, and rows 1 and 2, of four."""
    shutil.copytree(FIXTURES / "tf_overlapping", folder, dirs_exist_ok=True)


def parts_on_which_tensorflow_crashes(folder: Path) -> None:
    """An index, its checksums in order, that lists the same part twice: TensorFlow 2.21 aborts the process."""
    shutil.copytree(FIXTURES / "tf_crash", folder, dirs_exist_ok=True)


@needs_tensorflow
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (data_cut_short, "tensor '.*': Read less bytes than requested"),
        (index_of_ones, "not an sstable"),
        (parts_that_overlap, "tensor 'x': Overlapping slices"),
        (parts_on_which_tensorflow_crashes, "it crashed, with exit status"),
        pytest.param(data_with_a_bit_flipped, "tensor '.*': .* Checksum does not match", marks=pytest.mark.slow),
        pytest.param(index_cut_short, "not an sstable", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name_and_nothing_is_written(
    released: Path, out: Path, damage: Any, reason: str
) -> None:
    damage(released)
    message = rf"{released}/bert_model\.ckpt: TensorFlow cannot read {INDEX}, {DATA} \({reason}"
    refused(released, out, ValueError, message)


def test_without_tensorflow_the_error_says_how_to_install_it(
    released: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as Python itself marks what cannot be imported
    refused(released, out, ImportError, r"pip install '\.\[convert\]' in a clone of nlpkit, or 'nlpkit_zh")


@pytest.mark.parametrize("ending", ["", ".index", ".meta", ".data-00000-of-00001"])
def test_the_prefix_or_any_file_of_the_checkpoint_names_it(released: Path, ending: str) -> None:
    assert find_prefix(released / f"bert_model.ckpt{ending}") == released / "bert_model.ckpt"


def test_of_several_checkpoints_the_state_file_names_the_one_wherever_it_was_written(released: Path) -> None:
    for name in (INDEX, DATA):
        shutil.copy(released / name, released / name.replace("bert_model.ckpt", "model.ckpt-9"))
    with pytest.raises(ValueError, match=r"several checkpoints; give the prefix .*bert_model.ckpt, .*model.ckpt-9$"):
        find_prefix(released)
    (released / "checkpoint").write_text(
        'model_checkpoint_path: "/elsewhere/model.ckpt-9"\nall_model_checkpoint_paths: "x"\n'
    )
    assert find_prefix(released) == released / "model.ckpt-9"


@pytest.mark.parametrize("named", ["/", "", ".", "..", "checkpoint", "/elsewhere/gone.ckpt", "a/"])
def test_a_state_file_that_names_no_checkpoint_of_its_folder_is_refused(released: Path, out: Path, named: str) -> None:
    (released / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\n')
    refused(released, out, FileNotFoundError, f"{released}/checkpoint: names no checkpoint of this folder")


@pytest.mark.parametrize("content", [b"", b"\xff" * 400_000])
def test_a_state_file_that_is_none_is_refused(released: Path, out: Path, content: bytes) -> None:
    (released / "checkpoint").write_bytes(content)
    refused(released, out, FileNotFoundError, f"{released}/checkpoint: names no checkpoint of this folder")


def test_an_index_without_its_data_is_refused(released: Path, out: Path) -> None:
    (released / DATA).unlink()
    refused(released, out, FileNotFoundError, f"{DATA} or its like is missing; put all data files of {INDEX} beside")
