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
from nlpkit.pet.scoring import calibrated, mean_log_probability
from nlpkit.pet.training_rows import TrainingRow

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
        """Scores of a batch's labels, up to a constant per row, ``(batch, labels)``."""

    @abstractmethod
    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of ``forward``."""

    def collate_rows(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """The inputs of ``forward`` for training; what is drawn at random is a function of the rows' numbers."""
        return self.collate([row.example for row in rows])

    def adjusted(self, scores: Tensor) -> Tensor:
        """Scores of labels without what ``calibrate`` found that the model prefers anyway, ``(batch, labels)``."""
        return scores if self.prior is None else calibrated(scores, self.prior.to(scores.device))

    @torch.inference_mode()
    def scores(self, sources: Iterable[Source], batch_size: int = 64) -> Tensor:
        """Scores of labels, up to a constant per row, calibrated if ``calibrate`` was called.

        Args:
            sources: texts, texts by name, or examples.
            batch_size: examples per forward pass.

        Returns:
            Shape ``(examples, labels)``, on the CPU, in fp32, or in fp64 where the model is; where examples bring
            candidates, as many columns as the most.

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
                rows = self.adjusted(self.batch_scores([examples[number] for number in chosen])).cpu()
                found |= dict(zip(chosen, rows, strict=True))
        finally:
            self.train(was_training)
        width = max((len(row) for row in found.values()), default=len(self.labels))
        dtype = next((torch.promote_types(row.dtype, torch.float32) for row in found.values()), torch.float32)
        padded = torch.full((len(examples), width), torch.finfo(torch.float32).min, dtype=dtype)
        for number, row in found.items():
            padded[number, : len(row)] = row
        return padded

    def predict_proba(self, sources: Iterable[Source], batch_size: int = 64) -> NDArray[np.floating]:
        """Probabilities of the labels.

        Args:
            sources: texts, texts by name, or examples.
            batch_size: examples per forward pass.

        Returns:
            Shape ``(examples, labels)``; the columns are ``labels``.
        """
        probabilities: NDArray[np.floating] = self.scores(sources, batch_size).softmax(dim=-1).numpy()
        return probabilities

    def predict(self, sources: Iterable[Source], batch_size: int = 64) -> list[str]:
        """The most probable label of each text; for examples with candidates, the number of the best as a string."""
        return best_labels(self.scores(sources, batch_size), self.labels)

    def calibrate(self, texts: Iterable[Source], batch_size: int = 64) -> Self:
        """Take the model's preference for some labels out of its predictions, as measured on texts without labels.

        Source: see ``nlpkit.pet.scoring.calibrated``.

        Args:
            texts: unlabelled texts of the task whose labels are about equally frequent (batch calibration); or
                content-free ones such as ``["", "N/A"]`` (contextual calibration, and with ``[""]`` alone PMI), which
                then stand for every field.
            batch_size: examples per forward pass.

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


def best_labels(scores: Tensor, labels: Sequence[str]) -> list[str]:
    """The label of the highest score of each row.

    Args:
        scores: shape ``(examples, labels)``.
        labels: in the order of the columns; empty where the best candidate's number stands for it.

    Example:
        >>> best_labels(torch.tensor([[1.0, 3.0]]), ["good", "bad"])
        ['bad']
    """
    best = scores.argmax(dim=1).tolist() if scores.numel() else []
    return [labels[number] if labels else str(number) for number in best]
