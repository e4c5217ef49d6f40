"""One text where many belong: its characters would be taken for them."""

from __future__ import annotations


def refuse_one_text(name: str, given: object, of: str = "them") -> None:
    """See that a list is none of characters.

    Args:
        name: of the argument.
        given: what should be a list.
        of: what it should be a list of.

    Raises:
        TypeError: it is a text or bytes.

    Example:
        >>> refuse_one_text("texts", ["好"])
        >>> refuse_one_text("texts", "天气好")
        Traceback (most recent call last):
        TypeError: texts is one text, '天气好'; give a list of them
    """
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{name} is one text, {given[:20]!r}; give a list of {of}")
