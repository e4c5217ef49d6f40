"""One text where many belong, whose characters would be taken for them, and what is no text among many."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath


def refuse_one_text(name: str, given: object, of: str = "them") -> None:
    """See that a list is none of characters.

    Args:
        name: of the argument.
        given: what should be a list.
        of: what it should be a list of.

    Raises:
        TypeError: it is a text, bytes or a path.

    Example:
        >>> refuse_one_text("texts", ["好"])
        >>> refuse_one_text("texts", "天气好")
        Traceback (most recent call last):
        TypeError: texts is one text, '天气好'; give a list of them
    """
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{name} is one text, {given[:20]!r}; give a list of {of}")
    if isinstance(given, PurePath):
        raise TypeError(
            f"{name} is a path, {str(given)!r}; give a list of {of}, or nlpkit.scale.TextFiles for the lines of files"
        )


def list_of_texts(name: str, given: Iterable[str]) -> list[str]:
    """Texts as a list, each of which is one.

    Args:
        name: of the argument.
        given: texts.

    Raises:
        TypeError: it is one text, or holds what is none.

    Example:
        >>> list_of_texts("texts", ["好", None])
        Traceback (most recent call last):
        TypeError: texts holds None, which is no text
    """
    refuse_one_text(name, given)
    texts = list(given)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} holds {text!r}, which is no text")
    return texts
