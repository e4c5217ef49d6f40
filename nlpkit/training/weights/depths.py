"""How deep a tensor lies in a model of any architecture."""

from __future__ import annotations

from typing import Any

from torch import nn

from nlpkit.optimizers.blocks import block_stacks


def depths(model: nn.Module) -> tuple[dict[str, int], int]:
    """The depth of each parameter: 0 at the embeddings, 1 in the lowest block, and so on up to the head.

    Args:
        model: any model of ``nn.ModuleList`` s of blocks, or PEFT's wrapper around one.

    Returns:
        Depths by the name of the parameter, and that of the head, one above the highest block. Embeddings are
        ``nn.Embedding`` s outside the blocks, and what stands beside the input embedding in a module without blocks,
        as BERT's norm does. Whatever else is outside the blocks (a final norm, a pooler) counts as the head. Of two
        stacks, an encoder and a decoder, each ends right below the head.

    Raises:
        ValueError: the model has no blocks.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> found, head = depths(BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2,
        ...                                           num_attention_heads=2, intermediate_size=8)))
        >>> [found[name] for name in ("embeddings.LayerNorm.weight", "encoder.layer.1.output.dense.bias",
        ...                           "pooler.dense.weight")]
        [0, 2, 3]
    """
    stacks = block_stacks(model)
    if not stacks:
        raise ValueError(f"{type(model).__name__} has no nn.ModuleList of blocks, by which depths are told")
    height = max(len(blocks) for blocks in stacks.values())
    found = {}
    lowest = _lowest(model, list(stacks))
    for name, parameter in model.named_parameters():
        stack = next((stack for stack in stacks if name.startswith(f"{stack}.")), None)
        if stack is not None:
            place = int(name[len(stack) + 1 :].partition(".")[0])
            found[name] = place + 1 + height - len(stacks[stack])
        else:
            found[name] = 0 if parameter in lowest else height + 1
    return found, height + 1


def _lowest(model: Any, stacks: list[str]) -> set[nn.Parameter]:
    found = set()
    embedding = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    for name, module in model.named_modules():
        holds_blocks = any(f"{stack}.".startswith(f"{name}." if name else "") for stack in stacks)
        beside = not holds_blocks and any(child is embedding for child in module.children())
        if isinstance(module, nn.Embedding) or beside:
            found.update(module.parameters())
    return found
