"""Tokens back to text, as close to the original as tokens without white space allow."""

from __future__ import annotations

from collections.abc import Sequence

from nlpkit.wobert.words.word_splitter import is_chinese, is_punctuation

#: After these, English takes a space before the next letter.
_CLOSING = frozenset(",.!?;:)]}%")


def detokenize(tokens: Sequence[str], special: frozenset[str] = frozenset()) -> str:
    """Join tokens to a text: no spaces within Chinese or at its punctuation, spaces between Latin words.

    Args:
        tokens: token strings, ``##`` marking continuations.
        special: tokens such as ``[MASK]``, which behave like words.

    Returns:
        The text. Tokenizing it again gives the same tokens wherever the original did not depend on white space
        between two pieces that are written together here.

    Example:
        >>> detokenize(["我", "用", "bert", "##s", "和", "gpt", "-", "3", ".", "5", "写", "hello", ",", "world", "!"])
        '我用berts和gpt-3.5写hello, world!'
    """
    text: list[str] = []
    previous = ""
    for token in tokens:
        if token.startswith("##") and len(token) > 2 and token not in special:
            text.append(token[2:])
        else:
            if previous and _needs_space(text, previous, token, special):
                text.append(" ")
            text.append(token)
        previous = token
    return "".join(text)


def _needs_space(text: list[str], previous: str, token: str, special: frozenset[str]) -> bool:
    if not _is_word(token[0]) and token not in special:
        return False
    if previous in special or _is_word(previous[-1]):
        return True
    # "a, b" but "3.14" and "10:30": the mark follows a word, and a letter follows the mark.
    return previous in _CLOSING and token[0].isalpha() and len(text) > 1 and _is_word(text[-2][-1])


def _is_word(character: str) -> bool:
    return not is_chinese(character) and not is_punctuation(character)
