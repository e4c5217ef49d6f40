from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertForMaskedLM, BertTokenizer

from nlpkit.wobert.conversion.conversion import convert_checkpoint
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.wobert.published_checkpoints import (
    FIXTURES,
    VOCABULARY,
    as_pytorch_file,
    as_shards,
    edit_weights,
    logits,
    refused,
    with_stored_ties,
)


def with_old_names(folder: Path) -> None:
    edit_weights(
        folder,
        lambda tensors: (
            {
                name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
                for name, tensor in tensors.items()
            }
            | {"bert.embeddings.position_ids": torch.arange(16)[None]}
        ),
    )
    as_pytorch_file(folder)


@pytest.mark.parametrize("store", [as_pytorch_file, as_shards, with_old_names, with_stored_ties])
def test_however_a_bert_is_stored_its_logits_stay(bert: Path, out: Path, store: Any) -> None:
    before = logits(BertForMaskedLM.from_pretrained(bert))
    store(bert)
    convert_checkpoint(bert, out)
    assert torch.equal(logits(WoBertForMaskedLM.from_pretrained(out)), before)


def test_a_cased_source_stays_cased_and_its_special_tokens_keep_their_names(bert: Path, out: Path) -> None:
    vocabulary = [{"[UNK]": "<unk>", "的": "Hi"}.get(token, token) for token in VOCABULARY]
    (bert / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    unknown = {"content": "<unk>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    (bert / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "unk_token": unknown}))
    convert_checkpoint(bert, out)
    assert WoBertTokenizer.from_pretrained(out).tokenize("Hi 人") == ["Hi", "<unk>"]


def test_the_vocabulary_is_found_in_tokenizer_json_with_the_tokens_added_to_it(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").unlink()
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY[:-1])})
    tokenizer.add_tokens([VOCABULARY[-1]])
    tokenizer.save_pretrained(bert)
    assert not (bert / "vocab.txt").exists()
    convert_checkpoint(bert, out)
    assert WoBertTokenizer.from_pretrained(out).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("kind", [str, Path, dict])
def test_a_vocabulary_that_is_given_goes_before_the_sources_own(bert: Path, out: Path, kind: type) -> None:
    (bert / "vocab.txt").write_text("broken\n\n")
    given = bert.parent / "other.txt"
    given.write_text("\n".join([*VOCABULARY[:-1], "词"]) + "\n", "utf-8")
    vocabulary = {t: n for n, t in enumerate([*VOCABULARY[:-1], "词"])} if kind is dict else kind(given)
    convert_checkpoint(bert, out, vocabulary=vocabulary)
    assert WoBertTokenizer.from_pretrained(out).convert_tokens_to_ids("词") == len(VOCABULARY) - 1


def test_safetensors_are_taken_before_pytorchs_and_tensorflows_weights(bert: Path, out: Path) -> None:
    (bert / "pytorch_model.bin").write_bytes(b"not read")
    shutil.copy(FIXTURES / "tf_bert_tiny" / "bert_model.ckpt.index", bert)
    assert convert_checkpoint(bert, out).source == str(bert / "model.safetensors")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(
        tmp_path / "empty", out, FileNotFoundError, r"empty holds no weights: no model\.safetensors, pytorch_model"
    )
    refused(tmp_path / "model.ckpt", out, FileNotFoundError, r"there is no model\.ckpt\.index in")
    refused(
        Path("someone/wobert-base"), out, FileNotFoundError, "someone/wobert-base does not exist; give a local fol"
    )


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("bert_config.json", "holds no bert_config.json beside bert_model.ckpt; put"),
        ("bert_model.ckpt.data-00000-of-00001", "is missing; put all data files of bert_model.ckpt.index beside it"),
    ],
)
def test_a_tensorflow_checkpoint_that_lacks_a_file_is_refused(
    tmp_path: Path, out: Path, file: str, message: str
) -> None:
    source = shutil.copytree(FIXTURES / "tf_bert_tiny", tmp_path / "bert")
    (source / file).unlink()
    refused(source, out, FileNotFoundError, message)


