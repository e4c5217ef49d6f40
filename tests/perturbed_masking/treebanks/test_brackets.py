"""Penn brackets: what is cleaned, and which line is to blame."""

from __future__ import annotations

import pytest

from nlpkit.perturbed_masking.treebanks.brackets import PUNCTUATION_TAGS, read_brackets
from nlpkit.perturbed_masking.treebanks.lines import TreebankError

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
