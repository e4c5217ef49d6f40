"""Building word vocabularies: the published recipe by dictionary frequency, or by counting a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nlpkit.checked_number import checked_number
from nlpkit.scale import Engine
from nlpkit.wobert.words.dictionaries import jieba_dictionary
from nlpkit.wobert.words.normalization import normalize
from nlpkit.wobert.words.reachability import cutting_its_words, unreachable_tokens, warn_of_unreachable
from nlpkit.wobert.words.segmenters import Segmenter
from nlpkit.wobert.words.token_counts import count_tokens_and_characters, splitter_for
from nlpkit.wobert.words.vocabulary_file import SPECIAL_TOKENS, read_vocabulary
from nlpkit.wobert.words.word_splitter import is_chinese, is_punctuation

#: What any ASCII string can be spelt with, lower-cased.
_ASCII = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
_ASCII += [f"##{character}" for character in _ASCII if character.isalnum()]


def build_vocabulary(
    base: str | Path | Iterable[str],
    *,
    corpus: Iterable[str] | None = None,
    words: int = 20_000,
    size: int | None = None,
    candidates: int = 200_000,
    characters: int = 5_000,
    keep: Iterable[str] = (),
    segmenter: Segmenter | None = None,
    cut_vocabulary_words: bool = False,
    processes: int | Engine = 1,
) -> dict[str, int]:
    """A word vocabulary: the non-redundant part of a character vocabulary plus frequent words.

    Source: WoBERT (kexue.fm/archives/7758). Without ``corpus``, its first recipe: keep what a word tokenizer can
    still produce of ``base``, add the ``words`` most frequent entries of jieba's dictionary. With ``corpus``, that of
    WoBERT+: offer the ``candidates`` most frequent dictionary words, tokenize the corpus, keep the ``size`` tokens
    that occur most.

    Args:
        base: the character model's vocabulary: a file or its tokens in order, in BERT's notation (``##`` continues).
        corpus: texts to count; a progress bar shows how far the count is.
        words: words to add, without ``corpus``.
        size: entries of the result, with ``corpus``.
        candidates: dictionary words that are counted at all, with ``corpus``.
        characters: how many of the most frequent Chinese characters and punctuation marks of ``corpus`` stay in any
            case, in ``base`` or not; unknown words are spelt with them.
        keep: further tokens that stay however rare they are, with ``corpus``; ASCII characters always do.
        segmenter: text to words; jieba's dictionary by default.
        cut_vocabulary_words: the tokenizer will be made with ``cut_vocabulary_words=True``: words of ``keep`` and of
            ``base`` that the segmenter would never cut are cut, and counted, too.
        processes: that count the corpus, or an engine, such as ``RayData()`` for ``TextFiles``; the result is the same
            with any.

    Returns:
        Token to id, special tokens first. With ``corpus``, the others by descending count.

    Raises:
        TypeError: ``cut_vocabulary_words`` with a segmenter that takes no words.
        ValueError: ``corpus`` without ``size`` or the reverse; a corpus in which no word occurs; a ``size`` with
            no room for words; ``words``,
            ``candidates`` or ``characters`` below 0.

    Warns:
        UserWarning: words that no text can become, because the segmenter never cuts them.

    Note:
        Without a corpus a second or two. Counting handles a few million characters per second. The released WoBERT
        file has the same words, but ids depend on the order of equally frequent words: for released weights use the
        released file.

    Example:
        >>> vocabulary = build_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天", "##天"], words=2)
        >>> list(vocabulary)
        ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '天', '了', '是']
    """
    for name, number in (("words", words), ("candidates", candidates), ("characters", characters)):
        checked_number(name, number, least=0, whole=True)
    if (corpus is None) != (size is None):
        raise ValueError("give corpus and size together (size tokens counted on the corpus), or neither")
    tokens = list(read_vocabulary(base) if isinstance(base, (str, Path)) else base)
    kept = drop_redundant(tokens)
    known = set(kept)
    added = [word for word in jieba_words() if word not in known]
    if corpus is None or size is None:
        return _numbered(kept + added[:words], segmenter, cut_vocabulary_words)
    keep = list(keep)
    if cut_vocabulary_words:
        segmenter = _cutting([*SPECIAL_TOKENS, *kept, *keep], segmenter)
    counted = dict.fromkeys([*kept, *keep, *added[:candidates]])
    counts, seen = count_tokens_and_characters(corpus, counted, segmenter, processes=processes)
    spelling = Counter({normalize(mark): count for mark, count in seen.items() if _stands_alone(mark)})
    frequent = [mark for mark, _ in spelling.most_common(characters)]
    forced = dict.fromkeys([*SPECIAL_TOKENS, *_ASCII, *frequent, *keep])
    ranked = [token for token, count in counts.most_common() if count and token not in forced]
    if not any(is_chinese(token[0]) for token in ranked if len(token) > 1):
        raise ValueError("the corpus yields no words: is it Chinese text, one paragraph per line?")
    if len(forced) >= size:
        raise ValueError(f"size={size} leaves no room for words beside the {len(forced)} tokens that must stay")
    chosen = [*forced, *ranked[: size - len(forced)]][len(SPECIAL_TOKENS) :]
    ordered = [*SPECIAL_TOKENS, *sorted(chosen, key=lambda token: -(counts[token] or spelling[token]))]
    return _numbered(ordered, segmenter, cut_vocabulary_words)


def drop_redundant(tokens: Iterable[str]) -> list[str]:
    """What a word tokenizer can still produce of a character vocabulary, special tokens first.

    Source: bert4keras ``load_vocab(simplified=True)``: a token of several characters is redundant if, without a
    leading ``##``, it contains a Chinese character or punctuation; the basic tokenizer splits those beforehand.

    Args:
        tokens: the vocabulary in the order of its ids.

    Returns:
        The special tokens, then the tokens kept, in their order.

    Note:
        The released WoBERT vocabulary comes out entry by entry, with its two oddities: ``##§``, made when Unicode did
        not yet call § punctuation, and an empty token where U+2028 was stripped as white space.

    Example:
        >>> drop_redundant(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "天", "##天", "##s", "##!"])
        ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '天', '##s']
    """
    stripped = [token.strip() for token in tokens]
    return [
        *SPECIAL_TOKENS,
        *(token for token in stripped if token not in SPECIAL_TOKENS and not _is_redundant(token)),
    ]


def jieba_words() -> list[str]:
    """The words of jieba's dictionary, normalised, most frequent first; equally frequent ones in dictionary order."""
    entries = [line.split(" ") for line in jieba_dictionary().read_text("utf-8").split("\n") if line]
    entries.sort(key=lambda entry: -int(entry[1]))
    return list(dict.fromkeys(normalize(entry[0]) for entry in entries))


