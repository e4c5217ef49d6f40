"""The forms a parsed sentence can be written in."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from nlpkit.perturbed_masking.parses import Parse
from nlpkit.perturbed_masking.treebanks.brackets import read_brackets
from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.trees.constituents import right_branching

IMPACT = [[0.0, 2.0, 1.0], [1.0, 0.0, 1.0], [0.5, 3.0, 0.0]]


@pytest.fixture
def dependencies() -> Parse:
    return Parse(Sentence.in_text("我来了", [(0, 1), (1, 2), (2, 3)]), IMPACT, [2, 0, 2])


@pytest.fixture
def constituents() -> Parse:
    return Parse(Sentence.of(["我", "来", "(了"]), IMPACT, right_branching(3))


def test_dependencies_in_every_form(dependencies: Parse) -> None:
    (sentence,) = read_conllu(dependencies.conllu().split("\n"))
    assert sentence.heads == [2, 0, 2] and sentence.comments == ("# text = 我来了",)
    assert json.loads(dependencies.json()) == {"words": ["我", "来", "了"], "heads": [2, 0, 2]}
    assert dependencies.drawing().split("\n") == ["┌► 我", "├● 来", "└► 了"]
    ElementTree.fromstring(dependencies.svg())
    with pytest.raises(ValueError, match="brackets hold constituents; write dependencies as conllu"):
        dependencies.brackets()


def test_constituents_in_every_form(constituents: Parse) -> None:
    assert constituents.brackets() == "(X (X 我) (X (X 来) (X -LRB-了)))"
    assert json.loads(constituents.json()) == {
        "words": ["我", "来", "(了"],
        "brackets": "(X (X 我) (X (X 来) (X -LRB-了)))",
        "spans": [[0, 3], [1, 3]],
    }
    assert constituents.drawing().split("\n") == ["┬─ 我", "└─┬─ 来", "  └─ (了"]
    ElementTree.fromstring(constituents.svg())
    with pytest.raises(ValueError, match="CoNLL-U holds dependencies; write constituents as brackets"):
        constituents.conllu()


def test_a_gold_tree_prints_and_reads_the_same() -> None:
    (gold,) = read_brackets(["(S (NP (DT the) (NN dog)) (VBZ barks))"])
    parse = Parse(Sentence.of(gold.words), IMPACT, gold.tree)
    assert parse.brackets() == "(S (NP (DT the) (NN dog)) (VBZ barks))"


def test_gold_colours_arcs_and_names_the_relations_that_are_right() -> None:
    lines = ["1\t我\t_\tPRON\tPN\t_\t2\tnsubj\t_\t_", "2\t来\t_\t_\tVV\t_\t0\troot\t_\t_"]
    (sentence,) = read_conllu([*lines, "3\t了\t_\t_\t_\t_\t2\taux\t_\t_"])
    parse = Parse(sentence, IMPACT, [2, 0, 1])
    assert parse.tags() == ["PRON", "VV", ""] and parse.text() == "我 来 了"
    picture = parse.svg(gold=True)
    assert "nsubj" in picture and "aux" not in picture and ">PRON<" in picture
    assert "#c0392b" in picture and "#c0392b" not in parse.svg()
    with pytest.raises(ValueError, match="has no head"):
        Parse(Sentence.of(["我"]), [[0]], [0]).svg(gold=True)
    with pytest.raises(ValueError, match="gold=True colours arcs; constituents have none"):
        Parse(Sentence.of(["我", "来"]), None, right_branching(2)).svg(gold=True)
