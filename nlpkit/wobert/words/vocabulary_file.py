"""Reading, checking and writing vocabularies: one token per line, the line number is the id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nlpkit.files import write_text

#: The released WoBERT vocabulary lost U+2028 between these two neighbours: its line is empty, its id never produced.
_LOST_LINE_SEPARATOR = ("\u2027", "", "\u2030")

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """Read a BERT vocabulary file.

    Args:
        path: text file, UTF-8, one token per line.

    Returns:
        Token to id.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not UTF-8, or a line is empty or repeats an earlier one; the message names the line. (One empty
            line is known and kept: that of the released WoBERT vocabulary, where U+2028 once stood.)

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_vocabulary({"[PAD]": 0, "天气": 1}, Path(folder) / "vocab.txt")
        ...     read_vocabulary(Path(folder) / "vocab.txt")
        {'[PAD]': 0, '天气': 1}
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"vocabulary file {path} does not exist; give a file with one token per line")
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"vocabulary file {path} is not UTF-8 at line {line}; convert it, e.g. with iconv") from error
    vocabulary: dict[str, int] = {}
    for number, token in enumerate(lines):
        if not token.strip(" \t") and tuple(lines[number - 1 : number + 2]) != _LOST_LINE_SEPARATOR:
            raise ValueError(f"vocabulary file {path} has an empty line {number + 1}; every line must hold one token")
        if token in vocabulary:
            raise ValueError(
                f"vocabulary file {path} has {token!r} on line {vocabulary[token] + 1} and again on line {number + 1};"
                " every token must stand once"
            )
        vocabulary[token] = number
    return vocabulary


def write_vocabulary(vocabulary: Mapping[str, int], path: str | Path) -> None:
    """Write a vocabulary file, whole or not at all.

    Args:
        vocabulary: token to id; ids run from 0 without gaps.
        path: where to.

    Raises:
        ValueError: the ids have gaps, or a token contains a line break.
    """
    check_vocabulary(vocabulary, ())
    write_text(path, "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.__getitem__)))


def check_vocabulary(vocabulary: Mapping[str, int], special_tokens: Sequence[str] = SPECIAL_TOKENS) -> None:
    """Refuse a vocabulary that no tokenizer can work with.

    Args:
        vocabulary: token to id.
        special_tokens: tokens that must be in it.

    Raises:
        ValueError: ids are not 0 to n-1, a special token is missing, or a token contains a line break.

    Example:
        >>> check_vocabulary({"[PAD]": 0, "[UNK]": 2})
        Traceback (most recent call last):
        ...
        ValueError: vocabulary ids must run from 0 to 1 without gaps, but 1 is missing
    """
    missing_ids = set(range(len(vocabulary))) - set(vocabulary.values())
    if missing_ids:
        raise ValueError(
            f"vocabulary ids must run from 0 to {len(vocabulary) - 1} without gaps, but {min(missing_ids)} is missing"
        )
    missing = [token for token in special_tokens if token not in vocabulary]
    if missing:
        raise ValueError(
            f"the vocabulary lacks {', '.join(missing)}; add the special tokens, best as its first lines,"
            " or name those it has instead (unk_token=..., mask_token=...)"
        )
    broken = next((token for token in vocabulary if "\n" in token or "\r" in token), None)
    if broken is not None:
        raise ValueError(f"vocabulary token {broken!r} contains a line break")