def base_tokens(tokenizer: Any) -> list[str]:
    """A character or subword tokenizer's tokens in BERT's notation: the ``base`` of a word vocabulary for its model.

    Args:
        tokenizer: a transformers tokenizer of the WordPiece or the SentencePiece kind.

    Returns:
        Its tokens in the order of their ids; SentencePiece pieces as ``from_sentencepiece`` turns them.
    """
    ids = tokenizer.get_vocab()
    tokens = sorted(ids, key=ids.__getitem__)
    return from_sentencepiece(tokens) if any(token.startswith("▁") for token in tokens) else tokens


def from_sentencepiece(pieces: Iterable[str]) -> list[str]:
    """SentencePiece pieces in BERT's notation, so that they can be the ``base`` of a word vocabulary.

    A Latin piece that begins a word (``▁hotel``) becomes ``hotel``, one that continues it (``ing``) becomes
    ``##ing``; of Chinese pieces only the characters are kept, which stand alone in BERT's notation.

    Args:
        pieces: the pieces, in any order.

    Returns:
        The special tokens, then the converted pieces in their order, each once.

    Example:
        >>> from_sentencepiece(["<s>", "▁hotel", "ing", "▁天气", "天", "，"])[5:]
        ['hotel', '##ing', '天', '气', '，']
    """
    tokens: dict[str, None] = dict.fromkeys(SPECIAL_TOKENS)
    for piece in pieces:
        if piece.startswith("<") and piece.endswith(">"):
            continue
        text = normalize(piece).replace("▁", "")
        if any(is_chinese(character) or is_punctuation(character) for character in text):
            tokens.update(dict.fromkeys(character for character in text if not character.isspace()))
        elif text:
            tokens[text if piece.startswith("▁") or len(text) == 1 else f"##{text}"] = None
            if len(text) == 1:
                tokens[f"##{text}"] = None
    return list(tokens)


def _cutting(tokens: Iterable[str], segmenter: Segmenter | None) -> Segmenter:
    return cutting_its_words(splitter_for(tokens, segmenter), SPECIAL_TOKENS).segmenter


def _numbered(tokens: list[str], segmenter: Segmenter | None, cut_vocabulary_words: bool) -> dict[str, int]:
    """Token to id; words that no text can become are named in a warning."""
    if not cut_vocabulary_words:
        warn_of_unreachable(
            unreachable_tokens(splitter_for(tokens, segmenter), SPECIAL_TOKENS),
            "leave them out, or let the segmenter cut them: cut_vocabulary_words=True, here and for WoBertTokenizer or"
            " wordify",
            stacklevel=4,
        )
    return {token: number for number, token in enumerate(tokens)}


def _stands_alone(character: str) -> bool:
    return is_chinese(character) or is_punctuation(character)


def _is_redundant(token: str) -> bool:
    stem = token.removeprefix("##")
    return len(token) > 1 and any(
        is_chinese(character) or (is_punctuation(character) and character != "§") for character in stem
    )
