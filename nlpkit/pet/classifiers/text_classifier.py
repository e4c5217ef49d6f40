"""What every classifier of this package answers: scores, probabilities, labels, and calibration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from nlpkit.pet.clozes.examples import Example, as_examples
from nlpkit.pet.objectives.training_rows import TrainingRow
from nlpkit.pet.scoring import calibrated, mean_log_probability

Source = Example | str | Mapping[str, str]


class TextClassifier(nn.Module, ABC):
    """Predicts labels of texts; subclasses say how a batch of examples is scored."""

    #: Tells the Trainer that ``forward`` takes ``num_items_in_batch``.
    accepts_loss_kwargs = True
    model: PreTrainedModel
    #: Log-probabilities of the labels that are taken out of every prediction, ``(labels,)``.
    prior: Tensor | None = None

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where each example brings candidates of its own."""

    @property
    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that an example needs."""

    @abstractmethod
    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, up to a constant a row, ``(batch, labels)``."""

    @abstractmethod
    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of ``forward``."""

    def collate_rows(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """The inputs of ``forward`` for training; what is drawn at random is a function of the rows' numbers."""
        return self.collate([row.example for row in rows])

    def adjusted(self, scores: Tensor) -> Tensor:
        """Scores of labels without what `calibrate` found that the model prefers anyway, ``(batch, labels)``."""
        return scores if self.prior is None else calibrated(scores, self.prior.to(scores.device))

    @torch.inference_mode()
    def scores(self, sources: Iterable[Source], batch_size: int = 64) -> Tensor:
        """Scores of labels, up to a constant a row, calibrated if `calibrate` was called.

        Args:
            sources: texts, texts by name, or examples.
            batch_size: examples a forward pass.

        Returns:
            Shape ``(examples, labels)``, fp32 on the CPU; where examples bring candidates, as many columns as the
            most.

        Note:
            Runs in evaluation mode, longest first, so that batches hold little padding; shows progress after a moment.
        """
        examples = as_examples(sources)
        order = sorted(range(len(examples)), key=lambda number: -sum(map(len, examples[number].fields.values())))
        found: dict[int, Tensor] = {}
        was_training = self.training
        self.eval()
        try:
            for start in tqdm(
                range(0, len(order), batch_size), desc="classifying", unit="batch", delay=3, leave=False
            ):
                chosen = order[start : start + batch_size]
                rows = self.adjusted(self.batch_scores([examples[number] for number in chosen])).float().cpu()
                found |= dict(zip(chosen, rows, strict=True))
        finally:
            self.train(was_training)
        width = max((len(row) for row in found.values()), default=len(self.labels))
        padded = torch.full((len(examples), width), torch.finfo(torch.float32).min)
        for number, row in found.items():
            padded[number, : len(row)] = row
        return padded

    def predict_proba(self, sources: Iterable[Source], batch_size: int = 64) -> NDArray[np.float32]:
        """Probabilities of the labels.

        Args:
            sources: texts, texts by name, or examples.
            batch_size: examples a forward pass.

        Returns:
            Shape ``(examples, labels)``; the columns are ``labels``.
        """
        probabilities: NDArray[np.float32] = self.scores(sources, batch_size).softmax(dim=-1).numpy()
        return probabilities

    def predict(self, sources: Iterable[Source], batch_size: int = 64) -> list[str]:
        """The most probable label of each text; for examples with candidates, the number of the best as a string."""
        best = self.predict_proba(sources, batch_size).argmax(axis=1)
        return [self.labels[number] if self.labels else str(number) for number in best.tolist()]

    def calibrate(self, texts: Iterable[Source], batch_size: int = 64) -> Self:
        """Take the model's liking for some labels out of its predictions, as measured on texts without labels.

        Source: see ``nlpkit.pet.scoring.calibrated``.

        Args:
            texts: unlabelled texts of the task whose labels are about equally frequent (batch calibration); or
                content-free ones such as ``["", "N/A"]`` (contextual calibration, and with ``[""]`` alone PMI), which
                then stand for every field.
            batch_size: examples a forward pass.

        Returns:
            The classifier itself. Training goes on from the calibrated scores, and keeps the prior as it is.

        Raises:
            ValueError: no texts, or examples that bring candidates of their own.
        """
        if not self.labels:
            raise ValueError("a prior over labels needs common labels; these examples bring candidates of their own")
        listed: list[Any] = list(texts)
        if not listed:
            raise ValueError(
                "no texts to calibrate on; give unlabelled texts of the task, or [''] for the bare pattern"
            )
        examples = [dict.fromkeys(self.fields, text) if isinstance(text, str) else text for text in listed]
        self.prior = None
        self.prior = mean_log_probability(self.scores(examples, batch_size))
        return self
