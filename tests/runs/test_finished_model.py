"""A finished model's folder: fp16 tensors that are loaded as fp32, and nothing of an older one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from huggingface_hub import ModelCardData
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from nlpkit.runs import markdown_table, model_card, save_finished_model


def test_a_folder_holds_fp16_that_is_loaded_as_fp32_and_what_lies_beside(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"pieces")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"of an older model")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=6, **sizes))
    tokenizer = BertTokenizer({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "好": 5})
    save_finished_model(
        folder,
        model,
        tokenizer,
        dtype="float16",
        metrics={"loss": 2.5},
        card="# mini\n",
        beside=[tmp_path / "spiece.model"],
    )
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert BertForMaskedLM.from_pretrained(folder).dtype == torch.float32
    assert BertTokenizer.from_pretrained(folder).tokenize("好") == ["好"]
    assert json.loads((folder / "results.json").read_text("utf-8")) == {"loss": 2.5}
    assert (folder / "README.md").read_text("utf-8") == "# mini\n"
    assert (folder / "spiece.model").read_bytes() == b"pieces"
    assert not (folder / "model-00001-of-00002.safetensors").exists()


def test_a_card_has_its_parts_in_order() -> None:
    header = ModelCardData(language="zh", license="mit")
    card = model_card("mini", header, about="What.", facts={"steps": 1200, "rate": "3e-3"}, results="R.", notice="N.")
    assert yaml.safe_load(card.split("---\n")[1]) == {"language": "zh", "license": "mit"}
    parts = ["# mini", "What.", "| steps | 1,200 |", "| rate | 3e-3 |", "R.", "## Sources and notices\n\nN.", "Made"]
    assert sorted(parts, key=card.index) == parts
    assert "Sources" not in model_card("mini", header, about="What.", facts={}, results="R.")


def test_empty_cells_stay() -> None:
    assert markdown_table(["a", "b"], [["", "1"], ["x", ""]], numbers_from=1).split("\n")[1:] == [
        "| --- | ---: |",
        "| | 1 |",
        "| x | |",
    ]
