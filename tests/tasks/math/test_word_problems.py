"""Sets of problems are read, checked and turned into texts; the public ones give their answers."""

from __future__ import annotations

import json
import lzma
from fractions import Fraction
from pathlib import Path

import pytest
import sympy

from nlpkit.tasks.math import (
    FORMS,
    WordProblem,
    evaluate,
    evaluate_postfix,
    gives_its_answer,
    normalise_equation,
    normalise_problem,
    read_equation,
    read_word_problems,
    satisfies,
    to_texts,
)

SETS = {
    "math23k/valid.json": (1000, 998),
    "ape210k/valid.ape.json": (4988, 4987),
    "ape210k/test.ape.json": (4989, 4987),
}


def read(shared_data: Path, name: str) -> list[WordProblem]:
    path = shared_data / "seq2seq" / f"{name}.xz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return read_word_problems(path)


def test_reading_a_file_and_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text('{"q": "甲", "e": "x=1", "a": "1"}\n\n{"q": "乙", "e": "x=2", "a": "3"}\n', "utf-8")
    problems = read_word_problems(path, text="q", equation="e", answer="a")
    assert problems == [WordProblem("甲", "x=1", "1"), WordProblem("乙", "x=2", "3")]
    assert [gives_its_answer(problem) for problem in problems] == [True, False]
    assert not gives_its_answer(WordProblem("丙", "x=6千米", "6")) and not gives_its_answer(
        WordProblem("丙", "6", "六")
    )
    with pytest.raises(ValueError, match=r"line 1: 'original_text' must be a text; it is None \(the line has q, e, a"):
        read_word_problems(path)


def test_files_without_problems_or_with_numbers_for_texts(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text("\n", "utf-8")
    with pytest.raises(ValueError, match="holds no problems"):
        read_word_problems(path)
    path.write_text(json.dumps({"original_text": "甲", "equation": "x=1", "ans": 1}) + "\n", "utf-8")
    with pytest.raises(ValueError, match="line 1: 'ans' must be a text; it is 1"):
        read_word_problems(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_word_problems(tmp_path / "none.json")


def test_texts_of_a_problem_spell_numbers_alike() -> None:
    problem = WordProblem("用了１(１/２)小时，是计划的80%，计划多少小时？", "x=1(1/2)/80%", "1.875")
    source, target = to_texts(problem)
    assert source == "用了(1+1/2)小时，是计划的80/100，计划多少小时？"
    assert target == "(1+1/2)/(80/100)"
    assert to_texts(problem, "prefix")[1] == "/ + 1 / 1 2 / 80 100"
    assert gives_its_answer(problem)


@pytest.mark.shared
@pytest.mark.parametrize("name", SETS)
def test_equations_of_public_sets_give_their_answers(shared_data: Path, name: str) -> None:
    problems = read(shared_data, name)
    assert (len(problems), sum(map(gives_its_answer, problems))) == SETS[name]


@pytest.mark.shared
def test_every_form_of_real_equations_has_their_values(shared_data: Path) -> None:
    problems = [problem for problem in read(shared_data, "ape210k/valid.ape.json")[:800] if gives_its_answer(problem)]
    for problem in problems:
        for form in FORMS:
            assert evaluate_postfix(read_equation(to_texts(problem, form)[1], form)) == evaluate(problem.equation)


@pytest.mark.shared
@pytest.mark.parametrize("name", SETS)
def test_a_second_normalisation_of_real_problems_changes_nothing(shared_data: Path, name: str) -> None:
    once = [normalise_problem(problem.text) for problem in read(shared_data, name)]
    assert [normalise_problem(text) for text in once] == once


@pytest.mark.shared
def test_sympy_has_the_same_values_of_real_equations(shared_data: Path) -> None:
    problems = [problem for problem in read(shared_data, "math23k/valid.json")[:300] if gives_its_answer(problem)]
    for problem in problems:
        value = sympy.sympify(normalise_equation(problem.equation), rational=True)
        assert Fraction(int(value.p), int(value.q)) == evaluate(problem.equation)


@pytest.mark.shared
def test_answers_satisfy_the_equations_of_a_public_set(shared_data: Path) -> None:
    path = shared_data / "seq2seq" / "hmwp" / "hmwp.json.xz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    outcomes = []
    for row in rows:
        try:
            outcomes.append("satisfied" if satisfies(row["equation"], row["ans"]) else "not satisfied")
        except ValueError:
            outcomes.append("unreadable")
    counts = {name: outcomes.count(name) for name in set(outcomes)}
    assert counts == {"satisfied": 5376, "not satisfied": 65, "unreadable": 50}
