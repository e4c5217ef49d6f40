"""What a ladder must know of a kind of block: which settings are its widths, and which of its weights belong together.

The side network is built from the backbone's own block class with narrower widths, so no model's code is written a
second time. A new kind of block is one more ``BlockFamily``, given to ``get_ladder_model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd

from torch import nn
from transformers import PreTrainedConfig


@dataclass(frozen=True)
class BlockFamily:
    """One kind of transformer block.

    Args:
        blocks: names of the block classes; subclasses are found too. A block is built as ``Block(config)``, with
            ``layer_idx`` and ``has_relative_attention_bias`` where its constructor has them.
        width: setting that holds the size of the residual stream.
        narrowed: all settings that are divided by the reduction; those that are ``None`` stay so.
        heads: setting that holds the number of attention heads.
        key_value_heads: setting that holds the number of heads of keys and values, if it is a different one.
        head_size: setting that holds the size of a head; ``None``: the width divided by the heads.
        attention_dropout: setting that holds the dropout of attention maps, if there is one for them alone.
        final_norm: the stack's attribute that holds the norm after the last block, if there is one.
        carried: arguments that a block returns for the next one, in the order of its outputs after the first.
        by_head_size: arguments whose last axis is the size of a head; side blocks get as many columns, evenly spread,
            as their heads have.
        spaces: how the rows and columns of the block's matrices are tied together for structured pruning: a pattern
            of a module's name to the names of its output and input space. ``hidden`` is one for the whole stack,
            ``source`` is the ``hidden`` of the encoder, ``heads`` is one per attention, ``inner`` one per block. A
            ``heads`` that ends in ``*3`` is three such spaces in a row. ``numbers`` are those of the heads, where all
            attentions of a stack must keep the same ones. A module that no pattern matches belongs to ``hidden``.
    """

    blocks: tuple[str, ...]
    width: str
    narrowed: tuple[str, ...]
    heads: str
    key_value_heads: str | None = None
    head_size: str | None = None
    attention_dropout: str | None = None
    final_norm: str | None = None
    carried: tuple[str, ...] = ()
    by_head_size: tuple[str, ...] = ()
    spaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def holds(self, block: nn.Module) -> bool:
        """Whether a block is of this kind."""
        return any(kind.__name__ in self.blocks for kind in type(block).__mro__)

    def size_of_head(self, config: PreTrainedConfig) -> int:
        """The size of an attention head."""
        size = getattr(config, self.head_size, None) if self.head_size is not None else None
        return int(size or getattr(config, self.width) // getattr(config, self.heads))

    def count_heads(self, config: PreTrainedConfig) -> int:
        """How many heads can be left out one by one: those of keys and values, with all queries that read them."""
        return int(getattr(config, self.key_value_heads or self.heads))

    def split(self, config: PreTrainedConfig, reduction: int) -> tuple[int, int]:
        """Divide the heads' common width: by smaller heads as far as possible, then by fewer.

        Args:
            config: the backbone's.
            reduction: by which all widths are divided.

        Returns:
            How many times fewer heads there are, and how many times smaller each is; their product is the reduction.
        """
        size = self.size_of_head(config)
        # Rotary positions turn pairs of columns, one from each half of a head.
        smaller = gcd(reduction, size // 2 if self.by_head_size else size)
        return reduction // smaller, smaller

    def divisors(self, config: PreTrainedConfig, reduction: int) -> dict[str, int]:
        """By how much each setting that makes a block narrow is divided."""
        fewer, smaller = self.split(config, reduction)
        found = dict.fromkeys(self.narrowed, reduction) | {self.heads: fewer}
        if self.key_value_heads is not None:
            found[self.key_value_heads] = fewer
        if self.head_size is not None:
            found[self.head_size] = smaller
        return found


_ATTENTION_BY_Q = {
    r"encoder_attn\.(k|v)_proj$": ("heads", "source"),
    r"(q|k|v)_proj$": ("heads", "hidden"),
    r"(out|o)_proj$": ("hidden", "heads"),
}

BERT = BlockFamily(
    blocks=("BertLayer", "RobertaLayer", "XLMRobertaLayer", "CamembertLayer", "ElectraLayer", "ErnieLayer"),
    width="hidden_size",
    narrowed=("hidden_size", "intermediate_size"),
    heads="num_attention_heads",
    attention_dropout="attention_probs_dropout_prob",
    spaces={
        r"(query|key|value)$": ("heads", "hidden"),
        r"attention\.output\.dense$": ("hidden", "heads"),
        r"intermediate\.dense$": ("inner", "hidden"),
        r"output\.dense$": ("hidden", "inner"),
    },
)
T5 = BlockFamily(
    blocks=("T5Block", "MT5Block"),
    width="d_model",
    narrowed=("d_model", "d_ff"),
    heads="num_heads",
    head_size="d_kv",
    final_norm="final_layer_norm",
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
BART_ENCODER = BlockFamily(
    blocks=("BartEncoderLayer", "MBartEncoderLayer", "PegasusEncoderLayer"),
    width="d_model",
    narrowed=("d_model", "encoder_ffn_dim"),
    heads="encoder_attention_heads",
    attention_dropout="attention_dropout",
    final_norm="layer_norm",
    spaces={**_ATTENTION_BY_Q, r"fc1$": ("inner", "hidden"), r"fc2$": ("hidden", "inner")},
)
BART_DECODER = BlockFamily(
    blocks=("BartDecoderLayer", "MBartDecoderLayer", "PegasusDecoderLayer"),
    width="d_model",
    narrowed=("d_model", "decoder_ffn_dim"),
    heads="decoder_attention_heads",
    attention_dropout="attention_dropout",
    final_norm="layer_norm",
    spaces=BART_ENCODER.spaces,
)
GPT2 = BlockFamily(
    blocks=("GPT2Block",),
    width="n_embd",
    narrowed=("n_embd", "n_inner"),
    heads="n_head",
    attention_dropout="attn_pdrop",
    final_norm="ln_f",
    spaces={
        r"c_attn$": ("heads*3", "hidden"),
        r"attn\.c_proj$": ("hidden", "heads"),
        r"c_fc$": ("inner", "hidden"),
        r"mlp\.c_proj$": ("hidden", "inner"),
    },
)
LLAMA = BlockFamily(
    blocks=("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"),
    width="hidden_size",
    narrowed=("hidden_size", "intermediate_size"),
    heads="num_attention_heads",
    key_value_heads="num_key_value_heads",
    head_size="head_dim",
    attention_dropout="attention_dropout",
    final_norm="norm",
    by_head_size=("position_embeddings",),
    spaces={
        **_ATTENTION_BY_Q,
        r"(q|k)_norm$": ("head",),
        r"(gate|up)_proj$": ("inner", "hidden"),
        r"down_proj$": ("hidden", "inner"),
    },
)
FAMILIES = (BERT, T5, BART_ENCODER, BART_DECODER, GPT2, LLAMA)
