"""Penn Treebank brackets in.

Written here rather than taken from NLTK: its reader names no line of a broken file, and the cleaning that parsing
scores assume (traces, function tags, unary chains) would be ours all the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from nlpkit.perturbed_masking.treebanks.lines import Source, TreebankLines
from nlpkit.perturbed_masking.trees.tree import Tree

#: Parts of speech that parsing scores on the Penn Treebank leave out: punctuation, and as Klein and Manning (2002)
#: and their successors do, the signs of currencies.
PUNCTUATION_TAGS = frozenset({",", ".", ":", "``", "''", "-LRB-", "-RRB-", "$", "#"})

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
class _Node:
    """A bracket that is being read: its label, and words or further brackets."""

    label: str
    line: int
    items: list[_Node | str]


def read_brackets(source: Source, *, drop_tags: Collection[str] = ()) -> Iterator[BracketedSentence]:
    """Read trees in Penn Treebank brackets, one at a time; a tree may take several lines, or a line several trees.

    Traces (``-NONE-``), the words of ``drop_tags`` and the constituents that they leave empty are removed; function
    tags and indices are cut off (``NP-SBJ-1`` is ``NP``). A constituent with a single child becomes one with it,
    under the upper label; over a single word only the part of speech stays.

    Args:
        source: a path (``.gz`` and ``.xz`` are opened), or lines.
        drop_tags: parts of speech to leave out, e.g. ``PUNCTUATION_TAGS``.

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
    for node in _read_nodes(lines):
        words: list[str] = []
        tags: list[str] = []
        tree = _clean(node, words, tags, frozenset(drop_tags) | {"-NONE-"})
        if tree is not None:
            yield BracketedSentence(tuple(words), tuple(tags), tree)


def _read_nodes(lines: TreebankLines) -> Iterator[_Node]:
    open_nodes: list[_Node] = []
    expects_label = False
    for line in lines:
        for token in _TOKEN.findall(line):
            if token == "(":
                open_nodes.append(_Node("", lines.number, []))
                expects_label = True
                continue
            if not open_nodes:
                lines.fail(f"has {token!r} outside of any bracket")
            if token != ")":
                if expects_label:
                    open_nodes[-1].label = token
                else:
                    open_nodes[-1].items.append(token)
            else:
                node = open_nodes.pop()
                _check(node, lines)
                if not open_nodes:
                    yield node
                else:
                    open_nodes[-1].items.append(node)
            expects_label = False
    if open_nodes:
        lines.fail("opens a bracket that is never closed", open_nodes[0].line)


def _check(node: _Node, lines: TreebankLines) -> None:
    if not node.items:
        lines.fail(f"has a bracket with nothing in it: ({node.label})")
    words = [item for item in node.items if isinstance(item, str)]
    if words and len(node.items) > 1:
        lines.fail(f"has the word {words[0]!r} beside others in one bracket; a word's bracket is like (NN {words[0]})")


def _clean(node: _Node, words: list[str], tags: list[str], drop_tags: frozenset[str]) -> Tree | None:
    word = node.items[0]
    if isinstance(word, str):
        if node.label in drop_tags:
            return None
        words.append(word)
        tags.append(node.label)
        return Tree.leaf(len(words) - 1, node.label)
    cleaned = (_clean(item, words, tags, drop_tags) for item in node.items if isinstance(item, _Node))
    children = [child for child in cleaned if child is not None]
    label = _FUNCTION.sub("", node.label)
    if not children:
        return None
    if len(children) == 1:
        only = children[0]
        return Tree(only.start, only.end, only.children, label) if only.children and label else only
    return Tree(children[0].start, children[-1].end, tuple(children), label)
