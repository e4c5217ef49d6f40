"""CoNLL-U in and out.

Written here rather than taken from the ``conllu`` package: that reads leniently and names no line, and what a parser
needs of the format fits on two pages. A file that is read and written again is the same, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from nlpkit.files import whole_file
from nlpkit.perturbed_masking.treebanks.lines import Source, TreebankLines
from nlpkit.perturbed_masking.treebanks.sentences import Sentence, Word
from nlpkit.perturbed_masking.trees.spanning_trees import find_cycle

_ID = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+)|\.(?P<empty>[1-9]\d*))?")


def read_conllu(source: Source) -> Iterator[Sentence]:
    r"""Read CoNLL-U, one sentence at a time; CoNLL-X files, which have the same ten columns, read alike.

    Source: https://universaldependencies.org/format.html.

    Args:
        source: a path (``.gz`` and ``.xz`` are opened), or lines.

    Yields:
        The sentences.

    Raises:
        FileNotFoundError: no such file.
        TreebankError: a line is malformed: not ten columns, an empty column, numbers out of order, a head out of
            range or in a cycle, a comment inside a sentence or without one; or is not UTF-8. The message names the
            line.

    Example:
        >>> lines = ["# text = 我来", "1\t我\t_\t_\t_\t_\t2\t_\t_\t_", "2\t来\t_\t_\t_\t_\t0\t_\t_\t_"]
        >>> [sentence.heads for sentence in read_conllu(lines)]
        [[2, 0]]
    """
    lines = TreebankLines(source)
    draft = _Draft(lines)
    for line in lines:
        if line:
            draft.add(line)
        elif not draft.is_empty:
            yield draft.finish()
            draft = _Draft(lines)
    if not draft.is_empty:
        yield draft.finish()


def write_conllu(sentences: Iterable[Sentence], destination: str | Path) -> None:
    """Write CoNLL-U; the file appears when all of it is written.

    Args:
        sentences: to write, in order.
        destination: file to write or replace; its folder is made if it does not exist.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "one.conllu")
        >>> write_conllu([Sentence.of(["我"]).with_heads([0])], path)
        >>> next(read_conllu(path)).heads
        [0]
    """
    with whole_file(destination) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{sentence}\n" for sentence in sentences)


class _Draft:
    """A sentence that is being read."""

    def __init__(self, lines: TreebankLines) -> None:
        self._lines = lines
        self._comments: list[str] = []
        self._words: list[Word] = []
        self._line_numbers: list[int] = []
        self._others: list[tuple[int, str]] = []
        self._multiword_end = 0

    @property
    def is_empty(self) -> bool:
        return not (self._comments or self._words or self._others)

    def add(self, line: str) -> None:
        if line.startswith("#"):
            if self._words or self._others:
                self._lines.fail("is a comment inside a sentence; comments stand before its words")
            self._comments.append(line)
            return
        columns = line.split("\t")
        if len(columns) != 10:
            self._lines.fail(f"has {len(columns)} columns; CoNLL-U has 10, separated by tabs")
        if "" in columns:
            self._lines.fail(f"has an empty column {columns.index('') + 1}; write _ where there is no value")
        identifier = _ID.fullmatch(columns[0])
        if identifier is None:
            self._lines.fail(f"has the ID {columns[0]!r}; IDs are like 3, 3-4 or 3.1")
        if identifier["last"] or identifier["empty"]:
            self._check_other(identifier)
            self._others.append((len(self._words), line))
            return
        if int(columns[0]) != len(self._words) + 1:
            self._lines.fail(f"has the ID {columns[0]}, expected {len(self._words) + 1}; words count up from 1")
        if columns[6] != "_" and not columns[6].isdecimal():
            self._lines.fail(f"has the head {columns[6]!r}; heads are numbers, 0 for the root, or _")
        head = None if columns[6] == "_" else int(columns[6])
        form, lemma, upos, xpos, feats = columns[1:6]
        self._words.append(Word(form, lemma, upos, xpos, feats, head, *columns[7:]))
        self._line_numbers.append(self._lines.number)

    def _check_other(self, identifier: re.Match[str]) -> None:
        first, reached = int(identifier["first"]), len(self._words)
        if identifier["empty"] and first != reached:
            self._lines.fail(f"has the ID {identifier[0]} after word {reached}; an empty node follows its word")
        if identifier["last"]:
            if first != reached + 1 or first <= self._multiword_end or int(identifier["last"]) < first:
                self._lines.fail(
                    f"has the ID {identifier[0]} after word {reached}; a multiword token stands before its first word "
                    "and overlaps no other"
                )
            self._multiword_end = int(identifier["last"])

    def finish(self) -> Sentence:
        if not self._words:
            self._lines.fail("ends a sentence without words")
        if self._multiword_end > len(self._words):
            self._lines.fail(f"ends a sentence of {len(self._words)} words; a multiword token reaches beyond it")
        for number, (line, word) in enumerate(zip(self._line_numbers, self._words, strict=True), start=1):
            if word.head is not None and (word.head > len(self._words) or word.head == number):
                self._lines.fail(f"has the head {word.head}, in a sentence of {len(self._words)} words", line)
        if cycle := find_cycle([word.head for word in self._words]):
            self._lines.fail(
                f"has a head in a cycle of the words {cycle}; heads lead to a root", self._line_numbers[cycle[0] - 1]
            )
        return Sentence(tuple(self._words), tuple(self._comments), tuple(self._others))
