"""Errors in one line, for those who can mend them."""

from __future__ import annotations

from nlpkit.extras import hint_for_module


def one_line(error: BaseException) -> str:
    """An error's message in one line, with the extra to install where a module of one is missing.

    Example:
        >>> one_line(ValueError("no such layer;\\n  use 1 to 12"))
        'no such layer; use 1 to 12'
        >>> one_line(ModuleNotFoundError("No module named 'peft'", name="peft"))
        "No module named 'peft'; install the extra 'peft': pip install '.[peft]' in a clone of nlpkit, or ..."
    """
    message = " ".join(str(error).split()) or type(error).__name__
    hint = hint_for_module(error.name) if isinstance(error, ImportError) else None
    if isinstance(error, UnicodeEncodeError):
        hint = "set PYTHONIOENCODING=utf-8, or a UTF-8 locale, to print any text"
    return message if hint is None or hint in message else f"{message}; {hint}"
