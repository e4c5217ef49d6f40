"""Losses that any module of a model adds to the task's own."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.monitoring.collecting import Collector
from nlpkit.training.one_of_a_kind import refuse_another
from nlpkit.training.technique import Batch, Host, Items, Technique, Terms


class _Added(NamedTuple):
    name: str
    values: Tensor
    weight: float


_current: ContextVar[Collector[_Added] | None] = ContextVar("auxiliary losses", default=None)


def add_loss(name: str, values: Tensor, weight: float = 1.0) -> None:
    """Add a term to the loss of the batch that is running; call it anywhere inside ``forward``.

    Args:
        name: of the term, in the log. What is added by one name, as by every layer, adds up.
        values: a loss for each row of the batch, with its graph, shape ``(rows,)``: the technique cannot know what
            else a step is to be averaged over, before it runs. Average over tokens or experts within a row.
        weight: of the term.

    Raises:
        ValueError: the values are not one for each row; or they have lost their graph in reentrant checkpointing.

    Note:
        It does nothing unless an ``AuxiliaryLosses`` is at work: in evaluation, in prediction, in a plain Trainer, and
        when gradient checkpointing runs a block again.

    Example:
        >>> add_loss("router_z", torch.ones(4))
    """
    collector = _current.get()
    if collector is None:
        return
    if values.dim() != 1:
        raise ValueError(
            f"add_loss({name!r}): values of shape {tuple(values.shape)} must be one for each row, (rows,): average "
            "over all other dimensions"
        )
    if collector.with_graph and not torch.is_grad_enabled():
        raise ValueError(
            f"add_loss({name!r}): no graph is kept here: checkpointing must not be reentrant, "
            "gradient_checkpointing_kwargs={'use_reentrant': False}"
        )
    collector.found.append(_Added(name, values, weight))


class AuxiliaryLosses(Technique):
    """Let the model's modules add to the loss, by ``add_loss``: each term is averaged over the rows of the step.

    Args:
        weight: of all terms.

    Raises:
        ValueError: a term has the name of another one, or not as many values as the batch has rows; or another
            technique takes what ``add_loss`` is given.

    Note:
        It costs nothing. Rows are those of the batch as the model gets it, twice as many with ``RDrop``. A pass for
        which no loss is computed adds nothing.

    Example:
        >>> class Activity(torch.nn.Module):
        ...     def forward(self, states):
        ...         add_loss("activity", states.square().flatten(1).mean(1), weight=0.1)
        ...         return states
        >>> AuxiliaryLosses().name
        'auxiliary_losses'
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = checked_number("AuxiliaryLosses: weight", weight, least=0)
        self._collector = Collector(_current, anew=True)

    def prepare(self, trainer: Host) -> None:
        """Refuses a second one."""
        refuse_another(self, trainer.techniques, AuxiliaryLosses, "what add_loss is given goes to one of them")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Watch the model."""
        self._collector.watch(kwargs["model"], lambda: self.active)

    def leave(self) -> None:
        """Watch it no longer."""
        self._collector.leave()

    def items(self, batch: Batch) -> dict[str, Tensor]:
        """Rows."""
        return {self.name: torch.tensor(_rows(batch))}

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Adds what the last pass has left."""
        added, self._collector.found = self._collector.found, []
        own: Terms = {}
        for name, values, weight in added:
            if name in terms:
                raise ValueError(f"add_loss({name!r}): the loss has a term of this name already")
            if len(values) != _rows(batch):
                raise ValueError(f"add_loss({name!r}): {len(values)} values for a batch of {_rows(batch)} rows")
            term = self.weight * weight * at_least_fp32(values).sum() / items[self.name]
            own[name] = own[name] + term if name in own else term
        return terms | own


def _rows(batch: Batch) -> int:
    return next(len(value) for value in batch.values() if isinstance(value, Tensor) and value.dim())
