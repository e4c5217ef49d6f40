"""Train the head first, and one block more at a time, from the top."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.training.one_of_a_kind import refuse_another
from nlpkit.training.technique import Host, Technique
from nlpkit.training.weights.depths import depths


class Unfreezing(Technique):
    """Begin with what is above the blocks alone, then let in one block more at a time, and the embeddings last.

    Source: ULMFiT, arXiv 1801.06146, section 3.3.

    Args:
        every: how long until the next block is let in.
        unit: of ``every``: epochs, or the whole of training.

    Raises:
        ValueError: ``every`` is not positive; the model has no blocks; another one is in the list; or
            DistributedDataParallel would wait for gradients of what is frozen.

    Note:
        Frozen blocks have no gradients: steps are shorter at first. The optimizer holds all parameters from the
        beginning, and leaves alone those without gradients. What is trained follows from the step alone, so that a
        resumed run goes on as it was; after training, or when the next one begins, all is as it was before. On several
        processes it needs ``ddp_find_unused_parameters`` to be on, as it is by default without gradient checkpointing.
        Techniques that need the embeddings' gradient from the beginning, such as ``FGM``, must be put at a higher
        module (``at=``).

    Example:
        >>> Unfreezing(every=0.1, unit="training").name
        'unfreezing'
    """

    def __init__(self, every: float = 1.0, unit: Literal["epochs", "training"] = "epochs") -> None:
        if every <= 0:
            raise ValueError(f"Unfreezing: every={every} must be positive")
        if unit not in ("epochs", "training"):
            raise ValueError(f"Unfreezing: unit={unit!r} must be 'epochs' or 'training'")
        self.every, self.unit = every, unit
        self._depths: dict[nn.Parameter, int] = {}

    def prepare(self, trainer: Host) -> None:
        """Refuses a model without blocks, and a DistributedDataParallel that waits for every gradient."""
        args = trainer.args
        self._let_in_all()
        refuse_another(self, trainer.techniques, Unfreezing, "blocks are frozen by one plan")
        depths(trainer.model)
        given = args.ddp_find_unused_parameters
        if self.active and args.world_size > 1 and (not given if given is not None else args.activation_checkpointing):
            raise ValueError(
                "Unfreezing: on several processes the gradients of frozen blocks are waited for, unless "
                "ddp_find_unused_parameters=True"
            )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimizer has been made: freeze what is not trained yet."""
        self._let_in_all()  # a run that was interrupted has left it
        if self.active:
            found, self._top = depths(kwargs["model"])
            named = dict(kwargs["model"].named_parameters())
            self._depths = {named[name]: depth for name, depth in found.items() if named[name].requires_grad}
            self._freeze(state)

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

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave all as it was."""
        self._let_in_all()

    def _let_in_all(self) -> None:
        for parameter in self._depths:
            parameter.requires_grad_(True)
        self._depths = {}
