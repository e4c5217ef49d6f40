"""Which tokens of a vocabulary some text can become, by splitting each as the tokenizer splits texts."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence

from nlpkit.wobert.words.added_words import with_words
from nlpkit.wobert.words.dictionaries import jieba_dictionary
from nlpkit.wobert.words.normalization import normalize
from nlpkit.wobert.words.word_splitter import WordSplitter

#: How many beginnings of words are tried before a piece that continues words.
_BEGINNINGS = 40
#: How many words a warning shows.
_SHOWN = 10


def unreachable_tokens(splitter: WordSplitter, special_tokens: Collection[str] = ()) -> tuple[str, ...]:
    """Tokens that no text becomes: each is split alone, a ``##`` piece behind tokens that can begin its word.

    jieba cuts a text by the most probable path, so a word that it cuts when it stands alone it cuts everywhere.

    Args:
        splitter: the vocabulary with its segmenter.
        special_tokens: tokens that texts need not hold, since the tokenizer itself writes them.

    Returns:
        The tokens in the order of their ids.

    Note:
        About a second for 50,000 tokens; with ``fallback="constrained"`` words of the vocabulary are looked for inside
        dictionary words, too, which takes some seconds more.

    Example:
        >>> from nlpkit.wobert.words.segmenters import RjiebaSegmenter
        >>> tokens = ["[UNK]", "天气", "量子纠缠", "s", "##s", "##天", "A"]
        >>> splitter = WordSplitter({token: number for number, token in enumerate(tokens)}, 0, RjiebaSegmenter())
        >>> unreachable_tokens(splitter, ["[UNK]"])
        ('量子纠缠', '##天', 'A')
    """
    vocabulary = splitter.vocabulary
    beginnings = sorted((t for t in vocabulary if t.isalnum() and t.isascii()), key=len)[:_BEGINNINGS]
    found = [
        token for token in vocabulary if token not in special_tokens and not _is_reached(splitter, token, beginnings)
    ]
    if splitter.fallback == "constrained" and found:
        inside = _inside_words(splitter, found)
        found = [token for token in found if token not in inside]
    return tuple(sorted(found, key=vocabulary.__getitem__))


def cutting_its_words(splitter: WordSplitter, special_tokens: Collection[str]) -> WordSplitter:
    """The same splitter over a segmenter that cuts every word of the vocabulary.

    Args:
        splitter: the vocabulary with its segmenter.
        special_tokens: tokens that are no words.

    Returns:
        A splitter for which only tokens that no text can hold are unreachable: ``##`` pieces that nothing precedes,
        tokens that normalisation changes, empty ones.

    Raises:
        TypeError: the segmenter takes no words.

    Example:
        >>> from nlpkit.wobert.words.segmenters import RjiebaSegmenter
        >>> vocabulary = {"[UNK]": 0, "量子纠缠": 1, "的": 2}
        >>> cutting_its_words(WordSplitter(vocabulary, 0, RjiebaSegmenter()), ["[UNK]"]).ids("量子纠缠的")
        [1, 2]
    """
    words = [
        token
        for token in unreachable_tokens(splitter, special_tokens)
        if _is_word(token) and (not splitter.lower_case or normalize(token) == token)
    ]
    return WordSplitter(
        splitter.vocabulary,
        splitter.unknown_id,
        with_words(splitter.segmenter, words),
        splitter.fallback,
        splitter.lower_case,
    )


def warn_of_unreachable(tokens: Iterable[str], how_to_mend: str, stacklevel: int = 3) -> None:
    """Warn of unreachable words; ``##`` pieces and tokens in brackets (``[unused1]``) are nobody's words.

    Args:
        tokens: as ``unreachable_tokens`` returns them.
        how_to_mend: the end of the warning.
        stacklevel: as for ``warnings.warn``.
    """
    words = [token for token in tokens if _is_word(token)]
    if words:
        warnings.warn(
            f"no text can become {len(words):,} {'word' if len(words) == 1 else 'words'} of the vocabulary, since the"
            f" segmenter never cuts them: {some_tokens(words)}; {how_to_mend}",
            stacklevel=stacklevel,
        )


def some_tokens(tokens: Sequence[str]) -> str:
    """The first tokens of a list, legible.

    Example:
        >>> some_tokens(["天气", "\\u200d"])
        "天气 '\\\\u200d'"
    """
    shown = " ".join(token if token.isprintable() else ascii(token) for token in tokens[:_SHOWN])
    return shown + (" ..." if len(tokens) > _SHOWN else "")


def _is_word(token: str) -> bool:
    return token != "" and not token.startswith("##") and token[0] + token[-1] != "[]"


def _is_reached(splitter: WordSplitter, token: str, beginnings: Sequence[str]) -> bool:
    number = splitter.vocabulary[token]
    if splitter.ids(token) == [number]:
        return True
    if not token.startswith("##"):
        return False
    return any(splitter.ids(begin + token[2:])[-1:] == [number] for begin in beginnings)


def _inside_words(splitter: WordSplitter, tokens: Sequence[str]) -> set[str]:
    """Those of the tokens with which a word of jieba's dictionary is covered."""
    wanted, found = set(tokens), set[str]()
    lengths = sorted({len(token) for token in wanted})
    names = {number: token for token, number in splitter.vocabulary.items()}
    for line in jieba_dictionary().read_text("utf-8").split("\n"):
        word = line.split(" ")[0]
        parts = {word[at : at + length] for length in lengths for at in range(len(word) - length + 1)}
        if parts & wanted:
            found |= {names[number] for number in splitter.ids(word)} & wanted
    return found
