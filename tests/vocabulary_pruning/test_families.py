"""Many kinds of model, each seen to answer as before on what is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, PreTrainedModel

from nlpkit.files import read_json
from nlpkit.vocabulary_pruning import prune_folder, prune_vocabulary
from nlpkit.vocabulary_pruning.models.rows import vocabulary_tables
from tests.vocabulary_pruning.small_models import bert, bpe_tokenizer, lines

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
#: Of BART's kin, and the ids that the small BERT's tokenizer has for its special tokens.
PARTS = {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "ffn_dim", "attention_heads")}
ENDS = {"pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 4}


def of(name: str, **settings: Any) -> Callable[[int], PreTrainedModel]:
    def make(rows: int) -> PreTrainedModel:
        cls = getattr(transformers, name)
        model: PreTrainedModel = cls(cls.config_class(vocab_size=rows, **settings))
        return model

    return make


def llava(rows: int) -> PreTrainedModel:
    """A model of pictures and texts, whose vocabulary is that of a part."""
    text = LlamaConfig(vocab_size=rows, num_key_value_heads=2, **SMALL)
    vision = CLIPVisionConfig(image_size=28, patch_size=14, **SMALL)
    return transformers.LlavaForConditionalGeneration(
        LlavaConfig(text_config=text, vision_config=vision, image_token_index=rows - 1)
    )


def t5_gemma(rows: int) -> PreTrainedModel:
    """An encoder and a decoder with settings and embeddings of their own."""
    part = {"vocab_size": rows, "num_key_value_heads": 1, "head_dim": 8, **ENDS, **SMALL}
    return transformers.T5GemmaForConditionalGeneration(
        transformers.T5GemmaConfig(encoder=part, decoder=part, vocab_size=rows, **ENDS)
    )


def gemma_3n(rows: int) -> PreTrainedModel:
    """With a second table of the same tokens for each layer."""
    settings = {**SMALL, "intermediate_size": [16, 16], "num_hidden_layers": 2}
    return transformers.Gemma3nForCausalLM(
        transformers.Gemma3nTextConfig(
            vocab_size=rows,
            vocab_size_per_layer_input=rows,
            num_key_value_heads=1,
            head_dim=8,
            hidden_size_per_layer_input=4,
            num_kv_shared_layers=0,
            laurel_rank=2,
            altup_num_inputs=2,
            activation_sparsity_pattern=[0.0, 0.0],
            **ENDS,
            **settings,
        )
    )


def fsmt(rows: int) -> PreTrainedModel:
    """Which says its size twice."""
    config = transformers.FSMTConfig(
        langs=["en", "zh"], src_vocab_size=rows, tgt_vocab_size=rows, d_model=16, **ENDS, **PARTS
    )
    return transformers.FSMTForConditionalGeneration(config)


DECODERS = {
    "Llama": of("LlamaForCausalLM", num_key_value_heads=2, **SMALL),
    "Gemma 3": of("Gemma3ForCausalLM", num_key_value_heads=1, head_dim=8, **SMALL),
    "GPT-2": of("GPT2LMHeadModel", n_embd=16, n_layer=1, n_head=2, bos_token_id=700, eos_token_id=700),
    "GPT-NeoX": of("GPTNeoXForCausalLM", bos_token_id=700, eos_token_id=700, **SMALL),
    "Llava": llava,
}
OTHERS = {
    "ALBERT": of("AlbertForMaskedLM", embedding_size=8, **SMALL),
    "DeBERTa": of("DebertaV2ForMaskedLM", **SMALL),
    "DistilBERT": of("DistilBertForMaskedLM", dim=16, hidden_dim=16, n_layers=1, n_heads=2),
    "ELECTRA": of("ElectraForMaskedLM", embedding_size=8, **SMALL),
    "ModernBERT": of("ModernBertForMaskedLM", cls_token_id=3, sep_token_id=4, **ENDS, **SMALL),
    "XLM-R": of("XLMRobertaForMaskedLM", **ENDS, **SMALL),
    "mBART": of("MBartForConditionalGeneration", d_model=16, forced_eos_token_id=4, **ENDS, **PARTS),
    "Marian": of("MarianMTModel", d_model=16, decoder_start_token_id=0, forced_eos_token_id=4, **ENDS, **PARTS),
    "Marian with two tables": of(
        "MarianMTModel",
        d_model=16,
        share_encoder_decoder_embeddings=False,
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        forced_eos_token_id=4,
        **ENDS,
        **PARTS,
    ),
    "BART for classes": of("BartForSequenceClassification", d_model=16, forced_eos_token_id=4, **ENDS, **PARTS),
    "FSMT": fsmt,
    "T5Gemma": t5_gemma,
    "Gemma 3n": gemma_3n,
}


def made(family: str) -> tuple[PreTrainedModel, Any]:
    tokenizer = bpe_tokenizer() if family in DECODERS else bert()[1]
    torch.manual_seed(0)
    model = (DECODERS | OTHERS)[family](len(tokenizer))
    for parameter in model.parameters():  # of the first weights some parts say nothing
        if parameter.requires_grad:  # sinusoids are computed again
            parameter.data.normal_(0, 0.3)
    return model, tokenizer


@pytest.mark.parametrize("family", [*DECODERS, *OTHERS])
def test_models_of_many_kinds_answer_as_before(family: str) -> None:
    model, tokenizer = made(family)
    model = model.double()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = prune_vocabulary(model, tokenizer, corpus=lines(20))
    assert found.report.difference is not None
    assert found.report.difference < 1e-12
    rows = len(found.id_map.kept)
    assert rows < len(tokenizer)
    assert found.model.config.get_text_config().vocab_size == rows
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    again = found.expand(model).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("family", [*DECODERS, *OTHERS])
def test_their_folders_give_the_same_as_they_do(family: str, tmp_path: Path) -> None:
    """Files name some weights otherwise than the class does; settings say some sizes twice."""
    model, tokenizer = made(family)
    model.save_pretrained(tmp_path / "whole")
    tokenizer.save_pretrained(tmp_path / "whole")
    prune_folder(tmp_path / "whole", tmp_path / "cut", tokenizer=tokenizer, corpus=lines(20), show_progress=False)
    found, told = type(model).from_pretrained(tmp_path / "cut", output_loading_info=True)
    assert not told["missing_keys"] and not told["mismatched_keys"] and not told["unexpected_keys"]
    expected = prune_vocabulary(model, tokenizer, corpus=lines(20)).model
    expected.save_pretrained(tmp_path / "expected")
    written = [read_json(tmp_path / folder / "config.json") for folder in ("cut", "expected")]
    assert written[0] == written[1]
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def test_two_vocabularies_are_refused() -> None:
    model, tokenizer = fsmt(500), bert()[1]
    model.config.src_vocab_size = 400
    with pytest.raises(ValueError, match="FSMTConfig have src_vocab_size=400 beside 500 rows: another vocabulary"):
        vocabulary_tables(type(model), model.config)
    model = gemma_3n(len(tokenizer))
    model.config.vocab_size_per_layer_input -= 1
    with pytest.raises(ValueError, match=r"vocab_size_per_layer_input=.* another table of this one; it cannot be"):
        prune_vocabulary(model, tokenizer, corpus=lines(20), check=False)
