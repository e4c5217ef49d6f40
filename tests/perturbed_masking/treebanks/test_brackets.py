"""Penn brackets: what is cleaned, and which line is to blame."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nltk import Tree as NltkTree

from nlpkit.perturbed_masking.treebanks.brackets import PUNCTUATION_TAGS, read_brackets
from nlpkit.perturbed_masking.treebanks.lines import TreebankError
from nlpkit.perturbed_masking.treebanks.sentences import Word
from nlpkit.perturbed_masking.trees.constituents import random_branching, right_branching

TREE = """\
( (S (NP-SBJ-1 (-NONE- *) )
     (VP (VBD said)
         (SBAR (-NONE- 0)
               (S (NP (PRP it)) (VP=2 (MD would) (VP (VB pay) (NP ($ $) (CD 5) (-NONE- *U*)))))))
     (. .)))
"""


def test_traces_function_tags_and_chains_are_cleaned_away() -> None:
    (whole,) = read_brackets(TREE.split("\n"))
    assert whole.words == ("said", "it", "would", "pay", "$", "5", ".")
    assert whole.tags == ("VBD", "PRP", "MD", "VB", "$", "CD", ".")
    text = "(S (VP (VBD said) (SBAR (PRP it) (VP (MD would) (VP (VB pay) (NP ($ $) (CD 5)))))) (. .))"
    assert whole.tree.brackets(whole.words) == text
    (words_only,) = read_brackets(TREE.split("\n"), drop_tags=PUNCTUATION_TAGS)
    text = "(S (VBD said) (SBAR (PRP it) (VP (MD would) (VP (VB pay) (CD 5)))))"
    assert words_only.tree.brackets(words_only.words) == text


def test_what_is_printed_reads_the_same() -> None:
    (first,) = read_brackets(TREE.split("\n"))
    (second,) = read_brackets([first.tree.brackets(first.words)])
    assert second == first


def spans_by_nltk(tree: NltkTree) -> set[tuple[int, int]]:
    """The constituents of two words or more, from NLTK's own positions of leaves."""
    paths = [tree.leaf_treeposition(place) for place in range(len(tree.leaves()))]
    spans = set()
    for path in tree.treepositions():
        inside = [place for place, leaf in enumerate(paths) if leaf[: len(path)] == path]
        if len(inside) > 1:
            spans.add((inside[0], inside[-1] + 1))
    return spans


@given(st.lists(st.text(min_size=1), min_size=1, max_size=9), st.integers(0, 10**6))
@example(["\\", "a\\", "\\("], 0)
def test_induced_trees_of_any_words_come_back_from_our_reader_and_from_nltk(words: list[str], seed: int) -> None:
    tree = random_branching(len(words), seed)
    written = tree.brackets(words)
    (sentence,) = read_brackets([written])
    assert sentence.tree.spans(trivial=True) == tree.spans(trivial=True)
    assert sentence.tree.brackets(sentence.words) == written
    by_nltk = NltkTree.fromstring(written)
    assert tuple(by_nltk.leaves()) == sentence.words and len(sentence.words) == len(words)
    assert spans_by_nltk(by_nltk) == tree.spans(trivial=True)


def test_words_come_back_as_they_were() -> None:
    words, tags = ("10 000", "(", "a)b", "好"), ["CD", "-LRB-", "X", ""]
    written = right_branching(4).brackets(words, tags)
    assert written == "(X (CD 10␣000) (X (-LRB- -LRB-) (X (X a-RRB-b) (X 好))))"
    (sentence,) = read_brackets([written], plain_words=True)
    assert sentence.words == words and sentence.tags == ("CD", "-LRB-", "X", "X")


def test_deep_trees_do_not_exhaust_the_stack() -> None:
    (sentence,) = read_brackets([right_branching(1500).brackets(["字"] * 1500)])
    assert sentence.tree.spans() == right_branching(1500).spans()


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ("PN VV PU", ["a", "b"]),
        ("PRON PUNCT VERB", ["a", "c"]),
        ("PRON VERB .", ["a", "b"]),
        ("PPER VVFIN $.", ["a", "b"]),
        ("CLS V PONCT", ["a", "b"]),
        ("`` NN ''", ["b"]),
        ("-LRB- $ NN", ["c"]),
        ("SYM HYPH X", ["a", "b", "c"]),
    ],
)
def test_punctuation_is_known_by_the_tags_of_many_treebanks(tags: str, kept: list[str]) -> None:
    line = " ".join(f"({tag} {word})" for tag, word in zip(tags.split(), "abc", strict=True))
    (sentence,) = read_brackets([f"(S {line})"], drop_tags=PUNCTUATION_TAGS)
    assert list(sentence.words) == kept


@pytest.mark.parametrize(
    "tag", ["SF", "Fc", "Z", "Z:-------------", "PUN", "pun", "HYPH", "interp", "SP", "FS", "補助記号"]
)
def test_punctuation_under_the_tags_of_other_treebanks_is_known_by_how_it_is_written(tag: str) -> None:
    tree = f"(S ({tag} -) (CC &) (SYM -) (POS ') ({tag} 5) ({tag} %) ({tag} a) ({tag} …))"
    (sentence,) = read_brackets([tree], drop_tags=PUNCTUATION_TAGS)
    assert sentence.words == ("&", "-", "'", "5", "%", "a")
    assert len(next(read_brackets([tree], drop_tags=["SYM"])).words) == 7
    assert [Word(form, xpos=tag).is_punctuation for form in "-5%a…"] == [True, False, False, False, True]
    assert not Word("-", upos="SYM", xpos=tag).is_punctuation


def test_several_trees_a_line_brackets_as_words_and_trees_of_traces_alone() -> None:
    lines = ["(S (X a) (-LRB- -LRB-)) (X b)", "( (S (-NONE- *)))", "((X c))"]
    sentences = list(read_brackets(lines))
    assert [sentence.words for sentence in sentences] == [("a", "-LRB-"), ("b",), ("c",)]
    assert sentences[0].tags == ("X", "-LRB-")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["(S (X a)", "(X b)"], "line 1 opens a bracket that is never closed"),
        (["(S (X a))", ")"], "line 2 has '\\)' outside of any bracket"),
        (["", "word (X a)"], "line 2 has 'word' outside of any bracket"),
        (["(S", "(X))"], "line 2 has a bracket with nothing in it: \\(X\\)"),
        (["(S (X a b))"], "line 1 has the word 'a' beside others in one bracket"),
        (["(S (X a) b)"], "line 1 has the word 'b' beside others in one bracket"),
    ],
)
def test_malformed_brackets_are_named(lines: list[str], message: str) -> None:
    with pytest.raises(TreebankError, match=message):
        list(read_brackets(lines))
