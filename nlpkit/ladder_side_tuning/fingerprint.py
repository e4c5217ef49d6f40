"""Which weights a ladder stands on."""

from __future__ import annotations

import hashlib

import torch

from nlpkit.ladder_side_tuning.ladder import Ladder


def backbone_fingerprint(ladder: Ladder) -> str:
    """A digest of the weights that a ladder stands on: the embeddings of tokens and the frozen blocks.

    Weights are rounded to bf16 first, so that a checkpoint is known again in any precision it is loaded in.

    Args:
        ladder: a model with a ladder.

    Returns:
        32 hexadecimal digits.

    Note:
        Takes about two seconds per billion parameters.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> wide, narrow = (get_ladder_model(model, LadderConfig(reduction=r)) for r in (1, 4))
        >>> backbone_fingerprint(wide) == backbone_fingerprint(narrow)
        True
    """
    rungs = [rung for stack in ladder.stacks for rung in ladder.rungs(stack)]
    modules = [ladder.get_input_embeddings(), *(rung.block for rung in rungs)]
    digest = hashlib.blake2b(digest_size=16)
    for parameter in (parameter for module in modules for parameter in module.parameters()):
        digest.update(str(tuple(parameter.shape)).encode())
        digest.update(parameter.detach().to(torch.bfloat16).contiguous().view(torch.int16).cpu().numpy().data)
    return digest.hexdigest()
