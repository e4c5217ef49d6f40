"""Unigram vocabularies with fewer pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def pruned_unigram(model: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """A Unigram model of ``tokenizer.json`` with some of its pieces.

    A text whose pieces are all kept is cut as before: its best path is still there, and there are fewer others.

    Args:
        model: of type ``Unigram``.
        new_ids: of the kept ids, ascending with them.

    Returns:
        The model, scores as they were.

    Example:
        >>> model = {"type": "Unigram", "unk_id": 1, "vocab": [["a", -1.0], ["<unk>", 0.0], ["b", -2.0]]}
        >>> pruned_unigram(model, {1: 0, 2: 1})
        {'type': 'Unigram', 'unk_id': 0, 'vocab': [['<unk>', 0.0], ['b', -2.0]]}
    """
    vocabulary = [entry for number, entry in enumerate(model["vocab"]) if number in new_ids]
    unknown = model.get("unk_id")
    return {**model, "unk_id": None if unknown is None else new_ids[unknown], "vocab": vocabulary}


def needed_for_unigram(model: Mapping[str, Any]) -> set[int]:
    """Ids that no Unigram vocabulary goes without: the unknown piece, bytes, and the piece with the lowest score.

    From the lowest score comes the score of unknown characters, and with it the way texts that have some are cut.
    """
    vocabulary = model["vocab"]
    needed = set() if model.get("unk_id") is None else {model["unk_id"]}
    if model.get("byte_fallback"):
        names = {f"<0x{byte:02X}>" for byte in range(256)}
        needed |= {number for number, (piece, _) in enumerate(vocabulary) if piece in names}
    needed.add(min(range(len(vocabulary)), key=lambda number: vocabulary[number][1]))
    return needed


def pieces_of_unigram(model: Mapping[str, Any]) -> Callable[[int], Iterable[int]]:
    """For each id, the pieces of one character that spell it, as far as there are such."""
    single = {piece: number for number, (piece, _) in enumerate(model["vocab"]) if len(piece) == 1}

    def characters(number: int) -> Iterable[int]:
        return {single[character] for character in model["vocab"][number][0] if character in single}

    return characters
