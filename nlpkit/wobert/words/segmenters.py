"""Text to words: the segmenters a word tokenizer can stand on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from functools import cache, lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from nlpkit.wobert.words.dictionaries import entries, jieba_dictionary, read_user_dictionary, warn_of_dead_lines
from nlpkit.wobert.words.normalization import normalize

logger = logging.getLogger(__name__)

_Dictionary = TypeVar("_Dictionary", bound="DictionarySegmenter")


@runtime_checkable
class Segmenter(Protocol):
    """Cuts a text into words whose concatenation is the text.

    A segmenter of your own needs these two members, should pickle, and is handed to the tokenizer again on loading.
    """

    name: str

    def cut(self, text: str) -> list[str]:
        """Words of ``text``, in order, white space included: ``"".join(cut(text)) == text``."""
        ...


class DictionarySegmenter:
    """A dictionary of jieba's kind and words of the user's; no other code adds words to it."""

    name: str
    hmm = False

    def __init__(self, user_dict: str | Path | None = None) -> None:
        self._start("" if user_dict is None else read_user_dictionary(Path(user_dict)))
        warn_of_dead_lines(self.user_words, str(user_dict or "user_words"), self.cut, self.looks_up)

    def _start(self, user_words: str) -> None:
        self.user_words = user_words
        own = list(entries(user_words))
        # Reading one takes ten times as long as the rest of loading a tokenizer: without user words one serves all.
        self._jieba = self._dictionary() if own else self._shared_dictionary()
        for _, word, frequency, tag in own:
            # As written and as texts are normalised: the tokenizer cuts normalised text, others cut what they have.
            for form in dict.fromkeys((word, normalize(word))):
                if form:
                    self._jieba.add_word(form, frequency, tag)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DictionarySegmenter) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash(self._settings)

    @property
    def _settings(self) -> tuple[type, str, bool]:
        return type(self), self.user_words, self.hmm

    @classmethod
    @cache
    def _shared_dictionary(cls) -> Any:
        return cls._dictionary()

    @staticmethod
    def _dictionary() -> Any:
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def looks_up(self, character: str) -> bool:
        """Whether words with this character are looked up, rather than cut at it beforehand."""
        raise NotImplementedError

    def cut(self, text: str) -> list[str]:
        """Words of ``text``; their concatenation is ``text``."""
        raise NotImplementedError


class RjiebaSegmenter(DictionarySegmenter):
    """jieba's default dictionary without HMM, in Rust, with or without words of your own.

    Source: ``jieba.cut(text, HMM=False)``, to which rjieba is equal and about twelve times faster. Words that
    other code adds to rjieba or jieba, and user words of another segmenter, change nothing here.

    Args:
        user_dict: as for ``JiebaSegmenter``. With user words, rare ties between equally probable cuts may fall
            otherwise than jieba's.

    Raises:
        FileNotFoundError: ``user_dict`` does not exist.
        ValueError: ``user_dict`` is not UTF-8.

    Example:
        >>> RjiebaSegmenter().cut("今天天气不错")
        ['今天天气', '不错']
        >>> RjiebaSegmenter.from_words("量子纠缠").cut("量子纠缠不错")
        ['量子纠缠', '不错']
    """

    name = "rjieba"

    @staticmethod
    def _dictionary() -> Any:
        from rjieba import Jieba

        return Jieba()

    def looks_up(self, character: str) -> bool:
        """Whether words with this character are looked up, rather than cut at it beforehand."""
        from rjieba import Jieba

        prober = Jieba.empty()
        prober.add_word(character * 2, 1_000_000, None)
        return prober.cut(character * 2, False) == [character * 2]

    @classmethod
    def from_words(cls, user_words: str) -> RjiebaSegmenter:
        """The segmenter whose user dictionary is this text, one entry per line, rather than a file."""
        segmenter = _restored(cls, user_words)
        warn_of_dead_lines(user_words, "user_words", segmenter.cut, segmenter.looks_up)
        return segmenter

    def cut(self, text: str) -> list[str]:
        """Words of ``text``; their concatenation is ``text``."""
        return self._jieba.cut(text, False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (RjiebaSegmenter, self.user_words)


class JiebaSegmenter(DictionarySegmenter):
    """jieba with words of your own, with or without its HMM for unknown words.

    Source: github.com/fxsjy/jieba. ``jieba.add_word`` elsewhere changes nothing.

    Args:
        user_dict: file in jieba's format (``word [frequency] [tag]`` per line, UTF-8), or ``None``. Entries match
            text as they are written and as uncased BERT normalises them: ``T恤衫`` also stands for ``t恤衫``. Lines
            that can never match (the word holds white space or characters that jieba always cuts off, such as
            punctuation, or its parts are so frequent that jieba prefers them) are named in a warning.
        hmm: let jieba invent words that stand in no dictionary; published WoBERT checkpoints expect ``False``.

    Raises:
        FileNotFoundError: ``user_dict`` does not exist.
        ValueError: ``user_dict`` is not UTF-8.

    Note:
        About twelve times slower than ``RjiebaSegmenter``, and the first takes half a second to start; use it for its
        HMM.

    Example:
        >>> JiebaSegmenter().cut("今天天气不错")
        ['今天天气', '不错']
    """

    name = "jieba"

    def __init__(self, user_dict: str | Path | None = None, hmm: bool = False) -> None:
        self.hmm = hmm
        super().__init__(user_dict)

    @staticmethod
    def _dictionary() -> Any:
        import jieba

        jieba.setLogLevel(logging.WARNING)
        dictionary = jieba.Tokenizer()
        dictionary.initialize()
        return dictionary

    def looks_up(self, character: str) -> bool:
        """Whether words with this character are looked up, rather than cut at it beforehand."""
        import jieba

        return jieba.re_han_default.fullmatch(character) is not None

    @classmethod
    def from_words(cls, user_words: str, hmm: bool = False) -> JiebaSegmenter:
        """The segmenter whose user dictionary is this text, one entry per line, rather than a file."""
        segmenter = _restored(cls, user_words, hmm=hmm)
        warn_of_dead_lines(user_words, "user_words", segmenter.cut, segmenter.looks_up)
        return segmenter

    def cut(self, text: str) -> list[str]:
        """Words of ``text``; their concatenation is ``text``."""
        words: list[str] = self._jieba.lcut(text, HMM=self.hmm)
        return words

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(_restored, hmm=self.hmm), (JiebaSegmenter, self.user_words)


def _restored(cls: type[_Dictionary], user_words: str, **settings: bool) -> _Dictionary:
    segmenter = cls.__new__(cls)
    vars(segmenter).update(settings)
    segmenter._start(user_words)
    return segmenter


def make_segmenter(segmenter: str | Segmenter, user_dict: str | Path | None = None, hmm: bool = False) -> Segmenter:
    """The segmenter of that name, or the given one.

    Args:
        segmenter: ``"rjieba"``, ``"jieba"``, or an object with ``name`` and ``cut``.
        user_dict: jieba user dictionary, for segmenters given by name.
        hmm: only for ``"jieba"``.

    Raises:
        ValueError: the name is unknown, or ``user_dict`` / ``hmm`` are given to a segmenter that cannot use them.
        TypeError: an object without ``name`` or ``cut``.
    """
    if segmenter == "jieba":
        return JiebaSegmenter(user_dict, hmm)
    if hmm:
        raise ValueError(f"hmm needs segmenter='jieba', not {segmenter!r}")
    if segmenter == "rjieba":
        return RjiebaSegmenter(user_dict)
    if user_dict is not None and not isinstance(segmenter, str):
        raise ValueError(f"user_dict needs segmenter='rjieba' or 'jieba', not {segmenter!r}")
    if isinstance(segmenter, str):
        raise ValueError(
            f"segmenter={segmenter!r} is unknown; use 'rjieba', 'jieba', or an object with name and cut()"
        )
    if not isinstance(segmenter, Segmenter):
        raise TypeError(f"segmenter must have name and cut(text) -> list of words, got {type(segmenter).__name__}")
    return segmenter


def describe(segmenter: Segmenter) -> dict[str, Any]:
    """What a saved tokenizer says of its segmenter: name, version, dictionary hash and settings.

    Two descriptions are equal when the segmenters cut alike, as far as a probe of 20,000 dictionary words can tell.

    Example:
        >>> describe(RjiebaSegmenter())["name"]
        'rjieba'
    """
    if not isinstance(segmenter, RjiebaSegmenter | JiebaSegmenter):
        return {"name": segmenter.name}
    name, words = segmenter.name, segmenter.user_words
    described: dict[str, Any] = {"name": name, "version": version(name), "dictionary": _probe(segmenter)}
    if isinstance(segmenter, JiebaSegmenter):
        described["hmm"] = segmenter.hmm
    if words or isinstance(segmenter, JiebaSegmenter):
        described["user_words"] = hashlib.sha256(words.encode()).hexdigest() if words else None
    return described


def restore_segmenter(
    segmenter: str | Segmenter | Mapping[str, Any], user_dict: str | Path | None, hmm: bool
) -> Segmenter:
    """The segmenter asked for, or the one that a saved tokenizer describes; a difference is a warning.

    Args:
        segmenter: as for ``make_segmenter``, or a description made by ``describe``.
        user_dict: jieba user dictionary.
        hmm: as for ``make_segmenter``.

    Raises:
        ValueError: the description is of a segmenter that only its author has.
    """
    if not isinstance(segmenter, Mapping):
        return make_segmenter(segmenter, user_dict, hmm)
    if segmenter["name"] not in ("rjieba", "jieba"):
        raise ValueError(
            f"this tokenizer was saved with a segmenter of its own, {segmenter['name']!r};"
            " pass it again: from_pretrained(..., segmenter=...)"
        )
    made = make_segmenter(segmenter["name"], user_dict, hmm or segmenter.get("hmm", False))
    here = describe(made)
    keys = dict.fromkeys([*here, *segmenter])
    changes = [f"{key} {segmenter.get(key)} -> {here.get(key)}" for key in keys if here.get(key) != segmenter.get(key)]
    if changes:
        logger.warning(
            "this tokenizer was saved with another %s (%s): texts may be cut differently; install the saved version,"
            " or save the tokenizer again to accept this one",
            segmenter["name"],
            "; ".join(changes),
        )
    return made


@lru_cache(maxsize=8)
def _probe(segmenter: Segmenter) -> str:
    # Segmentations of dictionary words run together depend on the words and on their frequencies alike.
    lines = jieba_dictionary().read_text("utf-8").split("\n")[::17]
    words = segmenter.cut("".join(line.split(" ")[0] for line in lines))
    return "sha256:" + hashlib.sha256("\n".join(words).encode()).hexdigest()
