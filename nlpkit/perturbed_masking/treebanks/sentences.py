"""Sentences of dependency treebanks: words, their annotation, and the lines that are kept for writing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nlpkit.perturbed_masking.trees.marks import is_mark
from nlpkit.perturbed_masking.trees.spanning_trees import find_cycle

#: Parts of speech of punctuation: Penn Treebank, Chinese Treebank (``PU``), Universal Dependencies (``PUNCT``), the
#: universal tags of Petrov et al. (2012, ``.``), TIGER (``$``...), SPMRL's French, Arabic and Hebrew, PKU and LTP.
MARKS = frozenset(
    (", . : `` '' \" ( ) -LRB- -RRB- -LSB- -RSB- -LCB- -RCB- PU PUNCT PUNC PONCT $. $, $( $[ NFP w wp").split()
)
#: Parts of speech of words, even of such as look like marks (``POS`` of ``'``, ``SYM`` of ``-``): those of Universal
#: Dependencies, of the Penn Treebank and of the Chinese one, whose ``SP`` is Korean's comma.
_WORDS = frozenset(
    (
        "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN SCONJ SYM VERB X "
        "AFX CC CD DT EX FW GW IN JJ JJR JJS LS MD NN NNS NNP NNPS PDT POS PRP PRP$ RB RBR RBS RP TO UH VB VBD VBG "
        "VBN VBP VBZ WDT WP WP$ WRB ADD XX "
        "AD AS BA CS DEC DEG DER DEV ETC IJ LB LC M MSP NR NT OD ON P PN SB VA VC VE VV"
    ).split()
)


def is_punctuation(form: str, tag: str) -> bool:
    """Whether a word is punctuation: by its tag where the tag is known, otherwise by how it is written.

    Treebanks have dozens of tag sets (``Fc``, ``SF``, ``Z:``, ``PUN``), and one's comma is another's numeral.

    Args:
        form: the word.
        tag: its part of speech.

    Example:
        >>> is_punctuation("，", "PU"), is_punctuation(",", "Fc"), is_punctuation("-", "SYM"), is_punctuation("5", "Z")
        (True, True, False, False)
    """
    return tag in MARKS or (tag not in _WORDS and is_mark(form))


@dataclass(frozen=True)
class Word:
    """A syntactic word: a line whose ID is a whole number.

    Args:
        form: as written.
        lemma: and the other columns: as CoNLL-U writes them, ``"_"`` where there is none.
        upos: universal part of speech.
        xpos: part of speech of the treebank's own.
        feats: morphological features.
        head: 1-based, 0 for the root, ``None`` where it is not annotated.
        deprel: relation to the head.
        deps: enhanced dependencies.
        misc: anything else.

    Example:
        >>> Word("今天", upos="NOUN").is_punctuation
        False
    """

    form: str
    lemma: str = "_"
    upos: str = "_"
    xpos: str = "_"
    feats: str = "_"
    head: int | None = None
    deprel: str = "_"
    deps: str = "_"
    misc: str = "_"

    @property
    def is_punctuation(self) -> bool:
        """Whether it is by its part of speech, universal where there is one; without any, by how it is written."""
        tag = next((tag for tag in (self.upos, self.xpos) if tag != "_"), None)
        return is_mark(self.form) if tag is None else is_punctuation(self.form, tag)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a CoNLL-U file.

    Args:
        words: the syntactic words.
        comments: lines that begin with ``#``.
        other_lines: multiword tokens (``3-4``) and empty nodes (``8.1``), each with the number of words before it;
            they are kept for writing, and no tree has them.

    Example:
        >>> Sentence.of(["我", "来"]).with_heads([2, 0]).heads
        [2, 0]
    """

    words: tuple[Word, ...]
    comments: tuple[str, ...] = ()
    other_lines: tuple[tuple[int, str], ...] = ()

    @staticmethod
    def of(forms: Sequence[str]) -> Sentence:
        """A sentence of bare words.

        Args:
            forms: of the words.

        Returns:
            The sentence, without heads, with a ``# text`` that joins the forms by blanks.

        Raises:
            ValueError: a form is empty, or holds a tab or a line end.

        Example:
            >>> Sentence.of(["a", "b"]).comments
            ('# text = a b',)
        """
        _check_forms(forms)
        return Sentence(tuple(Word(form) for form in forms), (f"# text = {' '.join(forms)}",))

    @staticmethod
    def in_text(text: str, spans: Sequence[tuple[int, int]]) -> Sentence:
        """A sentence of the words that stand in a text.

        Args:
            text: one line.
            spans: of the words, half-open ranges of characters in order; what lies between them is white space.

        Returns:
            The sentence, without heads, with its ``# text``, and ``SpaceAfter=No`` where a word touches the next.

        Raises:
            ValueError: a word is empty, or holds a tab or a line end.

        Example:
            >>> [word.misc for word in Sentence.in_text("来 吧。", [(0, 1), (2, 3), (3, 4)]).words]
            ['_', 'SpaceAfter=No', '_']
        """
        forms = [text[start:end] for start, end in spans]
        _check_forms(forms)
        touched = {end for (_, end), (start, _) in pairwise(spans) if end == start}
        words = (
            Word(form, misc="SpaceAfter=No" if end in touched else "_")
            for form, (_, end) in zip(forms, spans, strict=True)
        )
        return Sentence(tuple(words), (f"# text = {' '.join(text.split())}",))

    @property
    def forms(self) -> list[str]:
        """The words as written."""
        return [word.form for word in self.words]

    @property
    def heads(self) -> list[int]:
        """Heads, 1-based, 0 for the root.

        Raises:
            ValueError: a word has none.
        """
        heads = [word.head for word in self.words if word.head is not None]
        if len(heads) < len(self.words):
            missing = next(number for number, word in enumerate(self.words, start=1) if word.head is None)
            raise ValueError(
                f"word {missing} ({self.words[missing - 1].form!r}) has no head; the treebank lacks heads"
            )
        return heads

    @property
    def scored(self) -> list[bool]:
        """Which words count where punctuation does not: see ``nlpkit.perturbed_masking.treebanks.scores``."""
        return [not word.is_punctuation for word in self.words]

    def with_heads(self, heads: Sequence[int]) -> Sentence:
        """The same sentence with another tree.

        Args:
            heads: 1-based, 0 for the root, one per word.

        Returns:
            A sentence whose relations are ``root`` and ``dep`` (unspecified); enhanced dependencies and the empty
            nodes, which belong to the old tree, are gone.

        Raises:
            ValueError: there are more or fewer heads than words, one is out of range, or they form a cycle.
        """
        if len(heads) != len(self.words) or not all(0 <= head <= len(self.words) for head in heads):
            raise ValueError(f"heads {list(heads)} do not fit a sentence of {len(self.words)} words")
        if cycle := find_cycle(heads):
            raise ValueError(f"heads {list(heads)} form a cycle of the words {cycle}; give a tree")
        words = tuple(
            replace(word, head=int(head), deprel="dep" if head else "root", deps="_")
            for word, head in zip(self.words, heads, strict=True)
        )
        multiword = tuple((place, line) for place, line in self.other_lines if "." not in line.split("\t")[0])
        return replace(self, words=words, other_lines=multiword)

    def __str__(self) -> str:
        others = iter([*self.other_lines, (-1, "")])
        place, other = next(others)
        lines = list(self.comments)
        for number, word in enumerate(self.words):
            while place == number:
                lines.append(other)
                place, other = next(others)
            head = "_" if word.head is None else str(word.head)
            columns = (
                word.form,
                word.lemma,
                word.upos,
                word.xpos,
                word.feats,
                head,
                word.deprel,
                word.deps,
                word.misc,
            )
            lines.append("\t".join((str(number + 1), *columns)))
        while place == len(self.words):
            lines.append(other)
            place, other = next(others)
        return "\n".join(lines) + "\n"


def _check_forms(forms: Sequence[str]) -> None:
    for form in forms:
        if not form or any(character in form for character in "\t\n\r"):
            raise ValueError(f"form {form!r} cannot be written: forms are not empty and hold no tab or line end")
