"""What a masked language model writes into the gaps of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import FillMaskPipeline


def fill_gaps(text: str, fill: FillMaskPipeline) -> list[list[tuple[str, float]]]:
    """The best words for each gap of a text, with their probabilities.

    Raises:
        ValueError: the text has no gap, or is too long for the model.
    """
    from nlpkit.probes.room import room_for_tokens

    assert fill.tokenizer is not None
    mask = fill.tokenizer.mask_token
    if mask is None or mask not in text:
        raise ValueError(f"no {mask} in {text!r}; put one where a word is to be found")
    room = room_for_tokens(fill.model, fill.tokenizer)
    length = len(fill.tokenizer(text, verbose=False)["input_ids"])
    if room is not None and length > room:
        raise ValueError(f"{text[:20]!r}... has {length} tokens, the model takes {room}; shorten it")
    found: list[Any] = fill(text)  # rows of one gap, or a list of rows for each of several gaps
    gaps = found if isinstance(found[0], list) else [found]
    return [[(row["token_str"], row["score"]) for row in gap] for gap in gaps]
