"""Text to words: the segmenters a word tokenizer can stand on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

logger = logging.getLogger(__name__)


@runtime_checkable
class Segmenter(Protocol):
    """Cuts a text into words whose concatenation is the text.

    A segmenter of your own needs these two members, should pickle, and is handed to the tokenizer again on loading.
    """

    name: str

    def cut(self, text: str) -> list[str]:
        """Words of ``text``, in order, white space included: ``"".join(cut(text)) == text``."""
        ...


class RjiebaSegmenter:
    """jieba's default dictionary without HMM, in Rust.

    Source: ``jieba.cut(text, HMM=False)``, to which rjieba is equal and about twelve times faster. The dictionary is
    private to the instance: words that other code adds to rjieba or jieba change nothing here.

    Example:
        >>> RjiebaSegmenter().cut("今天天气不错")
        ['今天天气', '不错']
    """

    name = "rjieba"

    def __init__(self) -> None:
        from rjieba import Jieba

        self._jieba = Jieba()

    def cut(self, text: str) -> list[str]:
        """Words of ``text``; their concatenation is ``text``."""
        return self._jieba.cut(text, False)

    def __reduce__(self) -> tuple[Any, ...]:
        return RjiebaSegmenter, ()


class JiebaSegmenter:
    """jieba with words of your own, with or without its HMM for unknown words.

    Source: github.com/fxsjy/jieba. Each instance owns its dictionary, so ``jieba.add_word`` elsewhere changes nothing.

    Args:
        user_dict: file in jieba's format (``word [frequency] [tag]`` a line, UTF-8), or ``None``.
        hmm: let jieba invent words that stand in no dictionary; published WoBERT checkpoints expect ``False``.

    Raises:
        FileNotFoundError: ``user_dict`` does not exist.
        ValueError: ``user_dict`` is not UTF-8.

    Note:
        About twelve times slower than ``RjiebaSegmenter`` and half a second to start; use it for what rjieba
        cannot do.

    Example:
        >>> JiebaSegmenter().cut("今天天气不错")
        ['今天天气', '不错']
    """

    name = "jieba"

    def __init__(self, user_dict: str | Path | None = None, hmm: bool = False) -> None:
        self._start("" if user_dict is None else _read_user_dict(Path(user_dict)), hmm)

    def _start(self, user_words: str, hmm: bool) -> None:
        import jieba

        jieba.setLogLevel(logging.WARNING)
        self.user_words, self.hmm = user_words, hmm
        self._jieba = jieba.Tokenizer()
        self._jieba.initialize()
        self._jieba.load_userdict(user_words.split("\n") if user_words else [])

    @classmethod
    def from_words(cls, user_words: str, hmm: bool = False) -> JiebaSegmenter:
        """The segmenter whose user dictionary is this text rather than a file."""
        segmenter = cls.__new__(cls)
        segmenter._start(user_words, hmm)
        return segmenter

    def cut(self, text: str) -> list[str]:
        """Words of ``text``; their concatenation is ``text``."""
        words: list[str] = self._jieba.lcut(text, HMM=self.hmm)
        return words

    def __reduce__(self) -> tuple[Any, ...]:
        return JiebaSegmenter.from_words, (self.user_words, self.hmm)


def make_segmenter(segmenter: str | Segmenter, user_dict: str | Path | None = None, hmm: bool = False) -> Segmenter:
    """The segmenter of that name, or the given one.

    Args:
        segmenter: ``"rjieba"``, ``"jieba"``, or an object with ``name`` and ``cut``.
        user_dict: jieba user dictionary; only for ``"jieba"``.
        hmm: only for ``"jieba"``.

    Raises:
        ValueError: the name is unknown, or ``user_dict`` / ``hmm`` are given to a segmenter that cannot use them.
        TypeError: an object without ``name`` or ``cut``.
    """
    if segmenter == "jieba":
        return JiebaSegmenter(user_dict, hmm)
    if user_dict is not None or hmm:
        raise ValueError(f"user_dict and hmm need segmenter='jieba', not {segmenter!r}")
    if segmenter == "rjieba":
        return RjiebaSegmenter()
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
    if isinstance(segmenter, RjiebaSegmenter):
        return {"name": "rjieba", "version": version("rjieba"), "dictionary": _probe(segmenter)}
    if isinstance(segmenter, JiebaSegmenter):
        return {
            "name": "jieba",
            "version": version("jieba"),
            "dictionary": _probe(segmenter),
            "hmm": segmenter.hmm,
            "user_words": hashlib.sha256(segmenter.user_words.encode()).hexdigest() if segmenter.user_words else None,
        }
    return {"name": segmenter.name}


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
    changes = [f"{key} {segmenter.get(key)} -> {here[key]}" for key in here if here[key] != segmenter.get(key)]
    if changes:
        logger.warning(
            "this tokenizer was saved with another %s (%s): texts may be cut differently; install the saved version,"
            " or save the tokenizer again to accept this one",
            segmenter["name"],
            "; ".join(changes),
        )
    return made


def jieba_dictionary() -> Path:
    """The file of jieba's default dictionary: ``word frequency tag`` a line, UTF-8."""
    spec = find_spec("jieba")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("jieba is not installed; pip install jieba")
    return Path(spec.origin).with_name("dict.txt")


@lru_cache(maxsize=8)
def _probe(segmenter: Segmenter) -> str:
    # Segmentations of dictionary words run together depend on the words and on their frequencies alike.
    entries = jieba_dictionary().read_text("utf-8").split("\n")[::17]
    words = segmenter.cut("".join(entry.split(" ")[0] for entry in entries))
    return "sha256:" + hashlib.sha256("\n".join(words).encode()).hexdigest()


def _read_user_dict(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"user_dict {path} is not UTF-8 (byte {error.start}); convert it, e.g. with iconv") from error