def test_a_folder_without_vocabulary_is_refused(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").unlink()
    refused(bert, out, FileNotFoundError, "holds no vocab.txt; give the checkpoint's vocabulary as vocabulary=")


def test_a_folder_without_configuration_is_refused(bert: Path, out: Path) -> None:
    (bert / "config.json").unlink()
    refused(bert, out, FileNotFoundError, "holds model.safetensors but no config.json")


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is damaged or cut off"), ("[]", "must hold a JSON object; it holds a list")]
)
def test_a_configuration_that_is_no_json_object_is_refused(bert: Path, out: Path, content: str, message: str) -> None:
    (bert / "config.json").write_text(content)
    refused(bert, out, ValueError, f"config.json {message}")


def test_a_tensorflow_configuration_without_what_no_shape_tells_is_refused(tmp_path: Path, out: Path) -> None:
    source = shutil.copytree(FIXTURES / "tf_bert_tiny", tmp_path / "bert")
    (source / "bert_config.json").write_text(json.dumps({"num_hidden_layers": 2, "hidden_size": 8}))
    refused(source, out, ValueError, "bert_config.json lacks num_attention_heads, hidden_act;")


@pytest.mark.parametrize("content", [{}, {"model": []}, {"model": {"type": "WordPiece"}, "added_tokens": []}])
def test_a_tokenizer_json_that_lacks_its_parts_is_refused_by_name(bert: Path, out: Path, content: Any) -> None:
    (bert / "vocab.txt").unlink()
    (bert / "tokenizer.json").write_text(json.dumps(content))
    refused(bert, out, ValueError, "tokenizer.json is damaged, or not of the tokenizers library")


@pytest.mark.parametrize("content", [{}, {"weight_map": ["model.safetensors"]}, {"weight_map": {"a": 3}}])
def test_an_index_that_lists_no_shards_is_refused_by_name(bert: Path, out: Path, content: Any) -> None:
    (bert / "model.safetensors").unlink()
    (bert / "model.safetensors.index.json").write_text(json.dumps(content))
    refused(bert, out, ValueError, "model.safetensors.index.json lists no shards under 'weight_map'")


@pytest.mark.parametrize("file", ["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"])
def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path: Path, out: Path, file: str) -> None:
    source = shutil.copytree(FIXTURES / "tf_bert_tiny", tmp_path / "bert")
    (source / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n")
    refused(source, out, ValueError, f"{file}: a pointer of Git LFS in place of the file; run git lfs pull")


def test_a_tokenizer_that_is_no_wordpiece_is_refused(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").unlink()
    (bert / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram"}, "added_tokens": []}))
    refused(bert, out, ValueError, "is a Unigram tokenizer, and a word tokenizer needs a WordPiece vocabulary")


@pytest.mark.parametrize("store", [lambda folder: None, as_pytorch_file], ids=["safetensors", "pytorch"])
def test_weights_that_are_cut_short_or_damaged_are_refused(bert: Path, out: Path, store: Any) -> None:
    store(bert)
    (file,) = [*bert.glob("*.safetensors"), *bert.glob("*.bin")]
    whole = file.read_bytes()
    spoilt = [whole[:size] for size in (0, 5, len(whole) // 2, len(whole) - 1)]
    for content in [*spoilt, b"\xff" * 400_000, bytes(400_000), b"\x80\x02" + b"(" * 400_000, b"\x80\x02."]:
        file.write_bytes(content)
        refused(bert, out, ValueError, f"{file}: (cut short, damaged|holds more than weights)")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    bert: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bert)
    as_pytorch_file(bert)
    torch.save({"bert.embeddings.word_embeddings.weight": Trap()}, bert / "pytorch_model.bin")
    refused(bert, out, ValueError, "holds more than weights, and loading it could run code")
    (bert / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(), protocol=2))
    refused(bert, out, ValueError, "holds more than weights, and loading it could run code")


def test_a_training_checkpoint_around_the_weights_is_refused(bert: Path, out: Path) -> None:
    as_pytorch_file(bert)
    torch.save({"state_dict": {}, "epoch": 3}, bert / "pytorch_model.bin")
    refused(bert, out, ValueError, "not a state dict; save it as one")


def test_a_missing_shard_is_named(bert: Path, out: Path) -> None:
    as_shards(bert)
    shard = sorted(bert.glob("model-*.safetensors"))[1]
    shard.unlink()
    refused(bert, out, FileNotFoundError, f"{shard}: missing; the index beside it")
