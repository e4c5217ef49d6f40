"""Penn Treebank brackets in.

Written here rather than taken from NLTK: its reader names no line of a broken file, and the cleaning that parsing
scores assume (traces, function tags, unary chains) would be ours all the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field
from typing import NoReturn

from nlpkit.perturbed_masking.treebanks.lines import Source, TreebankLines
from nlpkit.perturbed_masking.treebanks.sentences import MARKS, is_punctuation
from nlpkit.perturbed_masking.trees.penn_words import from_penn
from nlpkit.perturbed_masking.trees.tree import Tree

#: Parts of speech that parsing scores leave out: punctuation by any tag set that is known here, and, as Klein and
#: Manning (2002) and their successors do on the Penn Treebank, the signs of currencies.
PUNCTUATION_TAGS = MARKS | {"$", "#"}

_TRACE = "-NONE-"
_TOKEN = re.compile(r"[()]|[^\s()]+")
_FUNCTION = re.compile(r"(?<=[^-=|])[-=|].*")


@dataclass(frozen=True)
class BracketedSentence:
    """A sentence of a treebank of brackets, without traces.

    Args:
        words: as written; round brackets are ``-LRB-`` and ``-RRB-`` in the Penn Treebank.
        tags: parts of speech, one per word.
        tree: over the words; no constituent has a single child.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    tree: Tree


@dataclass
class _Bracket:
    """A bracket that is being read."""

    line: int
    label: str = ""
    word: str | None = None
    inner: int = 0
    children: list[Tree] = field(default_factory=list)


def read_brackets(
    source: Source, *, drop_tags: Collection[str] = (), plain_words: bool = False
) -> Iterator[BracketedSentence]:
    """Read trees in Penn Treebank brackets, one at a time; a tree may take several lines, or a line several trees.

    Traces (``-NONE-``), the words of ``drop_tags`` and the constituents that they leave empty are removed; function
    tags and indices are cut off (``NP-SBJ-1`` is ``NP``). A constituent with a single child becomes one with it,
    under the upper label; over a single word only the part of speech stays.

    Args:
        source: a path (``.gz`` and ``.xz`` are opened), or lines.
        drop_tags: parts of speech to leave out, e.g. ``PUNCTUATION_TAGS``, with which punctuation goes that other tag
            sets have other tags for.
        plain_words: read ``-LRB-``, ``-RRB-`` and ``␣`` as the round brackets and the blank that they stand for, as
            ``Tree.brackets`` writes them.

    Yields:
        The sentences that have a word left.

    Raises:
        FileNotFoundError: no such file.
        TreebankError: brackets do not match, a bracket is empty, or a word stands outside or beside another bracket;
            or a line is not UTF-8. The message names the line.

    Example:
        >>> tree = "( (S (NP-SBJ (-NONE- *) ) (VP (VB Look) (ADVP (RB here) ) ) (. .) ))"
        >>> sentence = next(read_brackets([tree], drop_tags=PUNCTUATION_TAGS))
        >>> sentence.tree.brackets(sentence.words)
        '(S (VB Look) (RB here))'
    """
    lines = TreebankLines(source)
    dropped = frozenset(drop_tags) | {_TRACE}
    words: list[str] = []
    tags: list[str] = []
    open_brackets: list[_Bracket] = []
    expects_label = False
    for line in lines:
        for token in _TOKEN.findall(line):
            if token == "(":
                open_brackets.append(_Bracket(lines.number))
                expects_label = True
                continue
            if not open_brackets:
                lines.fail(f"has {token!r} outside of any bracket")
            bracket = open_brackets[-1]
            if token == ")":
                open_brackets.pop()
                tree = _close(bracket, lines, words, tags, dropped)
                if open_brackets:
                    open_brackets[-1].inner += 1
                    open_brackets[-1].children += [] if tree is None else [tree]
                elif tree is not None:
                    yield BracketedSentence(tuple(map(from_penn, words) if plain_words else words), tuple(tags), tree)
                if not open_brackets:
                    words, tags = [], []
            elif expects_label:
                bracket.label = token
            elif bracket.word is None and not bracket.inner:
                bracket.word = token
            else:
                _refuse_mixture(bracket.word or token, lines)
            expects_label = False
    if open_brackets:
        lines.fail("opens a bracket that is never closed", open_brackets[0].line)


def _close(
    bracket: _Bracket, lines: TreebankLines, words: list[str], tags: list[str], dropped: Set[str]
) -> Tree | None:
    """The tree of a bracket whose inner ones are closed; ``None`` where no word is left of it."""
    label, children = bracket.label, bracket.children
    if bracket.word is not None:
        if bracket.inner:
            _refuse_mixture(bracket.word, lines)
        if label in dropped or (dropped >= MARKS and is_punctuation(bracket.word, label)):
            return None
        words.append(bracket.word)
        tags.append(label)
        return Tree.leaf(len(words) - 1, label)
    if not bracket.inner:
        lines.fail(f"has a bracket with nothing in it: ({label})")
    if not children:
        return None
    label = _FUNCTION.sub("", label)
    if len(children) > 1:
        return Tree(children[0].start, children[-1].end, tuple(children), label)
    only = children[0]
    return Tree(only.start, only.end, only.children, label) if only.children and label else only


def _refuse_mixture(word: str, lines: TreebankLines) -> NoReturn:
    lines.fail(f"has the word {word!r} beside others in one bracket; a word's bracket is like (NN {word})")
