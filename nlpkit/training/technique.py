"""What a training technique is: a callback of the Trainer with a few more methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments

from nlpkit.losses.loss import Loss

Batch = dict[str, Any]
#: Parts of the loss by name, each divided by its items of the whole optimizer step.
Terms = dict[str, Tensor]
#: Numbers of items of the whole optimizer step, by the name of what is averaged over them.
Items = Mapping[str, Tensor]


def total(terms: Terms) -> Tensor:
    """The sum of all terms, shape ``()``."""
    first, *others = terms.values()
    return torch.stack([first, *others]).sum() if others else first


class Host(Protocol):
    """What techniques use of the Trainer that they have joined."""

    model: Any
    args: TrainingArguments
    techniques: list[Technique]
    given_loss: Loss | None

    @property
    def task_loss(self) -> Loss:
        """The loss of the task; a head's own is known once the first batch has come."""

    @property
    def scale(self) -> float:
        """By what a loss is multiplied before its backward pass."""

    def running(self, weight: float, name: str, shown: float | None = None) -> AbstractContextManager[None]:
        """Passes within have another weight in the loss, and another name and weight in the log."""

    def outputs_of(self, batch: Batch) -> Any:
        """What the model returns for a batch without its labels."""

    def loss_of(self, batch: Batch) -> Tensor:
        """The loss of a batch, all terms included, with its graph."""

    def backward_term(self, name: str, term: Tensor) -> Tensor:
        """Add the gradient of a term that is divided by its items, and log it."""

    def log_term(self, name: str, term: Tensor) -> None:
        """Add to what is logged by a name at the next log."""


class Run:
    """One forward and backward pass of a micro-batch, as ``Technique.step`` gets it.

    Args:
        once: runs a batch, all techniques further in included.
        trainer: whose pass it is.
    """

    def __init__(self, once: Callable[[Batch], Tensor], trainer: Host) -> None:
        self._once, self._trainer = once, trainer

    def __call__(self, batch: Batch, *, weight: float = 1.0, name: str = "", shown: float | None = None) -> Tensor:
        """Add the gradient of a batch's loss.

        Args:
            batch: may be run again; it is not changed.
            weight: of this pass in the loss.
            name: of this pass in the log, before the names of its terms.
            shown: weight in the log, if it is another one; 0 logs nothing.

        Returns:
            The loss without its graph, shape ``()``.
        """
        with self._trainer.running(weight, name, shown):
            return self._once(batch)

    def forward(self, batch: Batch) -> Any:
        """What the model returns for a batch without its labels."""
        return self._trainer.outputs_of(batch)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch with its graph, shape ``()``: all terms, divided by the step's items; no ``step``."""
        return self._trainer.loss_of(batch)

    def backward(self, name: str, term: Tensor) -> Tensor:
        """Add the gradient of a term, divided by its items, and log it by its name; returns it without its graph."""
        return self._trainer.backward_term(name, term)

    def log(self, name: str, term: Tensor) -> None:
        """Log a number, divided by its items, by its name: summed over a step, averaged over the steps of a log."""
        self._trainer.log_term(name, term)


