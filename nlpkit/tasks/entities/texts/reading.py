"""Files of texts with entities: JSON lines, and columns of words and labels (CoNLL)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from nlpkit.labels.spans import Span, bio_to_spans
from nlpkit.tasks.entities.texts.units import read_spans
from nlpkit.text_files import holds_json_lines, read_lines, read_records

#: How other schemes write what BIO writes: the last unit of an entity, one in the middle, and one that is alone.
_AS_BIO = {"B": "B", "I": "I", "M": "I", "E": "I", "L": "I", "S": "B", "U": "B"}
_CHINESE = re.compile("[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")
_IDEOGRAPH = re.compile("[\u3400-\u9fff]")


def read_entities(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of texts with entities.

    Args:
        path: JSON lines of ``text`` and ``spans`` (or ``labels``, one per character), or any other name: columns, as
            ``read_columns`` reads them. Plain, ``.gz`` or ``.xz``.

    Returns:
        Examples of ``text`` and ``spans``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: there is no text in it, a line is broken, or an example has no entities, not even an empty list;
            the message names file and line.
    """
    if not holds_json_lines(path):
        examples = list(read_columns(read_lines(path), str(path)))
    else:
        examples = []
        for number, record in read_records(path):
            try:
                spans = read_spans(record)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            if spans is None:
                raise ValueError(
                    f"{path}, line {number} has neither 'spans' nor 'labels'; write spans [] where there is no entity"
                )
            examples.append({"text": record["text"], "spans": spans})
    if not examples:
        raise ValueError(f"{path} holds no texts")
    return examples


def read_columns(lines: Iterable[str], name: str = "the file") -> Iterator[dict[str, Any]]:
    """Read texts out of lines with a word (or a character) first and its label last; blank lines are between texts.

    Args:
        lines: columns stand apart by tabs where every line has one, so that a word may hold spaces, and by tabs or
            spaces otherwise; those in the middle are not read, nor are lines that begin with ``-DOCSTART-``.
        name: what errors call it.

    Yields:
        ``text``: the words joined, with a space between two unless one of them is Chinese there, and ``spans``. Where
        every word with Chinese in it is a single character, lines are characters, as in MSRA's and Weibo's files: the
        digits of a number and the letters of a name have no spaces between them either. All lines tell, so all are
        read first.

    Raises:
        ValueError: a line has no label, or a label is none of ``O``, BIO's, BIOES's or BILOU's.

    Note:
        A span that goes on without having begun begins there, as the CoNLL-2000 scorer reads it; so IOB1 is read, too,
        except that of two neighbours of one type the second must have ``B-``, as it has there.

    Example:
        >>> list(read_columns(["New NNP B-LOC", "York NNP I-LOC", "wins VBZ O", "", "北 B-LOC", "京 E-LOC"]))
        [{'text': 'New York wins', 'spans': [Span(start=0, end=8, label='LOC')]},
         {'text': '北京', 'spans': [Span(start=0, end=2, label='LOC')]}]
    """
    lines = [line.removeprefix("\ufeff").strip("\r\n") for line in lines]
    is_word = [bool(line.strip()) and not line.startswith("-DOCSTART-") for line in lines]
    by_tabs = all("\t" in line for line in compress(lines, is_word))
    sentences: list[tuple[list[str], list[str]]] = [([], [])]
    for number, line in enumerate(lines, start=1):
        if not is_word[number - 1]:
            sentences.append(([], []))
            continue
        columns = [column.strip(" ") for column in re.split("\t" if by_tabs else "[ \t]", line) if column.strip(" ")]
        if len(columns) < 2:
            raise ValueError(f"{name}, line {number} has no label: {line!r}; write the word first and its label last")
        words, labels = sentences[-1]
        words.append(columns[0])
        labels.append(_as_bio(columns[-1], f"{name}, line {number}"))
    lengths = {len(word) for words, _ in sentences for word in words if _IDEOGRAPH.search(word)}
    for words, labels in sentences:
        if words:
            yield _example(words, labels, of_characters=lengths == {1})


def _as_bio(label: str, place: str) -> str:
    prefix, dash, kind = label.partition("-")
    if label == "O":
        return label
    if not dash or not kind or prefix not in _AS_BIO:
        raise ValueError(
            f"{place} has the label {label!r}; labels are O, B-<type> and I-<type> (or with E, M, S, L, U)"
        )
    return f"{_AS_BIO[prefix]}-{kind}"


def _example(words: Sequence[str], labels: Sequence[str], *, of_characters: bool) -> dict[str, Any]:
    text, places = "", []
    for before, word in zip(["", *words], words, strict=False):
        chinese = not before or _CHINESE.match(before[-1]) or _CHINESE.match(word[0])
        text += word if chinese or (of_characters and len(before) == len(word) == 1) else f" {word}"
        places.append((len(text) - len(word), len(text)))
    spans = [Span(places[first][0], places[last - 1][1], label) for first, last, label in bio_to_spans(labels)]
    return {"text": text, "spans": spans}
