"""Text that cannot upset a drawing in a terminal."""

from __future__ import annotations


def on_one_line(text: str) -> str:
    """Text without what moves the cursor: line ends, tabs and control characters become replacement characters.

    Args:
        text: any.

    Returns:
        As many characters.

    Example:
        >>> on_one_line("a\\tb")
        'a\N{REPLACEMENT CHARACTER}b'
    """
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
