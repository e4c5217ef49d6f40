"""What shows in texts that a model has written: repetition and length."""

from __future__ import annotations

from collections.abc import Sequence

from nlpkit.checked_number import checked_number
from nlpkit.one_text import refuse_one_text


def repetition(texts: Sequence[Sequence[object]], n: int = 3) -> float:
    """The share of n-grams that stand earlier in their text already.

    Args:
        texts: of tokens, words or characters each.
        n: how many in a row.

    Returns:
        From 0 to 1; 0 where no text is as long.

    Raises:
        TypeError: texts are one text, or ``n`` is no whole number.
        ValueError: ``n`` is below 1.

    Example:
        >>> repetition(["abcabc", "xyz"])  # of five trigrams the last "abc"
        0.2
    """
    refuse_one_text("texts", texts)
    checked_number("n", n, least=1, whole=True)
    grams = [[tuple(text[start : start + n]) for start in range(len(text) - n + 1)] for text in texts]
    total = sum(map(len, grams))
    return sum(len(found) - len(set(found)) for found in grams) / total if total else 0.0


def length_ratio(texts: Sequence[Sequence[object]], references: Sequence[Sequence[object]]) -> float:
    """Tokens that a model has written for each one of the references.

    Args:
        texts: of tokens, words or characters each.
        references: as many, in the same order.

    Returns:
        1 where all of them together are as long.

    Raises:
        TypeError: one of both is one text.
        ValueError: there are not as many of both, or the references are empty.

    Example:
        >>> length_ratio(["abc"], ["ab"])
        1.5
    """
    refuse_one_text("texts", texts)
    refuse_one_text("references", references)
    wanted = sum(map(len, references))
    if len(texts) != len(references) or not wanted:
        raise ValueError(
            f"{len(texts)} texts and {len(references)} references of {wanted} tokens: give as many of both, not empty"
        )
    return sum(map(len, texts)) / wanted
