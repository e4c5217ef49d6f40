"""A fine-tuned classifier of classes or labels, whose probabilities were calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nlpkit.files import SAVED_MODEL, whole_folder
from nlpkit.pet import HeadClassifier
from nlpkit.pet.saving import HUB
from nlpkit.tasks.classification.known_answers import Numbers
from nlpkit.tasks.classification.temperature import TemperatureScaling

_LABELS = "multi_label_classification"


class CalibratedClassifier:
    """Predicts by the logits of a head, and says how probable answers are by a temperature.

    Args:
        head: a model with a head, its tokenizer and its labels, trained. ``config.problem_type`` says whether any
            number of labels applies.
        scaling: how logits become probabilities; their softmax or sigmoid by default.

    Raises:
        ValueError: the scaling is for classes and the head for labels, or the other way round.

    Note:
        Answers are those of the logits as they are: the largest one, or those above 0. After a loss that adjusts
        logits the most probable class may be another one; see ``TemperatureScaling.shift``.

    Example:
        >>> from nlpkit.pet import Fitting
        >>> head = HeadClassifier.from_pretrained("wobert-mini-zh", ["bad", "good"], fitting=Fitting(max_steps=20))
        >>> texts, answers = ["房间干净", "服务热情", "质量太差", "态度恶劣"], [1, 1, 0, 0]
        >>> _ = head.fit(texts, [head.labels[answer] for answer in answers])
        >>> classifier = CalibratedClassifier(head, TemperatureScaling(2.0))
        >>> classifier.predict(texts), classifier.predict_proba(texts).shape
        (['good', 'good', 'bad', 'bad'], (4, 2))
    """

    def __init__(self, head: HeadClassifier, scaling: TemperatureScaling | None = None) -> None:
        multi_label = head.model.config.problem_type == _LABELS
        self.head = head
        self.scaling = TemperatureScaling(multi_label=multi_label) if scaling is None else scaling
        if self.scaling.multi_label != multi_label:
            kinds = ("labels that each apply or not", "one class per text")
            raise ValueError(
                f"the model is for {kinds[not multi_label]} (config.problem_type is "
                f"{head.model.config.problem_type!r}), and the scaling for {kinds[multi_label]}: fit it with answers "
                "of the model's kind, or set problem_type"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of classes or labels, in the order of the logits."""
        return self.head.labels

    def logits(self, texts: Any, batch_size: int = 64) -> Tensor:
        """What the head gives for texts, in their order, ``(texts, labels)``; see ``HeadClassifier.scores``."""
        return self.head.scores(texts, batch_size)

    def calibrate(self, texts: Any, answers: Numbers, batch_size: int = 64) -> Self:
        """Fit the temperature on texts that the model was not trained on, those of a dev set.

        Args:
            texts: in any form that ``nlpkit.pet.as_examples`` reads.
            answers: the number of each one's class, or a 0 or 1 for each label.
            batch_size: texts per forward pass.

        Returns:
            The classifier itself.

        Raises:
            ValueError: as of ``TemperatureScaling.fit``.
        """
        scaling = TemperatureScaling.fit(self.logits(texts, batch_size), answers, shift=self.scaling.shift)
        type(self)(self.head, scaling)  # looks whether answers are of the model's kind
        self.scaling = scaling
        return self

    def predict_proba(self, texts: Any, batch_size: int = 64) -> NDArray[np.floating]:
        """The probability of each class or label, in the order of ``labels``, ``(texts, labels)``."""
        return np.asarray(self.scaling.probabilities(self.logits(texts, batch_size)))

    def predict(self, texts: Any, batch_size: int = 64) -> list[str] | list[list[str]]:
        """The class of each text, or the list of labels that apply to it."""
        found = self.logits(texts, batch_size)
        if not self.scaling.multi_label:
            return [self.labels[number] for number in found.argmax(dim=1).tolist()]
        return [[name for name, yes in zip(self.labels, row, strict=True) if yes] for row in (found > 0).tolist()]

    def save_pretrained(self, folder: str | Path) -> None:
        """Save model, tokenizer, labels and temperature, all or nothing; the folder still loads as the model alone.

        Args:
            folder: made if it does not exist.
        """
        with whole_folder(folder, replacing=SAVED_MODEL) as draft:
            self.head.save_pretrained(draft)
            self.scaling.save_pretrained(draft)

    @classmethod
    def from_pretrained(cls, source: str | Path, **settings: Any) -> Self:
        """Load what ``save_pretrained`` wrote.

        Args:
            source: a folder or a repository on the Hub.
            **settings: as for ``HeadClassifier.from_pretrained``.

        Raises:
            FileNotFoundError: there is no such source, or no temperature in it.
            ValueError: it is broken; the message names it.
        """
        hub = {name: settings[name] for name in HUB if name in settings}
        return cls(
            HeadClassifier.from_pretrained(source, **settings), TemperatureScaling.from_pretrained(source, **hub)
        )
