"""Train the head first, and one block more at a time, from the top."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal

from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.training.one_of_a_kind import refuse_another
from nlpkit.training.technique import Host, Technique
from nlpkit.training.weights.depths import depths

logger = logging.getLogger(__name__)


class Unfreezing(Technique):
    """Begin with what is above the blocks alone, then let in one block more at a time, and the embeddings last.

    Source: ULMFiT, arXiv 1801.06146, section 3.3.

    Args:
        every: how long until the next block is let in; a warning says what a run is too short for.
        unit: of ``every``: epochs, or the whole of training.

    Raises:
        ValueError: ``every`` is not positive; the model has no blocks; another one is in the list; or
            DistributedDataParallel would wait for gradients of what is frozen.

    Note:
        Frozen blocks have no gradients: steps are shorter at first. The optimizer holds all parameters from the
        beginning, and leaves alone those without gradients. What is trained follows from the step alone, so that a
        resumed run goes on as it was; after training, however it ended, all is as it was before. On several processes
        it needs ``ddp_find_unused_parameters`` to be on, as it is by default without gradient checkpointing.
        Adversaries such as ``FGM`` move the output of frozen embeddings, too; their backward passes then go through
        frozen blocks.

    Example:
        >>> Unfreezing(every=0.1, unit="training").name
        'unfreezing'
    """

    spans_training = True

    def __init__(self, every: float = 1.0, unit: Literal["epochs", "training"] = "epochs") -> None:
        if unit not in ("epochs", "training"):
            raise ValueError(f"Unfreezing: unit={unit!r} must be 'epochs' or 'training'")
        self.every, self.unit = checked_number("Unfreezing: every", every, above=0), unit
        self._depths: dict[nn.Parameter, int] = {}

    def prepare(self, trainer: Host) -> None:
        """Refuses a model without blocks, and a DistributedDataParallel that waits for every gradient."""
        args = trainer.args
        refuse_another(self, trainer.techniques, Unfreezing, "blocks are frozen by one plan")
        depths(trainer.model)
        given = args.ddp_find_unused_parameters
        if args.world_size > 1 and (not given if given is not None else args.activation_checkpointing):
            raise ValueError(
                "Unfreezing: on several processes the gradients of frozen blocks are waited for, unless "
                "ddp_find_unused_parameters=True"
            )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimizer has been made: freeze what is not trained yet."""
        found, self._top = depths(kwargs["model"])
        named = dict(kwargs["model"].named_parameters())
        self._depths = {named[name]: depth for name, depth in found.items() if named[name].requires_grad}
        self._freeze(state)
        self._warn_of_what_stays_frozen(state, kwargs.get("train_dataloader"), args.gradient_accumulation_steps)

    def _warn_of_what_stays_frozen(self, state: TrainerState, loader: Any, accumulation: int) -> None:
        last = (state.max_steps - 1) / state.max_steps
        if self.unit == "epochs":
            try:
                last = (state.max_steps - 1) / max(1, math.ceil(len(loader) / accumulation))
            except TypeError:  # a stream, of which nobody knows how often it is gone through
                return
        frozen = self._top - math.floor(last / self.every + 1e-9)
        if frozen > 0:
            logger.warning(
                "Unfreezing(every=%g, unit=%r): training ends before the embeddings%s are let in; "
                "every=%.3g with unit='training' lets in all by half of it",
                self.every,
                self.unit,
                f" and the lowest {frozen - 1} of {self._top - 1} blocks" if frozen > 1 else "",
                0.5 / self._top,
            )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let in what is due."""
        self._freeze(state)

    def _freeze(self, state: TrainerState) -> None:
        done = state.epoch or 0.0 if self.unit == "epochs" else state.global_step / state.max_steps
        blocks = math.floor(done / self.every + 1e-9)
        for parameter, depth in self._depths.items():
            parameter.requires_grad_(depth >= self._top - blocks)

    def leave(self) -> None:
        """All is trained that was before."""
        for parameter in self._depths:
            parameter.requires_grad_(True)
        self._depths = {}
