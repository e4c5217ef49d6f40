"""Sets of math word problems, and the texts that a sequence-to-sequence model reads and writes for them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nlpkit.tasks.math.answers import TOLERANCE, same_answer
from nlpkit.tasks.math.errors import ExpressionError
from nlpkit.tasks.math.forms import Form, write_equation
from nlpkit.tasks.math.problems import normalise_problem
from nlpkit.text_files import read_records


class WordProblem(NamedTuple):
    """A problem of one unknown.

    Attributes:
        text: as it was written.
        equation: ``x=`` and an expression.
        answer: an expression, such as ``19``, ``72%`` or ``1(1/2)``.
    """

    text: str
    equation: str
    answer: str


def read_word_problems(
    path: str | Path, *, text: str = "original_text", equation: str = "equation", answer: str = "ans"
) -> list[WordProblem]:
    """Read a file of problems, one per line.

    Args:
        path: JSON lines (``.json``, ``.jsonl``), ``.csv`` or ``.tsv``, perhaps ``.gz`` or ``.xz``. The defaults are
            the names of Math23K and Ape210K.
        text: the name of the problem's column.
        equation: that of the equation's.
        answer: that of the answer's.

    Returns:
        The problems in their order, whether or not their equations give their answers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no record of the three columns, a column holds no text, or there are no problems; the
            message gives the line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "one.json")
        ...     _ = path.write_text('{"original_text": "3个2是多少？", "equation": "x=3*2", "ans": "6"}', "utf-8")
        ...     read_word_problems(path)
        [WordProblem(text='3个2是多少？', equation='x=3*2', answer='6')]
    """
    problems = []
    for number, row in read_records(path):
        missing = [name for name in (text, equation, answer) if not isinstance(row.get(name), str)]
        if missing:
            raise ValueError(
                f"{path}, line {number}: {missing[0]!r} must be a text; it is {row.get(missing[0])!r} (the line has "
                f"{', '.join(row)})"
            )
        problems.append(WordProblem(row[text], row[equation], row[answer]))
    if not problems:
        raise ValueError(f"{path} holds no problems")
    return problems


def gives_its_answer(problem: WordProblem, tolerance: float = TOLERANCE) -> bool:
    """Whether the equation of a problem has its answer for a value.

    Args:
        problem: of any set.
        tolerance: as for ``same_answer``.

    Returns:
        ``False`` also where the equation or the answer is no expression.

    Example:
        >>> [gives_its_answer(WordProblem("3个2是多少？", equation, "6")) for equation in ("x=3*2", "x=6千米")]
        [True, False]
    """
    try:
        return same_answer(problem.equation, problem.answer, tolerance)
    except ExpressionError:
        return False


def to_texts(problem: WordProblem, form: Form = "infix") -> tuple[str, str]:
    """The source and the target for any sequence-to-sequence model.

    Args:
        problem: of any set.
        form: of the target.

    Returns:
        The problem by ``normalise_problem`` and its equation by ``write_equation``, with numbers spelled alike, so
        that they can be copied.

    Raises:
        ExpressionError: the equation is no expression; ``gives_its_answer`` tells.

    Example:
        >>> to_texts(WordProblem("一件衣服８０元，降价20%后多少元？", "x=80*[1-20%]", "64"))
        ('一件衣服80元，降价20/100后多少元？', '80*(1-20/100)')
    """
    return normalise_problem(problem.text), write_equation(problem.equation, form)
