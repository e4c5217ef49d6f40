"""Whether a model predicts a mask from both sides, by its output layer alone, and reads no padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.modes import evaluating
from nlpkit.pet.output_layer_input import logits_of, output_layer, reading
from nlpkit.probes.room import room_for_tokens
from nlpkit.token_table import token_rows

#: Below this share of the largest logit a difference may be one of rounding; bf16 has three digits.
_ROUNDING = 0.02
#: A causal model's logits do not depend on what follows, but perhaps in the last digit.
_UNCHANGED = 1e-6
#: Padding changes the sums of a model that does not read it in the last digits only.
_PADDING = 1e-4
#: Tokens of a text, and of what follows it: few, which lie beside each other, and more than local attention takes in
#: one piece.
_TEXTS, _WIDTHS = (4, 66), (4, 67)
_ADVICE = "use a masked LM such as BERT's, RoBERTa's or WoBERT's"


def refuse_another_head(model: PreTrainedModel, inputs: Mapping[str, Tensor], column: int) -> Tensor:
    """Refuse a model whose logits are not those of its output layer at the states that the layer is handed.

    Args:
        model: in any mode, which stays.
        inputs: a row of its inputs, ``(1, length)``.
        column: where the logits are looked at.

    Returns:
        The logits there, ``(vocabulary,)``.

    Raises:
        ValueError: they differ, are NaN, or a pass ends with an error; the message says which model is wanted.
    """
    name = type(model).__name__
    given = {key: tensor.to(model.device) for key, tensor in inputs.items()}
    rows, columns = (torch.tensor([place], device=model.device) for place in (0, column))
    try:
        with evaluating(model), torch.no_grad():
            full: Tensor = model(**given).logits[0, column].float()
            layer = output_layer(model)
            with reading(rows, columns) as found:
                model(**given)
            if found.states is None:
                raise RuntimeError("its output layer is not called")
            read = logits_of(layer, found.states, None)[0].float()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be asked at a mask ({error}); {_ADVICE}") from error
    if full.isnan().any():
        raise ValueError(f"{name} predicts NaN at a mask: its weights are broken; load or train it again")
    if full.shape != read.shape or (full - read).abs().max() > _ROUNDING * full.abs().max():
        raise ValueError(
            f"the logits of {name} are not what its output layer makes of the states that it is handed; {_ADVICE}"
        )
    return full


def refuse_no_masked_lm(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model that does not predict a mask from both of its sides.

    Args:
        model: in any mode, which stays.
        tokenizer: its tokenizer, with a mask token.

    Raises:
        ValueError: as of ``refuse_another_head`` and ``refuse_reading_padding``; or what precedes a mask counts and
            what follows does not, as in causal models.

    Note:
        Nine passes over few tokens; eleven where what follows does not count.
    """
    first, second = _two_tokens(model, tokenizer)

    def between(before: int, after: int) -> Tensor:
        row = torch.tensor([[before, tokenizer.mask_token_id, after, after]])
        return refuse_another_head(model, {"input_ids": row, "attention_mask": torch.ones_like(row)}, 1)

    logits = between(first, first)
    # A model whose weights are all alike reads neither side: it has learnt nothing, but is not causal.
    if _same(logits, between(first, second)) and not _same(logits, between(second, first)):
        raise ValueError(
            f"what {type(model).__name__} predicts at a mask does not depend on what follows, as in causal models; "
            f"{_ADVICE}"
        )

    for length in lengths_for_padding(model, tokenizer):
        row = torch.tensor([[first, tokenizer.mask_token_id] + [first] * (length - 2)])
        refuse_reading_padding(model, tokenizer, {"input_ids": row}, lambda inputs: model(**inputs).logits[0, 1])


