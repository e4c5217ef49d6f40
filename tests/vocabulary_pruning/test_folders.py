from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    Qwen3Config,
    Qwen3Model,
)

from nlpkit.vocabulary_pruning import IdMap, prune_folder, prune_vocabulary
from tests.vocabulary_pruning.small_models import bert, lines, mt5, mt5_file, qwen

FAMILIES: dict[str, tuple[Callable[[], tuple[PreTrainedModel, Any]], Any]] = {
    "mt5": (mt5, AutoModelForSeq2SeqLM),
    "qwen": (qwen, AutoModelForCausalLM),
    "bert": (bert, AutoModelForMaskedLM),
}


def saved(family: str, folder: Path, **options: Any) -> tuple[PreTrainedModel, Any]:
    model, tokenizer = FAMILIES[family][0]()
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    if family == "mt5":
        shutil.copy(mt5_file(), folder)
    return model, tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_file_by_file_gives_what_pruning_in_memory_gives(family: str, tmp_path: Path) -> None:
    model, _ = saved(family, tmp_path / "whole", max_shard_size="20KB")
    assert len(list((tmp_path / "whole").glob("model-*.safetensors"))) > 2
    texts = lines(30, seed=3)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "whole")
    expected = prune_vocabulary(model, tokenizer, corpus=texts)
    report = prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    loaded = FAMILIES[family][1].from_pretrained(tmp_path / "cut")
    for name, tensor in expected.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "cut")(texts)["input_ids"] == expected.tokenizer(texts)["input_ids"]
    )
    for name in ("vocab_size", "eos_token_id", "pad_token_id"):
        assert getattr(loaded.config, name, None) == getattr(expected.model.config, name, None)
    if expected.model.can_generate():
        assert loaded.generation_config.eos_token_id == expected.model.generation_config.eos_token_id
    assert (report.parameters_before, report.parameters_after) == (
        expected.report.parameters_before,
        expected.report.parameters_after,
    )
    assert (tmp_path / "cut" / "spiece.model").is_file() is (family == "mt5")
    index = json.loads((tmp_path / "cut" / "model.safetensors.index.json").read_text())
    files = [load_file(path) for path in (tmp_path / "cut").glob("*.safetensors")]
    assert {name for file in files for name in file} == set(index["weight_map"])
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for f in files for t in f.values())


def test_files_of_another_head_than_the_settings_name_are_read(tmp_path: Path) -> None:
    """A base model without a head, and a whole one whose settings name the base, some shapes equal to the rows."""
    model, tokenizer = qwen()
    texts = lines(30, seed=3)
    base = Qwen3Model(Qwen3Config(**{**model.config.to_dict(), "hidden_size": 768, "intermediate_size": 768}))
    base.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    report = prune_folder(tmp_path / "base", tmp_path / "cut", corpus=texts)
    loaded = AutoModel.from_pretrained(tmp_path / "cut")
    kept = list(IdMap.load(tmp_path / "cut").kept)
    assert torch.equal(loaded.embed_tokens.weight, base.embed_tokens.weight[kept])
    assert torch.equal(loaded.norm.weight, base.norm.weight)
    assert report.rows_after == len(kept)
    saved("qwen", tmp_path / "whole")
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    (tmp_path / "whole" / "config.json").write_text(json.dumps({**config, "architectures": ["Qwen3Model"]}))
    prune_folder(tmp_path / "whole", tmp_path / "cut whole", corpus=texts)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "cut whole")
    assert torch.equal(found.lm_head.weight, model.lm_head.weight[kept])


def test_what_cannot_be_pruned_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    saved("qwen", tmp_path / "whole")
    texts = lines(3)
    with pytest.raises(ValueError, match=r"corpus lists files, .*config\.json' first, and would be read as texts"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=[str(tmp_path / "whole" / "config.json")])
    with pytest.raises(
        TypeError, match=r"corpus is a path, .*; give a list of them, or nlpkit.scale.TextFiles for the"
    ):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=tmp_path / "a.txt")
    with pytest.raises(
        TypeError, match=r"text 0 is a dict; every text must be a str, such as rows\['text'\] of a data"
    ):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=[{"text": "好"}])
    with pytest.raises(ValueError, match="held_out lists files"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts, held_out=[tmp_path / "whole" / "config.json"])
    with pytest.raises(FileExistsError, match="is the source itself"):
        prune_folder(tmp_path / "whole", tmp_path / "whole", corpus=texts)
    (tmp_path / "whole" / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds an adapter, which was trained on the old ids"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    (tmp_path / "whole" / "adapter_config.json").unlink()
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    (tmp_path / "whole" / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    with pytest.raises(ValueError, match="is quantised; prune the model that it was made from"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    (tmp_path / "whole" / "config.json").write_text(json.dumps({**config, "vocab_size": 900}))
    with pytest.raises(ValueError, match=r"holds model\.embed_tokens\.weight of shape \(768, 24\)"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    (tmp_path / "whole" / "config.json").write_text(json.dumps(config))
    content = (tmp_path / "whole" / "tokenizer.json").read_text("utf-8")
    (tmp_path / "whole" / "tokenizer.json").write_text(content[:-9], "utf-8")
    with pytest.raises(ValueError, match=r"tokenizer\.json is damaged or cut off"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    (tmp_path / "whole" / "tokenizer.json").write_text(content, "utf-8")
    (tmp_path / "whole" / "model.safetensors.index.json").write_text('{"weight_map": {"a": 5}}')
    with pytest.raises(ValueError, match="has no weight_map of names of files; copy it again"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    (tmp_path / "whole" / "model.safetensors.index.json").unlink()
    weights = tmp_path / "whole" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-99])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or cut off"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="weights are read from safetensors"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=texts)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
