"""What stands outside the blocks has the depth of the block that it runs behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from nlpkit.training.weights.depths import depths

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
BART = {
    "vocab_size": 40, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
}  # fmt: skip
OPT = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "ffn_dim": 24, "num_attention_heads": 2,
    "word_embed_proj_dim": 8,
}  # fmt: skip
FUNNEL = {"vocab_size": 40, "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24, "block_sizes": [1, 1]}
UNIT = {f"{part}_groups": 1 for part in ("q", "k", "v", "post_attention", "intermediate", "output")}


@pytest.mark.parametrize(
    ("cls", "config", "expected"),
    [
        ("ElectraForSequenceClassification", {**SMALL, "embedding_size": 8}, {"electra.embeddings_project.weight": 0}),
        (
            "AlbertForSequenceClassification",
            {**SMALL, "embedding_size": 8, "num_hidden_groups": 2},
            {"albert.encoder.embedding_hidden_mapping_in.weight": 0, "albert.pooler.weight": 3},
        ),
        (
            "BloomForCausalLM",
            {"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 2},
            {"transformer.word_embeddings_layernorm.weight": 0, "transformer.ln_f.weight": 3},
        ),
        (
            "BartForConditionalGeneration",
            BART,
            {"model.encoder.layernorm_embedding.weight": 0, "model.decoder.layernorm_embedding.weight": 0},
        ),
        (
            "BartForSequenceClassification",
            BART,
            {"classification_head.dense.weight": 3},
        ),  # wants ends of text
        (
            "OPTForCausalLM",
            OPT,
            {
                "model.decoder.project_in.weight": 0,
                "model.decoder.project_out.weight": 3,
                "model.decoder.final_layer_norm.weight": 3,
            },
        ),
        (
            "DebertaV2ForSequenceClassification",
            {**SMALL, "conv_kernel_size": 3, "relative_attention": True, "norm_rel_ebd": "layer_norm"},
            {"deberta.encoder.LayerNorm.weight": 0, "deberta.encoder.conv.conv.weight": 1, "pooler.dense.weight": 3},
        ),
        (
            "FunnelForSequenceClassification",  # whose blocks are lists
            FUNNEL,
            {"funnel.embeddings.layer_norm.weight": 0, "classifier.linear_out.weight": 3},
        ),
        (
            "SqueezeBertForSequenceClassification",  # which calls forward of its blocks
            {**SMALL, **UNIT, "embedding_size": 16},
            {"transformer.pooler.dense.weight": 3},
        ),
        (
            "T5ForConditionalGeneration",
            {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
            {"encoder.final_layer_norm.weight": 3, "decoder.final_layer_norm.weight": 3},
        ),
        (
            "CanineForSequenceClassification",
            {name: value for name, value in SMALL.items() if name != "vocab_size"} | {"num_hash_buckets": 16},
            {"classifier.weight": 3, "canine.char_embeddings.char_position_embeddings.weight": 0},
        ),
        (
            "ViTForImageClassification",  # which takes no token ids
            {name: value for name, value in SMALL.items() if not name.endswith(("_id", "vocab_size"))},
            {"vit.embeddings.patch_embeddings.projection.weight": 0, "vit.layernorm.weight": 3},
        ),
    ],
)
def test_what_is_below_the_blocks_and_what_above(cls: str, config: dict[str, Any], expected: dict[str, int]) -> None:
    made: Any = getattr(transformers, cls)
    model = made(made.config_class(**config)).train()
    state = torch.random.get_rng_state()
    found, head = depths(model)
    assert head == 3
    assert {name: found[name] for name in expected} == expected
    assert model.training and torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_pre_hooks for module in model.modules())
