"""The tasks of FewGLUE with 32 development examples.

Source: FewGLUE (Schick and Schütze, arXiv 2009.07118): 32 training examples of each task of SuperGLUE;
github.com/THUDM/P-tuning, folder FewGLUE_32dev, adds 32 development examples.
"""

from __future__ import annotations

from string import punctuation

from nlpkit.fewshot.metrics import accuracy, macro_f1
from nlpkit.fewshot.tasks.task import FewShotTask, Record, text_of, value_of

_TRUTH = ("false", "true")


def fewglue_task(name: str) -> FewShotTask:
    """A task of FewGLUE.

    Args:
        name: one of ``FEWGLUE``.

    Returns:
        The task. Its text fields have the files' names; WSC has ``text``, ``marked`` (``text`` with ``*`` around the
        pronoun), ``span1`` (the noun) and ``span2`` (the pronoun). COPA's candidates are its two choices.

    Raises:
        ValueError: there is no such task.

    Example:
        >>> fewglue_task("RTE").labels
        ('entailment', 'not_entailment')
    """
    for task in _TASKS:
        if task.name == name:
            return task
    raise ValueError(f"FewGLUE has no task {name!r} here; it has {', '.join(FEWGLUE)}")


def _copa_choices(record: Record) -> tuple[str, ...]:
    return text_of(record, "choice1"), text_of(record, "choice2")


def _wsc_fields(record: Record) -> dict[str, str]:
    text, target = text_of(record, "text"), value_of(record, "target")
    noun, pronoun = text_of(target, "span1_text"), text_of(target, "span2_text")
    words = text.split(" ")
    # In some records the place is a word or two off.
    near = sorted(range(len(words)), key=lambda place: abs(place - int(value_of(target, "span2_index"))))[:5]
    place = next((place for place in near if words[place].strip(punctuation).lower() == pronoun.lower()), None)
    if place is None:
        raise ValueError(f"span2 {pronoun!r} does not stand near word {target['span2_index']} of {text!r}")
    words[place] = f"*{words[place]}*"
    return {"text": text, "marked": " ".join(words), "span1": noun, "span2": pronoun}


_TASKS = (
    FewShotTask("BoolQ", ("passage", "question"), _TRUTH),
    FewShotTask(
        "CB", ("premise", "hypothesis"), ("entailment", "contradiction", "neutral"), metrics=(accuracy, macro_f1)
    ),
    FewShotTask("COPA", ("premise", "question", "choice1", "choice2"), ("0", "1"), read_candidates=_copa_choices),
    FewShotTask("RTE", ("premise", "hypothesis"), ("entailment", "not_entailment")),
    FewShotTask("WiC", ("word", "sentence1", "sentence2"), _TRUTH),
    FewShotTask("WSC", ("text", "marked", "span1", "span2"), _TRUTH, read_fields=_wsc_fields),
)

#: Names of the tasks, which are those of their folders.
FEWGLUE = tuple(task.name for task in _TASKS)
