"""WordPiece vocabularies with fewer pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def pruned_word_piece(model: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """A WordPiece model of ``tokenizer.json`` with some of its pieces.

    A text whose pieces are all kept, and none of them the unknown one, is cut as before: each longest piece is still
    there. A word that was unknown may have become known, since shorter pieces are tried now.

    Args:
        model: of type ``WordPiece``.
        new_ids: of the kept ids, ascending with them.

    Example:
        >>> model = {"type": "WordPiece", "unk_token": "?", "vocab": {"?": 0, "a": 1, "##b": 2}}
        >>> pruned_word_piece(model, {0: 0, 2: 1})
        {'type': 'WordPiece', 'unk_token': '?', 'vocab': {'?': 0, '##b': 1}}
    """
    by_id = sorted(model["vocab"].items(), key=lambda entry: entry[1])
    return {**model, "vocab": {piece: new_ids[number] for piece, number in by_id if number in new_ids}}


def needed_for_word_piece(model: Mapping[str, Any]) -> set[int]:
    """The id that no WordPiece vocabulary goes without: the unknown piece."""
    return {model["vocab"][model["unk_token"]]} if model["unk_token"] in model["vocab"] else set()


def pieces_of_word_piece(model: Mapping[str, Any]) -> Callable[[int], Iterable[int]]:
    """For each id, the characters of its piece, at the beginning of words and within, as far as there are such."""
    vocabulary, prefix = model["vocab"], model.get("continuing_subword_prefix", "##")
    names = {number: piece for piece, number in vocabulary.items()}

    def characters(number: int) -> Iterable[int]:
        text = names[number].removeprefix(prefix)
        forms = [form for character in text for form in (character, prefix + character)]
        return {vocabulary[form] for form in forms if form in vocabulary}

    return characters
