"""``nlpkit prune-vocab``, called as a person calls it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from nlpkit.vocabulary_pruning import IdMap, complete_tokens, prune_folder
from tests.vocabulary_pruning.small_models import lines, mt5, mt5_file, qwen

Call = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, beside texts."""
    place = tmp_path_factory.mktemp("pruning")
    model, tokenizer = qwen()
    model.save_pretrained(place / "model")
    tokenizer.save_pretrained(place / "model")
    (place / "some.txt").write_text("\n".join(lines(30, seed=3)), "utf-8")
    (place / "other.txt").write_text("\n".join(lines(9, seed=4)), "utf-8")
    return place


def test_from_texts_to_a_folder_that_loads(call: Call, folder: Path, tmp_path: Path) -> None:
    texts = ["--corpus", str(folder / "some.txt"), "--held-out", str(folder / "other.txt")]
    report = call("prune-vocab", str(folder / "model"), str(tmp_path / "cut"), *texts, "--coverage", "0.99")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "cut")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "cut")
    assert f"rows         768 -> {len(tokenizer)}" in report
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert "held out     9 texts: " in report
    saved = json.loads((tmp_path / "cut" / "pruning.json").read_text())
    assert saved["tokens_after"] == len(tokenizer)
    kept = json.loads((tmp_path / "cut" / "id_map.json").read_text())["kept"]
    (tmp_path / "keep.json").write_text(json.dumps(kept))
    call("prune-vocab", str(folder / "model"), str(tmp_path / "again"), "--keep", str(tmp_path / "keep.json"))
    assert AutoTokenizer.from_pretrained(tmp_path / "again").get_vocab() == tokenizer.get_vocab()


def test_an_mt5_is_read_with_its_own_tokenizer(call: Call, folder: Path, tmp_path: Path) -> None:
    model, _ = mt5()
    model.save_pretrained(tmp_path / "mt5")
    shutil.copy(mt5_file(), tmp_path / "mt5")
    (tmp_path / "mt5" / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')
    call("prune-vocab", str(tmp_path / "mt5"), str(tmp_path / "cut"), "--corpus", str(folder / "some.txt"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "cut")
    assert tokenizer.decode(tokenizer("𠮷")["input_ids"], skip_special_tokens=True) == "𠮷"
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "cut")
    assert loaded.lm_head.weight.shape[0] == len(tokenizer)
    assert loaded.lm_head.weight is not loaded.shared.weight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --corpus, texts to count, or --keep, a file of ids"),
        (["--corpus", "HERE/none.txt"], "no file matches"),
        (
            ["--corpus", "HERE/some.txt", "--coverage", "1.5"],
            "--coverage 1.5: give a finite number above 0 and at most 1",
        ),
        (["--corpus", "HERE/some.txt", "--size", "9"], "--size 9 is below"),
        (
            ["--corpus", "HERE/some.txt", "--size", "900", "--min-count", "2"],
            "give one of min_count, coverage and size",
        ),
        (["--keep", "HERE/none.json"], "there is no file"),
        (["--keep", "HERE/some.txt"], "is not JSON"),
        (["--keep", "HERE/object.json"], "holds a dict; it must hold a list of ids"),
        (["--keep", "HERE/few.json"], "complete_tokens (on the command line, --complete) adds them"),
        (["--corpus", "HERE/some.txt", "--complete"], "--complete is of --keep"),
        (["--corpus", "HERE/some.txt", "--held-out", "HERE/blank.txt"], "held_out holds no text"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    refuse: Call, folder: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    (folder / "object.json").write_text("{}")
    (folder / "blank.txt").write_text(" \n")
    (folder / "few.json").write_text("[1, 2]")
    options = [option.replace("HERE", str(folder)) for option in options]
    assert message in refuse("prune-vocab", str(folder / "model"), str(tmp_path / "out"), *options)
    assert not (tmp_path / "out").exists()


def test_a_list_of_ids_is_completed(call: Call, folder: Path, tmp_path: Path) -> None:
    (folder / "few.json").write_text("[5, 300]")
    call("prune-vocab", str(folder / "model"), str(tmp_path / "out"), "--keep", str(folder / "few.json"), "--complete")
    kept = IdMap.load(tmp_path / "out").kept
    model, tokenizer = (kind.from_pretrained(folder / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert list(kept) == complete_tokens(model, tokenizer, [5, 300])


def test_a_shipped_word_model_is_refused_by_what_it_is(refuse: Call, folder: Path, tmp_path: Path) -> None:
    told = refuse("prune-vocab", "wobert-mini-zh", str(tmp_path / "out"), "--corpus", str(folder / "some.txt"))
    assert "WoBertTokenizer cuts texts otherwise than its tokenizer.json" in told


def test_folders_that_are_none_and_those_that_are_taken(refuse: Call, folder: Path, tmp_path: Path) -> None:
    texts = ["--corpus", str(folder / "some.txt")]
    assert refuse("prune-vocab", "./none", str(tmp_path / "out"), *texts) == "nlpkit: there is no folder ./none"
    taken = refuse("prune-vocab", str(folder / "model"), str(folder / "model"), *texts)
    assert taken.endswith("holds a model already; give another folder")
    (tmp_path / "empty").mkdir()
    assert "holds no config.json" in refuse("prune-vocab", str(tmp_path / "empty"), str(tmp_path / "out"), *texts)


def test_whoever_comes_second_is_told(
    refuse: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def prune_beside_another(*arguments: Any, **settings: Any) -> Any:
        out.mkdir(exist_ok=True)
        (out / "config.json").write_text("another one's", "utf-8")
        return prune_folder(*arguments, **settings)

    monkeypatch.setattr("nlpkit.vocabulary_pruning.prune_folder", prune_beside_another)
    told = refuse("prune-vocab", str(folder / "model"), str(out), "--corpus", str(folder / "some.txt"))
    assert told.endswith("holds a model already; give another folder")
    assert [file.name for file in out.iterdir()] == ["config.json"]
    assert (out / "config.json").read_text("utf-8") == "another one's"
