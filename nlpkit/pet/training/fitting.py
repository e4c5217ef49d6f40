"""How ``fit`` of a classifier trains: its settings, and which examples it keeps apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nlpkit.checked_number import checked_number, checked_seed
from nlpkit.pet.clozes.examples import Example, label_name
from nlpkit.pet.training.label_loss import refuse_no_weights

#: ``"balanced"`` gives every label the same weight in sum; or a weight for each label.
ClassWeight = Literal["balanced"] | Mapping[Any, float] | None


@dataclass(frozen=True)
class Fitting:
    """Settings of a classifier's ``fit``, chosen for a few dozen examples.

    Args:
        max_steps: optimizer steps.
        learning_rate: the peak; it rises for a tenth of the steps, and falls to 0.
        batch_size: labelled examples per step.
        class_weight: of the labels in the loss; see ``nlpkit.pet.LabelLoss``.
        validation_share: share of each label's examples that is kept out of training and chooses the step, where no
            other examples do.
        patience: stop after so many evaluations (there are ten in all) without a better one; ``None``: never.
        seed: of everything random.
        output_dir: where checkpoints and the best weights go; ``None`` is a folder that is deleted afterwards.

    Raises:
        TypeError: a number that must be whole is not, or weights of labels that are no mapping.
        ValueError: a number that makes no sense.

    Example:
        >>> Fitting(max_steps=20).learning_rate
        0.0001
    """

    max_steps: int = 100
    learning_rate: float = 1e-4
    batch_size: int = 16
    class_weight: ClassWeight = None
    validation_share: float = 0.0
    patience: int | None = None
    seed: int = 0
    output_dir: str | Path | None = None

    def __post_init__(self) -> None:
        checked_number("max_steps", self.max_steps, least=1, whole=True)
        checked_number("learning_rate", self.learning_rate, least=0)
        checked_number("batch_size", self.batch_size, least=1, whole=True)
        checked_number("validation_share", self.validation_share, least=0, below=1)
        if self.patience is not None:
            checked_number("patience", self.patience, least=1, whole=True, hint="leave it out to train all steps")
        checked_seed(self.seed)
        refuse_no_weights(self.class_weight)

    def to_dict(self) -> dict[str, Any]:
        """Settings that make the same again, ``Fitting(**settings)``, but for ``output_dir``, which is this machine's.

        Example:
            >>> Fitting(**Fitting(max_steps=20).to_dict())
            Fitting(max_steps=20, learning_rate=0.0001, batch_size=16, ...)
        """
        weights = self.class_weight
        if isinstance(weights, Mapping):
            weights = {label_name(label): float(weight) for label, weight in weights.items()}
        own = vars(self) | {"class_weight": weights}
        del own["output_dir"]
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in own.items()}


def checked_fitting(fitting: Fitting | None) -> Fitting | None:
    """How ``fit`` trains, as it was given.

    Raises:
        TypeError: it is no ``Fitting``.
    """
    if not isinstance(fitting, Fitting | None):
        raise TypeError(f"fitting={fitting!r} must be a nlpkit.pet.Fitting, e.g. fitting=Fitting(max_steps=20)")
    return fitting


def hold_out(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Examples to train on and those to validate on, a share of each label's, in their order.

    Args:
        examples: those without a label are not held out.
        share: of each label's examples, at least one where there are two or more.
        seed: of the draw.

    Example:
        >>> kept, held_out = hold_out([Example({"text": text}, "ab"[text > "2"]) for text in "123456"], 0.5, seed=0)
        >>> len(kept), sorted(example.label for example in held_out)
        (3, ['a', 'b', 'b'])
    """
    if not share:
        return list(examples), []
    random = np.random.default_rng(seed)
    counts = Counter(example.label for example in examples if example.known_labels is not None)
    held_out: set[int] = set()
    for label, count in sorted(counts.items(), key=str):
        places = [n for n, one in enumerate(examples) if one.label == label and one.known_labels is not None]
        take = min(count - 1, max(1, round(share * count))) if count > 1 else 0
        held_out |= {places[int(place)] for place in random.permutation(count)[:take]}
    return (
        [example for number, example in enumerate(examples) if number not in held_out],
        [example for number, example in enumerate(examples) if number in held_out],
    )
