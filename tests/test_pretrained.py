"""What is opened as a masked language model, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import (
    BertConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    ModernBertConfig,
    PreTrainedConfig,
    T5Config,
)

from nlpkit.pretrained import open_config, open_encoder_decoder, open_masked_lm, open_tokenizer, refuse_other_kinds


def test_a_decoder_is_refused_by_its_name(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a GPT2LMHeadModel, which fills no masks"):
        open_masked_lm(tmp_path)


def test_a_masked_lm_and_one_that_brings_its_own_code_are_not(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path / "bert")
    refuse_other_kinds(tmp_path / "bert")
    GPT2Config(auto_map={"AutoModelForMaskedLM": "modeling.Own"}).save_pretrained(tmp_path / "own")
    refuse_other_kinds(tmp_path / "own")


def test_a_folder_without_a_model_is_told_and_an_adapter_is_left_to_what_loads_it(tmp_path: Path) -> None:
    for opens in (open_config, open_masked_lm, open_encoder_decoder, open_tokenizer):
        with pytest.raises(FileNotFoundError, match=rf"{tmp_path} holds no config.json; give the folder of a transf"):
            opens(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}", "utf-8")
    refuse_other_kinds(tmp_path)


@pytest.mark.parametrize("config", [BertConfig, GPT2Config, LlamaConfig, ModernBertConfig, T5Config])
def test_a_model_without_its_tokenizer_is_told(config: type[PreTrainedConfig], tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"{tmp_path} holds no tokenizer; save one there"):
        open_tokenizer(tmp_path)


def test_a_decoder_is_no_encoder_decoder(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a gpt2, no encoder-decoder; give a T5, mT5 or BART"):
        open_encoder_decoder(tmp_path)
