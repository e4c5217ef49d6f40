"""What the prompting methods of a few-shot task are made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nlpkit.fewshot.grid.protocol import RunData
from nlpkit.pet.clozes.verbalizer import Aggregate


@dataclass(frozen=True)
class PromptSettings:
    """What the runs of a task are made with; the YAML file of a task sets these by name.

    Args:
        model: folder, or the name of a shipped model.
        model_files: what identifies its files; for the record only.
        patterns: clozes; the first trains single models, all of them train ensembles.
        words: label words by label, for labels whose own names will not do; ``None`` where examples bring candidates.
        aggregate: see `Verbalizer`.
        soft_pattern: the cloze of P-tuning, with ``{soft}`` tokens.
        fields: one field, or two for a pair, for plain fine-tuning; by default all of the task. For candidates a
            template with ``{candidate}``.
        premise: template of the text that is to entail a hypothesis, or of a choice, with ``{candidate}``.
        hypotheses: template of each label's hypothesis, or one for all with ``{label}`` for the label's first word.
        entailment_model: folder of a model that learnt entailment, with one output, for EFL; by default ``model``.
        max_length: tokens.
        max_steps: of training, likewise for all methods.
        batch_size: labelled examples per step.
        learning_rate: the peak.
        unlabelled_per_row: unlabelled texts per labelled example, for objectives that use them.
        alpha: of PET.
        mask_probability: of the blog's variant and PET.
        samplings: of LM-BFF's predictions.
        generations: of iPET.
        growth: how many times as many examples each of iPET's generations learns from as the one before.
        distillation_steps: of iPET's final classifier.
        distillation_learning_rate: its peak; a new head wants a higher one than label words do. By default the same.
        most_unlabelled: unlabelled texts that are looked at.
        calibration_texts: of these, the first so many calibrate a prompted model; PET, iPET, P-tuning and LM-BFF start
            from there, and 0 leaves it out.
    """

    model: str
    model_files: str = ""
    patterns: tuple[str, ...] = ()
    words: Mapping[str, Any] | None = None
    aggregate: Aggregate = "mean"
    soft_pattern: str = ""
    fields: tuple[str, ...] = ()
    premise: str = ""
    hypotheses: Mapping[str, str] = field(default_factory=dict)
    entailment_model: str = ""
    max_length: int = 128
    max_steps: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-4
    unlabelled_per_row: int = 1
    alpha: float = 0.9999
    mask_probability: float = 0.15
    samplings: int = 4
    generations: int = 2
    growth: int = 5
    distillation_steps: int = 600
    distillation_learning_rate: float | None = None
    most_unlabelled: int = 2000
    calibration_texts: int = 400

    @classmethod
    def of(cls, run: RunData) -> PromptSettings:
        """The settings of a run, refusing names that mean nothing.

        Raises:
            ValueError: a name is unknown, or a setting is of another kind than it must be; the message names it.
        """
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(set(run.settings) - known)
        if unknown:
            raise ValueError(
                f"settings of {run.task.name}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )
        given: dict[str, Any] = dict(run.settings)
        for name in ("learning_rate", "distillation_learning_rate"):
            if isinstance(given.get(name), str):  # YAML reads 1e-4 as text, 1.0e-4 as a number
                given[name] = _number(run, name, given[name])
        for name in ("patterns", "fields"):
            given[name] = _texts(run, name, given.get(name, ()))
        if run.task.read_candidates is None:
            given["fields"] = given["fields"] or run.task.text_fields
            words = given.get("words", {})
            if not isinstance(words, Mapping):
                raise _unfit(run, "words", words, "a mapping of labels to words")
            given["words"] = {**run.task.label_names, **words}
            if isinstance(given.get("hypotheses"), str):
                names = _first_words(given["words"])
                template = given["hypotheses"]
                given["hypotheses"] = {label: template.replace("{label}", name) for label, name in names.items()}
        return cls(**given)

    def with_first_words(self) -> PromptSettings:
        """The same with the first word of each label alone."""
        return self if self.words is None else replace(self, words=_first_words(self.words))


def _first_words(words: Mapping[str, str | Sequence[str]]) -> dict[str, str]:
    return {label: some if isinstance(some, str) else some[0] for label, some in words.items()}


def _texts(run: RunData, name: str, given: Any) -> tuple[str, ...]:
    if not (isinstance(given, Sequence) and not isinstance(given, str) and all(isinstance(one, str) for one in given)):
        raise _unfit(run, name, given, "a list of texts")
    return tuple(given)


def _number(run: RunData, name: str, given: str) -> float:
    try:
        return float(given)
    except ValueError as error:
        raise _unfit(run, name, given, "a number") from error


def _unfit(run: RunData, name: str, given: Any, wanted: str) -> ValueError:
    return ValueError(f"settings of {run.task.name}: {name}={given!r} must be {wanted}")
