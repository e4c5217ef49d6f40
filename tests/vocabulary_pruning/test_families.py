"""Many kinds of model, each seen to answer as before on what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, PreTrainedModel

from nlpkit.vocabulary_pruning import prune_vocabulary
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


DECODERS = {
    "Llama": of("LlamaForCausalLM", num_key_value_heads=2, **SMALL),
    "Gemma 3": of("Gemma3ForCausalLM", num_key_value_heads=1, head_dim=8, **SMALL),
    "GPT-2": of("GPT2LMHeadModel", n_embd=16, n_layer=1, n_head=2, bos_token_id=700, eos_token_id=700),
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
}


@pytest.mark.parametrize("family", [*DECODERS, *OTHERS])
def test_models_of_many_kinds_answer_as_before(family: str) -> None:
    tokenizer = bpe_tokenizer() if family in DECODERS else bert()[1]
    torch.manual_seed(0)
    model = (DECODERS | OTHERS)[family](len(tokenizer)).double()
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
