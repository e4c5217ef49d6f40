"""Comparing what was with what is: how texts are cut, and what both models answer on kept tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from nlpkit.modes import evaluating
from nlpkit.probes import room_for_tokens
from nlpkit.vocabulary_pruning.report import TextChanges

_LENGTH, _ROWS = 8, 8


def compare_cuts(texts: Sequence[str], before: Tokenizer, after: Tokenizer, new_ids: Mapping[int, int]) -> TextChanges:
    """Cut texts with both tokenizers.

    Args:
        texts: any.
        before: the old tokenizer.
        after: the new one.
        new_ids: of the kept ids.
    """
    tokens_before = tokens_after = kept = changed = 0
    old_rows = before.encode_batch_fast(list(texts), add_special_tokens=False)
    for old, new in zip(old_rows, after.encode_batch_fast(list(texts), add_special_tokens=False), strict=True):
        expected = [new_ids.get(number, -1) for number in old.ids]
        tokens_before += len(old.ids)
        tokens_after += len(new.ids)
        kept += len(expected) - expected.count(-1)
        changed += expected != new.ids
    return TextChanges(len(texts), tokens_before, tokens_after, kept, changed)


@torch.no_grad()
def largest_difference(before: PreTrainedModel, after: PreTrainedModel, kept: Tensor) -> float:
    """Run both models on a few rows of kept tokens.

    Args:
        before: the model.
        after: the one with fewer rows.
        kept: old ids, ascending, shape ``(rows,)``.

    Returns:
        The largest difference of the logits over kept ids, or of the states of a model without a head.

    Raises:
        ValueError: the models do not run on ids and a mask alone, or they answer otherwise.
    """
    length = min(_LENGTH, room_for_tokens(before) or _LENGTH)
    places = torch.linspace(0, len(kept) - 1, _ROWS * length).long().view(_ROWS, length)
    for number in _ends(before):  # once in each row, since heads of encoder-decoders read the state there
        place = int(torch.searchsorted(kept, number))
        places[places == place] = place - 1 if place else 1
        places[:, -1] = place
    answers = [_answer(before, kept[places]), _answer(after, places)]
    if answers[0].shape[-1] != answers[1].shape[-1]:
        answers[0] = answers[0].index_select(-1, kept.to(answers[0].device))
    old, new = answers
    difference = float((old - new).abs().max())
    if old.isnan().any():
        raise ValueError(f"{type(before).__name__} answers NaN, as it is, so that nothing can be compared; mend it")
    # In less precision than fp64 a product with fewer columns may be rounded otherwise.
    if not difference <= torch.finfo(old.dtype).eps ** 0.5 * float(old.abs().max()):
        raise ValueError(
            f"{type(before).__name__} with fewer rows would read the same tokens otherwise: its answers differ by "
            f"{difference:.2g}. It may hold ids that its settings do not name; keep these, or prune no further"
        )
    return difference


def _ends(model: PreTrainedModel) -> list[int]:
    """The ids that end a text, the last of them the one that does so by itself."""
    ends = model.config.get_text_config().eos_token_id
    return [] if ends is None else [ends] if isinstance(ends, int) else list(reversed(ends))


def _answer(model: PreTrainedModel, ids: Tensor) -> Tensor:
    ids = ids.to(model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with evaluating(model):
        try:
            output = model(**inputs)
        except Exception as error:  # whatever a model raises that wants other inputs
            raise ValueError(
                f"{type(model).__name__} fails on input_ids and attention_mask alone ({error}), so that it cannot be "
                "seen to answer as before; check=False prunes it unseen"
            ) from error
    found: Tensor = output["logits"] if "logits" in output else output[0]
    return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found
