"""A segmenter with further words that it cuts whole, whatever they are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from nlpkit.wobert.words.segmenters import DictionarySegmenter, Segmenter


def with_words(segmenter: Segmenter, words: Iterable[str]) -> Segmenter:
    """The segmenter with further words in its dictionary, each of which it cuts whole.

    Args:
        segmenter: of jieba's kind, or of your own with a method ``with_words(words)`` that returns such a segmenter.
        words: normalised, each to be one word wherever it stands for itself.

    Returns:
        Another segmenter; the given one stays as it was.

    Raises:
        TypeError: a segmenter that takes no words.

    Note:
        Words of characters that jieba always cuts off (kana, punctuation, white space) are found by a search for them
        before jieba sees the text, the longest first; all others by their frequency, which is set just above that of
        their parts, as jieba suggests.

    Example:
        >>> from nlpkit.wobert.words.segmenters import RjiebaSegmenter
        >>> with_words(RjiebaSegmenter(), ["量子纠缠", "10℃"]).cut("量子纠缠在10℃时")
        ['量子纠缠', '在', '10℃', '时']
    """
    if not isinstance(segmenter, DictionarySegmenter):
        if not callable(getattr(segmenter, "with_words", None)):
            raise TypeError(
                f"segmenter {segmenter.name!r} takes no further words; give it a method with_words(words) that returns"
                " a segmenter which cuts them whole, or put the words into its own dictionary"
            )
        return segmenter.with_words(words)  # type: ignore[attr-defined]
    # A word's frequency is set above that of its parts, so they come first.
    asked = sorted(set(words), key=lambda word: (len(word), word))
    looked_up = cache(segmenter.looks_up)
    missing = [word for word in asked if segmenter.cut(word) != [word] and all(map(looked_up, word))]
    restore, (kind, user_words) = segmenter.__reduce__()
    extended: DictionarySegmenter = restore(kind, "\n".join([*filter(None, [user_words]), *missing]))
    isolated = [word for word in asked if extended.cut(word) != [word]]
    return _Searching(extended, tuple(isolated)) if isolated else extended


class _Searching:
    """A segmenter before which a search takes out words that it could never cut whole."""

    def __init__(self, segmenter: Segmenter, words: tuple[str, ...]) -> None:
        self.name, self._segmenter, self._words = segmenter.name, segmenter, words
        self._found = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))

    def cut(self, text: str) -> list[str]:
        words: list[str] = []
        reached = 0
        for match in self._found.finditer(text):
            words += [*self._segmenter.cut(text[reached : match.start()]), match[0]]
            reached = match.end()
        return words + self._segmenter.cut(text[reached:])