def lengths_for_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """How long the texts should be that ``refuse_reading_padding`` looks at, with room for padding behind them."""
    room = room_for_tokens(model, tokenizer)
    return [length if room is None else max(2, min(length, room // 2)) for length in _TEXTS]


def refuse_reading_padding(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Mapping[str, Tensor],
    answer: Callable[[dict[str, Tensor]], Tensor],
) -> None:
    """Refuse a model that reads padding: its answer to a text would depend on the other texts of a batch.

    Args:
        model: in any mode, which stays.
        tokenizer: says what pads.
        inputs: of one text, ``input_ids`` ``(1, length)`` and whatever else the model takes.
        answer: asks the model.

    Raises:
        ValueError: the answer is another one where padding follows the text.

    Note:
        Three passes. In half precision, only differences are seen that are far above its rounding.
    """
    row, room = inputs["input_ids"], room_for_tokens(model, tokenizer)

    def followed(width: int) -> Tensor:
        padding = torch.full((1, width), tokenizer.pad_token_id or 0)
        mask = torch.cat([torch.ones_like(row), 0 * padding], 1)
        given = {**inputs, "input_ids": torch.cat([row, padding], 1), "attention_mask": mask}
        with evaluating(model), torch.no_grad():
            return answer({name: tensor.to(model.device) for name, tensor in given.items()}).float()

    with _precisions(model) as precisions:
        alone = followed(0)
    widths = (width if room is None else min(width, max(0, room - row.shape[1])) for width in _WIDTHS)
    rounding = max(_PADDING, *(16 * torch.finfo(one).eps for one in precisions)) * alone.abs().max()
    if any((alone - followed(width)).abs().max() > rounding for width in widths):
        raise ValueError(
            f"{type(model).__name__} reads the padding behind a text, so that its answers would depend on the other "
            "texts of a batch; use a model that does not, such as BERT's, RoBERTa's or WoBERT's"
        )


def refuse_padding_in_states(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse an encoder whose states of a text depend on the padding behind it, as FNet's do.

    Args:
        encoder: in any mode, which stays.
        tokenizer: of it.

    Raises:
        ValueError: they do, or it has no table of tokens.

    Note:
        Six passes over one text.
    """
    first, _ = _two_tokens(encoder, tokenizer)
    for length in lengths_for_padding(encoder, tokenizer):
        row = torch.full((1, length), first)

        def states(inputs: dict[str, Tensor], own: int = row.shape[1]) -> Tensor:
            return encoder(**inputs, return_dict=True).last_hidden_state[0, :own]

        refuse_reading_padding(encoder, tokenizer, {"input_ids": row}, states)


def sees_what_follows(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether an encoder's first state depends on what follows it, as those of causal models do not.

    Args:
        encoder: in any mode, which stays.
        tokenizer: of it.

    Note:
        Two passes over few tokens.
    """
    first, second = _two_tokens(encoder, tokenizer)
    rows = torch.tensor([[first, first, first, first], [first, second, second, second]], device=encoder.device)
    with evaluating(encoder), torch.no_grad():
        states = encoder(input_ids=rows, attention_mask=torch.ones_like(rows)).last_hidden_state[:, 0].float()
    return not _same(states[0], states[1])


def _two_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Two tokens that stand for text, alike where there is but one.

    Raises:
        ValueError: there is none, or no table of tokens.
    """
    special = set(tokenizer.all_special_ids)
    size = min(len(tokenizer), len(token_rows(model)))
    ordinary = [identifier for identifier in range(size) if identifier not in special][:2]
    if not ordinary:
        raise ValueError(
            f"the tokenizer of {type(model).__name__} knows special tokens alone; save the model's own beside it"
        )
    return ordinary[0], ordinary[-1]


@contextmanager
def _precisions(model: PreTrainedModel) -> Iterator[set[torch.dtype]]:
    """What a model computes in; of autocast, which a Trainer wraps around it for good, its dtype says nothing."""
    found = {model.dtype}

    def seen(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            found.add(output.dtype)

    handles = [module.register_forward_hook(seen) for module in model.modules()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def refuse_no_start_of_decoder(model: PreTrainedModel) -> None:
    """Refuse a model with a decoder whose config does not say with which token that begins.

    Raises:
        ValueError: it does not.
    """
    config = model.config
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        raise ValueError(
            f"the config of {type(model).__name__} has no decoder_start_token_id, with which its decoder begins; set "
            "the one that it was trained with, decoder_start_token_id=0 for a T5"
        )


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _UNCHANGED * one.abs().max())
