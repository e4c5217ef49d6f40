"""One number that makes a trained model as sure as it is right."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.files import read_json, write_json
from nlpkit.one_text import refuse_one_text
from nlpkit.sources import find_file
from nlpkit.tasks.classification.known_answers import Numbers, known_answers

#: Beside the model's own files in a saved folder.
TEMPERATURE_FILE = "temperature.json"


@dataclass(frozen=True)
class TemperatureScaling:
    """Probabilities from logits: ``softmax((logits + shift) / temperature)``, or the sigmoid for labels.

    Source: arXiv 1706.04599, section 4.2.

    Args:
        temperature: above 1 where the model is too sure.
        multi_label: each logit is about a label of its own.
        shift: what is added to the logits, ``(classes,)``; none by default. A model that was trained by
            ``LogitAdjustedLoss`` has logits for balanced accuracy, and probabilities after its ``tau * log prior``.

    Raises:
        TypeError: the temperature is no number, or the shift is one text.
        ValueError: it is not from 1e-30 to 1e30, which fp32 can hold, or a shift is not finite.

    Note:
        A positive factor changes no decision. Of a model that was trained by ZLPR, probabilities are those of
        ``TemperatureScaling(0.5, multi_label=True)`` before anything is fitted.

    Example:
        >>> TemperatureScaling(2.0).probabilities(torch.tensor([[2.0, 0.0]]))
        tensor([[0.7311, 0.2689]])
    """

    temperature: float = 1.0
    multi_label: bool = False
    shift: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        checked_number("temperature", self.temperature, least=1e-30, most=1e30)
        if self.shift is not None:
            refuse_one_text("shift", self.shift, "numbers")
            object.__setattr__(self, "shift", tuple(float(number) for number in self.shift))
            for number in self.shift:
                checked_number("shift", number)

    @classmethod
    def fit(
        cls,
        logits: Numbers,
        answers: Numbers,
        *,
        shift: Numbers | None = None,
        limits: tuple[float, float] = (0.05, 20.0),
    ) -> Self:
        """The temperature that makes the right answers most likely, of rows that the model was not trained on.

        Args:
            logits: shape ``(rows, classes)``, finite, or -inf for a class that is left out.
            answers: a class for each row, or a 0 or 1 for each logit; -100 counts for nothing.
            shift: see the class.
            limits: between which it is looked for.

        Returns:
            The scaling.

        Raises:
            ValueError: logits are NaN, do not fit the answers, or are the same whatever the answer; or no answer is
                known.

        Warns:
            UserWarning: the likelihood is largest at a limit: all rows are right, or logits tell nothing.

        Note:
            The likelihood has one maximum, found by bisection of its slope. Temperature only makes all answers more
            or less sure alike: what is too sure of some and not sure enough of others stays so.

        Example:
            >>> logits = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
            >>> scaling = TemperatureScaling.fit(logits, [0, 0, 0, 1])  # three of four are right
            >>> scaling.probabilities(logits)[0]
            tensor([0.7500, 0.2500])
        """
        low, high = limits
        checked_number("limits[0]", low, above=0)
        checked_number("limits[1]", high, above=low)
        given, right = _checked(logits, answers)
        fitted = cls(1.0, right.dim() == 2, None if shift is None else tuple(torch.as_tensor(shift).tolist()))
        moved = fitted._moved(given)
        if right.dim() == 2:
            moved, right = moved[right != -100][:, None], right[right != -100][:, None]
        if not _differ(moved, of_labels=right.dim() == 2):
            raise ValueError("logits are the same for every answer: no temperature makes a difference")
        # Of the sharpness 1 / temperature, whose slope rises.
        least, most = torch.tensor([1 / high, 1 / low], dtype=torch.float64).log().tolist()
        for _ in range(60):
            middle = (least + most) / 2
            rises = _slope(moved, right, float(np.exp(middle))) > 0
            least, most = (least, middle) if rises else (middle, most)
        temperature = float(np.exp(-(least + most) / 2))
        if temperature < low * 1.001 or temperature > high / 1.001:
            why = "nearly all answers are right" if temperature < 2 * low else "the logits tell little of the answers"
            warnings.warn(
                f"the temperature is at its limit, {temperature:.3g}: {why}; give more rows, or other limits",
                stacklevel=2,
            )
        return cls(temperature, fitted.multi_label, fitted.shift)

    def probabilities(self, logits: Tensor | np.ndarray) -> Tensor:
        """The probabilities of classes, or of each label.

        Args:
            logits: shape ``(..., classes)``.

        Returns:
            The same shape, in fp32 or better.

        Raises:
            ValueError: the shift is of another number of classes.
        """
        moved = self._moved(torch.as_tensor(logits))
        if self.multi_label:
            return (moved / self.temperature).sigmoid()
        highest = moved.amax(dim=-1, keepdim=True)  # before the division, by which logits may become infinite
        return ((moved - highest) / self.temperature).softmax(dim=-1)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``temperature.json``, beside the model for example.

        Args:
            folder: made if it does not exist.
        """
        write_json(Path(folder) / TEMPERATURE_FILE, asdict(self))

    @classmethod
    def from_pretrained(cls, source: str | Path, **hub: Any) -> Self:
        """Read what ``save_pretrained`` wrote.

        Args:
            source: a folder, the name of a shipped model, or a repository on the Hub.
            **hub: for a repository, as for any model of transformers.

        Raises:
            FileNotFoundError: there is no such source, or no ``temperature.json`` in it.
            ValueError: the file is broken; the message names it.
        """
        file = find_file(source, TEMPERATURE_FILE, **hub)
        if file is None:
            raise FileNotFoundError(
                f"{source} has no {TEMPERATURE_FILE}: fit a temperature on dev with TemperatureScaling.fit(logits, "
                "answers), and save it there"
            )
        settings = read_json(file)
        try:
            if not isinstance(settings.get("multi_label", False), bool):
                raise ValueError("multi_label is neither true nor false")
            return cls(**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file} does not describe a temperature: {error}; save it again") from error

    def _moved(self, logits: Tensor) -> Tensor:
        wide = logits if logits.dtype == torch.float64 else logits.float()
        if self.shift is None:
            return wide
        if wide.shape[-1] != len(self.shift):
            raise ValueError(f"shift is for {len(self.shift)} classes, but logits are for {wide.shape[-1]}")
        return wide + torch.tensor(self.shift, dtype=wide.dtype, device=wide.device)


