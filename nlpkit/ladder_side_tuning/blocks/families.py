"""The kinds of block that ladders are known to stand beside."""

from __future__ import annotations

from dataclasses import replace

from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily

_ATTENTION_BY_Q = {
    r"(q|k|v)_proj$": ("heads", "hidden"),
    r"(out|o)_proj$": ("hidden", "heads"),
}
_FEED_FORWARD = {r"fc1$": ("inner", "hidden"), r"fc2$": ("hidden", "inner")}
_BERT_DENSE = {
    r"attention\.output\.dense$": ("hidden", "heads"),
    r"intermediate\.dense$": ("inner", "hidden"),
    r"output\.dense$": ("hidden", "inner"),
}

BERT = BlockFamily(
    blocks=("BertLayer", "RobertaLayer", "XLMRobertaLayer", "CamembertLayer", "ElectraLayer", "ErnieLayer"),
    width="hidden_size",
    narrowed=("hidden_size", "intermediate_size"),
    heads="num_attention_heads",
    attention_dropout="attention_probs_dropout_prob",
    final_norm=("LayerNorm", "ln"),  # of XLM-R-XL and MegatronBERT
    spaces={r"(query|key|value)$": ("heads", "hidden"), **_BERT_DENSE},
)
ROFORMER = replace(
    BERT, blocks=("RoFormerLayer",), by_head_size=("sinusoidal_pos",), pairs="neighbours", final_norm=()
)
MPNET = replace(
    BERT,
    blocks=("MPNetLayer",),
    final_norm=(),
    by_heads=("position_bias",),
    spaces={
        r"attn\.(q|k|v)$": ("heads", "hidden"),
        r"attn\.o$": ("hidden", "heads"),
        r"intermediate\.dense$": ("inner", "hidden"),
        r"output\.dense$": ("hidden", "inner"),
    },
)
DEBERTA_V2 = replace(
    BERT,
    blocks=("DebertaV2Layer",),
    head_size="attention_head_size",
    final_norm=(),  # the encoder's LayerNorm is that of the relative positions
    by_width=("rel_embeddings",),
    spaces={r"(query|key|value)_proj$": ("heads", "hidden"), **_BERT_DENSE},
)
DISTILBERT = BlockFamily(
    blocks=("TransformerBlock",),
    width="dim",
    narrowed=("dim", "hidden_dim"),
    heads="n_heads",
    attention_dropout="attention_dropout",
    spaces={
        r"(q|k|v)_lin$": ("heads", "hidden"),
        r"out_lin$": ("hidden", "heads"),
        r"lin1$": ("inner", "hidden"),
        r"lin2$": ("hidden", "inner"),
    },
)
MODERNBERT = BlockFamily(
    blocks=("ModernBertEncoderLayer",),
    width="hidden_size",
    narrowed=("hidden_size", "intermediate_size"),
    heads="num_attention_heads",
    attention_dropout="attention_dropout",
    final_norm=("final_norm",),
    by_head_size=("position_embeddings",),
    spaces={
        r"Wqkv$": ("heads*3", "hidden"),
        r"attn\.Wo$": ("hidden", "heads"),
        r"Wi$": ("inner*2", "hidden"),
        r"mlp\.Wo$": ("hidden", "inner"),
    },
)
T5 = BlockFamily(
    blocks=("T5Block", "MT5Block"),
    width="d_model",
    narrowed=("d_model", "d_ff"),
    heads="num_heads",
    head_size="d_kv",
    final_norm=("final_layer_norm",),
    carried=("position_bias", "encoder_decoder_position_bias"),
    spaces={
        r"EncDecAttention\.(k|v)$": ("heads", "source"),
        r"\.(q|k|v)$": ("heads", "hidden"),
        r"\.o$": ("hidden", "heads"),
        r"\.wi(_\d)?$": ("inner", "hidden"),
        r"\.wo$": ("hidden", "inner"),
        r"relative_attention_bias$": ("", "numbers"),
    },
)
UMT5 = replace(T5, blocks=("UMT5Block",), carried=())
BART_DECODER = BlockFamily(
    blocks=("BartDecoderLayer", "MBartDecoderLayer", "PegasusDecoderLayer"),
    width="d_model",
    narrowed=("d_model", "decoder_ffn_dim"),
    heads="decoder_attention_heads",
    attention_dropout="attention_dropout",
    final_norm=("layer_norm",),
    spaces={r"encoder_attn\.(k|v)_proj$": ("heads", "source"), **_ATTENTION_BY_Q, **_FEED_FORWARD},
)
BART_ENCODER = replace(
    BART_DECODER,
    blocks=("BartEncoderLayer", "MBartEncoderLayer", "PegasusEncoderLayer"),
    narrowed=("d_model", "encoder_ffn_dim"),
    heads="encoder_attention_heads",
    spaces={**_ATTENTION_BY_Q, **_FEED_FORWARD},
)
OPT = BlockFamily(
    blocks=("OPTDecoderLayer",),
    width="hidden_size",
    narrowed=("hidden_size", "ffn_dim"),
    heads="num_attention_heads",
    attention_dropout="attention_dropout",
    final_norm=("final_layer_norm",),
    final_projection="project_out",
    spaces=BART_ENCODER.spaces,
)
GPT2 = BlockFamily(
    blocks=("GPT2Block",),
    width="n_embd",
    narrowed=("n_embd", "n_inner"),
    heads="n_head",
    attention_dropout="attn_pdrop",
    final_norm=("ln_f",),
    spaces={
        r"c_attn$": ("heads*3", "hidden"),
        r"attn\.c_proj$": ("hidden", "heads"),
        r"c_fc$": ("inner", "hidden"),
        r"mlp\.c_proj$": ("hidden", "inner"),
    },
)
_GATED = {r"(gate|up)_proj$": ("inner", "hidden"), r"down_proj$": ("hidden", "inner")}
LLAMA = BlockFamily(
    blocks=("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"),
    width="hidden_size",
    narrowed=("hidden_size", "intermediate_size"),
    heads="num_attention_heads",
    key_value_heads="num_key_value_heads",
    head_size="head_dim",
    attention_dropout="attention_dropout",
    final_norm=("norm",),
    by_head_size=("position_embeddings",),
    spaces={**_ATTENTION_BY_Q, r"(q|k)_norm$": ("head",), **_GATED},
)
OLMO2 = replace(LLAMA, blocks=("Olmo2DecoderLayer",), spaces={**_ATTENTION_BY_Q, r"(q|k)_norm$": ("heads",), **_GATED})
#: Blocks are looked up by name in all of them, then by what they are made of.
FAMILIES = (
    BERT,
    ROFORMER,
    MPNET,
    DEBERTA_V2,
    DISTILBERT,
    MODERNBERT,
    T5,
    UMT5,
    BART_DECODER,
    BART_ENCODER,
    OPT,
    GPT2,
    LLAMA,
    OLMO2,
)
