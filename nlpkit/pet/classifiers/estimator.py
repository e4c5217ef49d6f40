"""The one interface of all classifiers, with scikit-learn's conventions for it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from math import isfinite
from reprlib import Repr
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpkit.pet.clozes.columns import Columns
from nlpkit.pet.clozes.examples import Example, Label, LabelledExamples, Sources, labelled_examples
from nlpkit.pet.clozes.known_labels import refuse_unlabelled
from nlpkit.pet.scoring import refuse_no_numbers
from nlpkit.pet.training.fitting import Fitting, checked_fitting

#: Of values in a line about a classifier; what is longer is cut.
_SHORT = Repr()
_SHORT.maxtuple = _SHORT.maxlist = 8
_SHORT.maxstring = _SHORT.maxother = 240
#: What begins the names of the settings of ``fitting`` among the parameters.
NESTED = "fitting__"


class Estimator(ABC):
    """``fit``, ``predict``, ``predict_proba``, ``score`` and ``classes_``, and what ``sklearn.base.clone`` asks for.

    Note:
        scikit-learn is not imported unless it asks: ``cross_val_score``, ``GridSearchCV`` and the like take any
        classifier of this package. ``classes_``, and with them the columns of ``predict_proba``, are sorted, because
        its metrics take the last class for the positive one; ``scores`` stand in the order of ``labels``.
    """

    fitting: Fitting
    #: The labels as they were given; empty where they are texts.
    _classes: tuple[Label, ...] = ()
    #: The weights before ``fit``.
    _start: Any = None

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where each example brings candidates of its own."""

    @property
    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that an example needs."""

    def __repr__(self) -> str:
        """One line in the manner of scikit-learn; all parts of a network are those of its ``model``."""
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in self._shown().items())})"

    def _shown(self) -> dict[str, str]:
        """What tells it from others in a line, by name."""
        return {"labels": _SHORT.repr(self._classes or self.labels)}

    @abstractmethod
    def scores(self, sources: Sources, batch_size: int = 64, *, text: Columns = None) -> Tensor:
        """Scores of labels, up to a constant per row, ``(examples, labels)``."""

    @abstractmethod
    def fit(self, texts: Sources, labels: Iterable[Any] | str | None = None) -> Self:
        """Train on texts with labels, from where the classifier began."""

    @abstractmethod
    def restart(self) -> None:
        """Forget what ``fit`` has learnt."""

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels as they were given, numbers perhaps, sorted as scikit-learn has them, ``(labels,)``."""
        return np.array(self._sorted_classes)

    @property
    def _order(self) -> NDArray[np.intp]:
        """The place of each of ``classes_`` among ``labels``; empty where each example brings candidates."""
        return np.argsort(np.array(self._classes or self.labels), kind="stable")

    @property
    def _sorted_classes(self) -> list[Label]:
        """``classes_``, each of its own type."""
        given = self._classes or self.labels
        return [given[place] for place in self._order]

    def _sorted_scores(self, sources: Sources, batch_size: int, text: Columns) -> Tensor:
        """``scores`` in the order of ``classes_``, ``(examples, labels)``; candidates stay in theirs."""
        scores, order = self.scores(sources, batch_size, text=text), self._order
        return scores[:, torch.from_numpy(order)] if len(order) else scores

    def predict_proba(self, sources: Sources, batch_size: int = 64, *, text: Columns = None) -> NDArray[np.floating]:
        """Probabilities of the labels.

        Args:
            sources: texts, in any form that ``nlpkit.pet.as_examples`` reads.
            batch_size: examples per forward pass.
            text: the column of the text, or of each field, where it has another name.

        Returns:
            Shape ``(examples, labels)``; the columns are ``classes_``, or the candidates of each example.
        """
        probabilities: NDArray[np.floating] = self._sorted_scores(sources, batch_size, text).softmax(dim=-1).numpy()
        return probabilities

    def predict(self, sources: Sources, batch_size: int = 64, *, text: Columns = None) -> list[Any]:
        """The most probable label of each text, as it was given, a number perhaps, in the order of the rows.

        Args:
            sources: as for ``predict_proba``, like the following two.
            batch_size: likewise.
            text: likewise.

        Returns:
            One label per row, the first of ``classes_`` among equals; for examples with candidates, the number of the
            best as a string.
        """
        return best_labels(self._sorted_scores(sources, batch_size, text), self._sorted_classes)

    def score(
        self,
        texts: Sources,
        labels: Iterable[Any] | str | None = None,
        *,
        text: Columns = None,
        label: str | None = None,
    ) -> float:
        """The share of texts whose label is predicted.

        Args:
            texts: as for ``fit``, like the following three.
            labels: likewise; none is missing.
            text: likewise.
            label: likewise.

        Raises:
            ValueError: the label of a text is missing, and as for ``fit``.
        """
        examples = self._fully_labelled(texts, labels, text, label)
        hits = [str(found) == one.label for found, one in zip(self.predict(examples), examples, strict=True)]
        return float(np.mean(hits))

    def _labelled(
        self, texts: Sources, labels: Iterable[Any] | str | None, text: Columns, label: str | None
    ) -> LabelledExamples:
        if label is not None and labels is not None:
            raise ValueError(f"give the labels, or the name of their column, not both; got label={label!r}")
        wanted = label if labels is None else labels
        return self._with_classes(self._read(texts, wanted, text))

    def _read(self, texts: Sources, labels: Iterable[Any] | str | None, text: Columns) -> LabelledExamples:
        """Examples at least one of which has a label."""
        return labelled_examples(texts, labels, self.fields, text, known=self.labels)

    def _fully_labelled(
        self, texts: Sources, labels: Iterable[Any] | str | None, text: Columns, label: str | None
    ) -> list[Example]:
        """Examples to measure by, all of which have a label."""
        examples = self._labelled(texts, labels, text, label).examples
        refuse_unlabelled([one.known_labels for one in examples])
        return examples

    def _with_classes(self, found: LabelledExamples) -> LabelledExamples:
        """Labels are those the classifier was given, where the source of the examples does not say what they are."""
        own = dict(zip(self.labels, self._classes or self.labels, strict=True))
        return found if found.given else found._replace(given=own)

    @classmethod
    def _arguments(cls) -> list[str]:
        """Names of what the class is constructed with; of one that passes ``**settings`` on, its bases' too."""
        names: dict[str, None] = {}
        for kind in cls.__mro__:
            if "__init__" in vars(kind):
                found = inspect.signature(vars(kind)["__init__"]).parameters.values()
                names |= {one.name: None for one in found if one.kind is not one.VAR_KEYWORD and one.name != "self"}
                if not any(one.kind is one.VAR_KEYWORD for one in found):
                    break
        return list(names)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What the classifier was constructed with, by name.

        Args:
            deep: with the settings of ``fitting``, as ``fitting__max_steps`` and so on.
        """
        own = {name: getattr(self, name) for name in self._arguments()}
        if deep:
            own |= {NESTED + name: value for name, value in vars(self.fitting).items()}
        return own

    def set_params(self, **given: Any) -> Self:
        """Construct the classifier anew with other settings; what ``fit`` has learnt stays until the next ``fit``.

        Args:
            **given: names as of ``get_params``.

        Raises:
            ValueError: an unknown name, or settings that do not fit each other; then nothing has changed.
        """
        known = self.get_params()
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"unknown parameter {unknown[0]!r}; there are {', '.join(known)}")
        nested = {name.removeprefix(NESTED): value for name, value in given.items() if name.startswith(NESTED)}
        own = {name: value for name, value in given.items() if not name.startswith(NESTED)}
        parameters = {name: known[name] for name in self._arguments()} | own
        if nested:
            parameters["fitting"] = replace(checked_fitting(parameters["fitting"]) or Fitting(), **nested)
        other = self._with(parameters, set(own))
        kept = {"_classes": self._classes} if other.labels == self.labels else {}
        vars(self).clear()
        vars(self).update(vars(other) | kept)
        return self

    def _with(self, parameters: dict[str, Any], changed: set[str]) -> Self:
        """Another one with these parameters, some of which are not this one's."""
        return type(self)(**parameters)

    def __sklearn_clone__(self) -> Self:
        """A copy that ``fit`` has not touched."""
        copied = deepcopy(self)
        copied.restart()
        return copied

    def __sklearn_is_fitted__(self) -> bool:
        """Whether it can answer, which takes no training: the words of a pattern answer as they are."""
        return True

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know of an estimator."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
        )