class Technique(TrainerCallback):
    """A training technique: a ``TrainerCallback`` with more methods, all of which may be left as they are.

    In each phase of a step the techniques act in the order of the Trainer's list, the first outermost:

    - ``batch`` changes a micro-batch before anything is counted, the first technique first;
    - ``begin`` sees all micro-batches of the step before the first one runs, the first technique first;
    - ``step`` wraps its forward and backward passes, the first technique around the second;
    - ``terms`` adds to the terms of its loss or changes them, the last technique first, so that the first one sees
      what all others have made of it;
    - the callback's own events (``on_pre_optimizer_step`` and so on) come in the order of the list.

    A subclass has a ``weight``; with weight 0 it is not there: the step is that of the plain Trainer, bit for bit. In
    evaluation no technique acts.

    Example:
        >>> class EntropyBonus(Technique):
        ...     def items(self, batch):
        ...         return {self.name: (batch["labels"] != -100).sum()}
        ...     def terms(self, terms, outputs, batch, items):
        ...         entropy = torch.distributions.Categorical(logits=outputs["logits"]).entropy()
        ...         total = entropy[batch["labels"] != -100].sum()
        ...         return terms | {self.name: -self.weight * total / items[self.name]}
        >>> EntropyBonus().name
        'entropy_bonus'
    """

    #: What the loss of an item depends on: itself, the others of its micro-batch, or those of the optimizer step.
    scope: Literal["row", "micro-batch", "step"] = "row"
    #: Whether it makes one batch of a step's micro-batches, so that losses over a batch are right.
    joins_micro_batches: ClassVar[bool] = False
    #: Whether it acts on training as a whole, so that a weight which comes or goes within would be told too late.
    spans_training: ClassVar[bool] = False
    weight: float = 1.0
    #: Which one of its class it is in a Trainer's list, from 1 on.
    ordinal: int = 1
    #: The Trainer and the model that it has looked at last.
    prepared_for: tuple[Any, Any] = (None, None)

    @property
    def name(self) -> str:
        """Of its terms and items, and in the log: the class in snake case, with a number from the second one on."""
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()
        return words if self.ordinal == 1 else f"{words}_{self.ordinal}"

    @property
    def active(self) -> bool:
        """Whether it acts on the step that is about to begin."""
        return self.weight != 0

    @property
    def judges_passes(self) -> bool:
        """Whether it repeats the passes of a micro-batch, or judges by the loss of one alone."""
        return type(self).step is not Technique.step

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuses a Trainer that was given it as ``callbacks=``."""
        raise no_mere_callback(self)

    def prepare(self, trainer: Host) -> None:
        """Look at what will be trained, before anything is; refuse what cannot be done with a ``ValueError``.

        Comes again where a Trainer has made another model (``model_init``), or another Trainer has had the technique.
        """

    def batch(self, batch: Batch) -> Batch:
        """The micro-batch to train on; tensors are where the data loader left them."""
        return batch

    def items(self, batch: Batch) -> dict[str, Tensor]:
        """Items of its own in a micro-batch, by name; they are summed over the step and its processes."""
        return {}

    def begin(self, run: Run, model: nn.Module, batches: Sequence[Batch], items: Items) -> None:
        """Look at the whole step of this process before its first micro-batch runs."""

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """The terms of the loss of a micro-batch.

        Args:
            terms: those made so far, ``"loss"`` first: the task's own.
            outputs: of the model.
            batch: what the model was given, and the labels.
            items: of the whole optimizer step: ``"loss"`` are those of the task.

        Returns:
            All terms, each of shape ``()``; their sum is the loss.
        """
        return terms

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """Run a micro-batch, once or more; returns its loss without graph, shape ``()``."""
        return run(batch)

    def groups(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""
        return groups

    def evaluating(self) -> AbstractContextManager[None]:
        """What an evaluation or a prediction runs within, such as other weights."""
        return nullcontext()

    def training(self) -> AbstractContextManager[None]:
        """What the passes of a micro-batch run within, such as another dropout: evaluations and saves are outside."""
        return nullcontext()

    def leave(self) -> None:
        """Give back what it has put on the model, such as hooks, or has frozen.

        Comes when training ends, at its end, by an error or by an interruption; and again where it has come before.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold so that training goes on as if it had not stopped."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what ``state_dict`` gave."""


def no_mere_callback(technique: Technique) -> ValueError:
    """What is to be raised where a Trainer knows a technique as a callback alone."""
    return ValueError(f"{type(technique).__name__} is a technique: give it to TechniqueTrainer as techniques=[...]")


def numbered(techniques: Sequence[Any]) -> list[Technique]:
    """A Trainer's techniques, told apart by their names.

    Args:
        techniques: as given; those of one class get numbers.

    Returns:
        The same ones.

    Raises:
        TypeError: one is no technique.
        ValueError: one is there twice.
    """
    if isinstance(techniques, Technique):
        raise TypeError(f"techniques is a {type(techniques).__name__}: give a list, techniques=[...]")
    found: list[Technique] = []
    for place, technique in enumerate(techniques):
        if not isinstance(technique, Technique):
            raise TypeError(f"techniques[{place}] is a {type(technique).__name__}, not a Technique")
        if any(technique is other for other in found):
            raise ValueError(f"techniques[{place}] is there already: make another {type(technique).__name__}")
        technique.ordinal = 1 + sum(type(other).__name__ == type(technique).__name__ for other in found)
        found.append(technique)
    return found
