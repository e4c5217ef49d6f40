"""WoBERT's tokenizer spelt out character by character, from its description alone.

Nothing of nlpkit is used here: jieba itself cuts the words, every rule stands in one plain loop.
"""

from __future__ import annotations

import re
import unicodedata

import jieba

jieba.setLogLevel(60)

SPECIAL = re.compile(r"\[(?:PAD|UNK|CLS|SEP|MASK)\]")


def tokenize(text: str, vocabulary: dict[str, int]) -> list[int]:
    """Ids of a text in which special tokens are recognised."""
    ids: list[int] = []
    position = 0
    while position < len(text):
        match = SPECIAL.search(text, position)
        end = match.start() if match else len(text)
        ids += tokenize_plain(text[position:end], vocabulary)
        if match:
            ids.append(vocabulary[match.group()])
            end = match.end()
        position = end
    return ids


def tokenize_plain(text: str, vocabulary: dict[str, int]) -> list[int]:
    """Normalise everything, then cut, then look up; what is not found goes through basic tokenizer and WordPiece."""
    ids: list[int] = []
    for segment in jieba.cut(normalize(text), HMM=False):
        if segment in vocabulary:
            ids.append(vocabulary[segment])
        else:
            for word in basic(segment):
                ids += wordpiece(word, vocabulary)
    return ids


def normalize(text: str) -> str:
    """Lower case, canonical decomposition, no combining marks."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")


def basic(segment: str) -> list[str]:
    """Space, punctuation and Chinese characters delimit words; control characters vanish."""
    spaced = ""
    for character in normalize(segment):
        code, category = ord(character), unicodedata.category(character)
        ascii_symbol = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
        if ascii_symbol or category[0] == "P" or chinese(code):
            spaced += " " + character + " "
        elif character in " \n\r\t" or category == "Zs":
            spaced += " "
        elif code in (0, 0xFFFD) or category in ("Cc", "Cf"):
            pass
        else:
            spaced += character
    return spaced.split()


def chinese(code: int) -> bool:
    """Whether a code point is in one of BERT's CJK blocks."""
    blocks = [
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0x2B820, 0x2CEAF),
        (0xF900, 0xFAFF),
        (0x2F800, 0x2FA1F),
    ]
    return any(low <= code <= high for low, high in blocks)


def wordpiece(word: str, vocabulary: dict[str, int]) -> list[int]:
    """Greedy longest match first; one unknown token if any rest cannot be matched or the word exceeds 200."""
    unknown = [vocabulary["[UNK]"]]
    if len(word) > 200:
        return unknown
    ids: list[int] = []
    rest = word
    while rest:
        for length in range(len(rest), 0, -1):
            piece = rest[:length] if rest is word else "##" + rest[:length]
            if piece in vocabulary:
                ids.append(vocabulary[piece])
                rest = rest[length:] if length < len(rest) else ""
                break
        else:
            return unknown
    return ids


def best_cover(text: str, frequency: dict[str, int], vocabulary: dict[str, int]) -> float:
    """Highest log-probability of any way to write a text in vocabulary words, by trying all of them."""
    from math import log

    total = sum(frequency.values())
    rarest = min(frequency.values())
    if not text:
        return 0.0
    options = []
    for length in range(1, min(16, len(text)) + 1):
        piece = text[:length]
        if length == 1 or piece in vocabulary:
            weight = log(max(1, frequency.get(piece, rarest)) / total)
            options.append(weight + best_cover(text[length:], frequency, vocabulary))
    return max(options)