def labels_as_given(labels: Sequence[str], given: Iterable[Label]) -> tuple[Label, ...]:
    """Labels as the training examples have them; others as numbers or truth values, where all given are such.

    Args:
        labels: all there are, as texts.
        given: those of the training examples.

    Example:
        >>> labels_as_given(["0", "1", "2"], [0, 2]), labels_as_given(["no", "yes"], ["yes"])
        ((0, 1, 2), ('no', 'yes'))
        >>> labels_as_given(["3.5", "2", "1.5"], [3.5, 1.5])
        (3.5, 2, 1.5)
    """
    known: dict[str, Label] = {str(label): label for label in given}
    kinds = {type(label) for label in known.values()}
    others: dict[str, Label] = {}
    if kinds == {bool}:
        others = {"True": True, "False": False}
    elif kinds and kinds <= {int, float}:
        others = {label: number for label in labels if (number := _number(label)) is not None}
    return tuple(known.get(label, others.get(label, label)) for label in labels)


def _number(label: str) -> int | float | None:
    """The finite number whose name a label is."""
    for kind in (int, float):
        try:
            number: int | float = kind(label)
        except ValueError:
            continue
        if str(number) == label and isfinite(number):
            return number
    return None


def best_labels(scores: Tensor, labels: Sequence[Any]) -> list[Any]:
    """The label of the highest score of each row.

    Args:
        scores: shape ``(examples, labels)``.
        labels: in the order of the columns; empty where the best candidate's number stands for it.

    Raises:
        ValueError: a score is NaN or infinite.

    Example:
        >>> import torch
        >>> best_labels(torch.tensor([[1.0, 3.0]]), ["good", "bad"])
        ['bad']
    """
    best = refuse_no_numbers(scores).argmax(dim=1).tolist() if scores.numel() else []
    return [labels[number] if labels else str(number) for number in best]