def _differ(logits: Tensor, *, of_labels: bool) -> bool:
    if of_labels:  # a column, whose other answer has a logit of 0
        return bool(logits.any())
    least = logits.masked_fill(logits.isneginf(), torch.inf).amin(dim=1)
    return bool((logits.amax(dim=1) > least).any())


def _slope(logits: Tensor, right: Tensor, sharpness: float) -> float:
    """Of the cross-entropy over the sharpness: what is expected of the logits less what the right answers have."""
    if right.dim() == 2:
        return float((((sharpness * logits).sigmoid() - right) * logits).mean())
    shares = (sharpness * logits).softmax(dim=1)
    finite = logits.masked_fill(logits.isneginf(), 0.0)  # whose share is 0
    return float(((shares * finite).sum(dim=1) - logits.gather(1, right[:, None])[:, 0]).mean())


def _checked(logits: Numbers, answers: Numbers) -> tuple[Tensor, Tensor]:
    """As of ``known_answers``; a ``ValueError`` where numbers are no logits."""
    given, right = known_answers("logits", logits, answers)
    if right.dim() == 2:
        if not given[right != -100].isfinite().all():
            raise ValueError("logits of labels must be finite; set answers to -100 where a label is left out")
    elif given.isnan().any() or given.isposinf().any() or given.gather(1, right[:, None]).isneginf().any():
        raise ValueError("logits must be finite, or -inf for a class that is left out and is no right answer")
    return given, right
