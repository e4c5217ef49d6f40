"""How often each token occurs in a corpus, read as a stream and counted in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer
from tqdm.auto import tqdm

from nlpkit.one_text import refuse_one_text
from nlpkit.scale import Engine, characters_of, engine_of, parts_of

_CHARACTERS_AT_ONCE = 1 << 20


class TokenCounts(NamedTuple):
    """What was counted."""

    counts: np.ndarray  #: int64, shape ``(tokens,)``: occurrences of each id
    texts: int
    characters: int


def count_tokens(
    texts: Iterable[str], backend: Tokenizer, *, processes: int | Engine = 1, show_progress: bool = True
) -> TokenCounts:
    """Count the tokens of a corpus.

    Args:
        texts: a line, paragraph or document each; read a part at a time. For an engine whose workers read for
            themselves, ``TextFiles``.
        backend: of the tokenizer; special tokens at the ends are left out.
        processes: that count, each on one core; with 1, this one with as many threads as the tokenizers library takes.
            Or an engine, such as ``RayData()``.
        show_progress: draw a bar when it takes over five seconds.

    Raises:
        TypeError: ``texts`` is one text, or holds what is none.
        ValueError: there are no texts, or one holds half of a surrogate pair.

    Note:
        A million lines of a hundred characters take one to two minutes of two cores.

    Example:
        >>> from tokenizers.models import WordLevel
        >>> from tokenizers.pre_tokenizers import Whitespace
        >>> backend = Tokenizer(WordLevel({"?": 0, "good": 1, "day": 2}, unk_token="?"))
        >>> backend.pre_tokenizer = Whitespace()
        >>> count_tokens(["good day", "good"], backend).counts
        array([0, 2, 1])
    """
    refuse_one_text("corpus", texts)
    parts, engine = parts_of(texts, characters_of(_CHARACTERS_AT_ONCE)), engine_of(processes)
    size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
    total, number, characters, written = np.zeros(size, np.int64), 0, 0, False
    with tqdm(
        desc="counting", unit=" texts", unit_scale=True, delay=5, disable=None if show_progress else True
    ) as bar:
        for part, counts in engine.map(parts, _Counter(backend)):
            total[: len(counts)] += counts
            number += len(part)
            characters += sum(map(len, part))
            written = written or any(map(str.strip, part))
            bar.update(len(part))
    if not written:
        raise ValueError("corpus holds no text; give texts that show which tokens are needed")
    return TokenCounts(total, number, characters)


@dataclass(frozen=True)
class _Counter:
    """Counts the tokens of a part."""

    backend: Tokenizer

    def __call__(self) -> Callable[[list[str]], np.ndarray]:
        return partial(_count, self.backend)


def _count(backend: Tokenizer, part: list[str]) -> np.ndarray:
    try:
        encodings = backend.encode_batch_fast(part, add_special_tokens=False)
    except Exception:
        for text in part:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"corpus holds half of a surrogate pair, in {text[:30]!r}; repair the text"
                ) from error
        raise
    lengths = [len(encoding.ids) for encoding in encodings]
    ids = np.fromiter((number for encoding in encodings for number in encoding.ids), np.int64, sum(lengths))
    return np.bincount(ids)
