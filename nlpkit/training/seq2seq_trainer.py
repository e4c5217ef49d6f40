"""The Trainer that generates in evaluation, with the loss of the other one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Seq2SeqTrainer

from nlpkit.training.technique import Batch
from nlpkit.training.techniques_mixin import TechniquesMixin


class TechniqueSeq2SeqTrainer(TechniquesMixin, Seq2SeqTrainer):
    """``transformers.Seq2SeqTrainer``, with ``loss=`` and ``techniques=`` of ``TechniqueTrainer``."""

    # Checked on transformers 5.23.0: where it generates, `prediction_step` takes the loss from `label_smoother`, if
    # there is one, and else from the head; training here uses neither.

    def prediction_step(  # type: ignore[override]  # as the class of transformers does
        self,
        model: nn.Module,
        inputs: Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **generation: Any,
    ) -> tuple[float | None, Tensor | None, Tensor | None]:
        """As in transformers, but the loss beside what is generated is the task's."""
        inputs = self._prepare_inputs(inputs)

        def loss(outputs: Any, labels: Tensor) -> Tensor:
            return self.evaluation_loss(outputs, inputs)

        self.label_smoother: Any = loss
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys, **generation)
