"""What a tokenizer is called with: texts, pairs, lists of words, in whatever holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def read_sources(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[tuple[Any, ...]], bool]:
    """The one or two sources of each row, and whether a batch was given.

    Args:
        text: a text, a batch of texts, or a batch of pairs, each of them a tuple or a list of two; lists of words in
            place of texts where ``is_split_into_words``. Batches are lists, tuples, arrays, Series or columns of a
            data set. As in transformers, a list of two texts is a batch of two, never one pair.
        text_pair: the second texts, or ``None``.
        is_split_into_words: whether a source is a list of words.

    Raises:
        TypeError: a source is no text (or no list of words); the message names the row and the fix.
        ValueError: the numbers of first and second texts differ.
    """
    for name, value in (("text", text), ("text_pair", text_pair)):
        if hasattr(value, "columns"):
            raise TypeError(f"{name} is a {type(value).__name__}; give one of its columns, such as frame['text']")
    text, text_pair = _plain(text), _plain(text_pair)
    is_batched = isinstance(text, (list, tuple))
    if is_split_into_words and is_batched:
        is_batched = bool(text) and isinstance(_plain(text[0]), (list, tuple))
    firsts = text if is_batched else [text]
    if text_pair is None:
        if not is_split_into_words and all(isinstance(item, str) for item in firsts):
            return [(item,) for item in firsts], is_batched
        sources = [_pair_or_one(_plain(item), is_split_into_words) for item in firsts]
    else:
        seconds = text_pair if is_batched else [text_pair]
        if isinstance(seconds, str) or len(seconds) != len(firsts):
            raise ValueError(f"text has {len(firsts)} rows but text_pair has {len(seconds)}; give one pair per row")
        sources = [(_plain(first), _plain(second)) for first, second in zip(firsts, seconds, strict=True)]
    for row, parts in enumerate(sources):
        for part in parts:
            if not (_is_word_list(part) if is_split_into_words else isinstance(part, str)):
                raise _not_a_source(part, row, is_split_into_words)
    return sources, is_batched


def check_numbers(*, least: int = 1, **numbers: Any) -> None:
    """Refuse numbers of tokens that would lose some, or fail in the middle of a batch.

    Args:
        least: the smallest that makes sense.
        **numbers: by the name of their argument; ``None`` is none.

    Raises:
        ValueError: one is no whole number, or too small.

    Example:
        >>> check_numbers(max_length="4")
        Traceback (most recent call last):
        ValueError: max_length='4' must be a whole number of tokens, at least 1
    """
    for name, value in numbers.items():
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number of tokens, at least {least}")


#: Characters before and behind a broken one that are shown with it.
_AROUND = 10


def not_unicode(
    batch: Sequence[tuple[Any, ...]], error: UnicodeEncodeError, *, are_the_users: bool = True
) -> ValueError:
    """An error that names the text with a character that UTF-8 cannot write: half of a surrogate pair.

    Args:
        batch: the sources, as ``read_sources`` returns them.
        error: what a segmenter said of one.
        are_the_users: whether the rows are those of the user, so that their numbers say something. A tokenizer cannot
            know: who calls it may have sorted, parted or cut texts, so the text itself is shown.
    """
    for row, parts in enumerate(batch):
        for text in parts:
            for word in [text] if isinstance(text, str) else text:
                place = next((place for place, one in enumerate(word) if "\ud800" <= one <= "\udfff"), None)
                if place is None:
                    continue
                shown = word[max(0, place - _AROUND) : place + _AROUND]
                which, where = f"the text {shown!r}", ""
                if are_the_users:
                    which, where = f"text of row {row}", f", at character {place}"
                return ValueError(
                    f"{which} has a lone surrogate, {word[place]!a}{where}: no UTF-8 holds it; read the file again, "
                    "or drop it: text.encode('utf-8', 'ignore').decode()"
                )
    return ValueError(f"a text cannot be encoded: {error}")


def _plain(value: Any) -> Any:
    """Lists in place of arrays, Series and columns; anything else as it is."""
    if isinstance(value, (str, list, tuple, bytes)) or value is None:
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, Sequence) else value


def _pair_or_one(item: Any, is_split_into_words: bool) -> tuple[Any, ...]:
    if not isinstance(item, (list, tuple)) or len(item) != 2:
        return (item,)
    first, second = map(_plain, item)
    if is_split_into_words and not (isinstance(first, (list, tuple)) and isinstance(second, (list, tuple))):
        return (item,)
    return first, second


def _is_word_list(source: Any) -> bool:
    return isinstance(source, (list, tuple)) and all(isinstance(word, str) for word in source)


def _not_a_source(source: Any, row: int, is_split_into_words: bool) -> TypeError:
    expected = "a list of str (is_split_into_words=True)" if is_split_into_words else "a str"
    kind = type(source).__name__
    hint = ""
    if isinstance(source, bytes):
        hint = "; decode it first: text.decode('utf-8')"
    elif source is None or kind == "NAType" or (kind == "float" and source != source):  # as pandas has it
        hint = "; replace missing texts with '' or drop them"
    elif isinstance(source, (list, tuple)) and not is_split_into_words:
        kind = f"{kind} of {len(source)}"
        hint = "; for lists of words pass is_split_into_words=True"
    elif is_split_into_words and isinstance(source, (list, tuple)):
        wrong = next(word for word in source if not isinstance(word, str))
        kind = f"{kind} with {type(wrong).__name__} in it"
    return TypeError(f"text of row {row} must be {expected}, got {kind}{hint}")
