"""The Trainer that generates in evaluation, with the loss of the other one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import Seq2SeqTrainer

from nlpkit.training.frame.techniques_mixin import TechniquesMixin
from nlpkit.training.technique import Batch


class TechniqueSeq2SeqTrainer(TechniquesMixin, Seq2SeqTrainer):
    """``transformers.Seq2SeqTrainer``, with ``loss=`` and ``techniques=`` of ``TechniqueTrainer``.

    It takes ``optimizer_cls_and_kwargs=`` as the Trainer does, which ``Seq2SeqTrainer`` does not.
    """

    # Checked on transformers 5.23.0: where it generates, `prediction_step` takes the loss from `label_smoother`, if
    # there is one, and else from the head; training here uses neither.

    def __init__(
        self, *args: Any, optimizer_cls_and_kwargs: tuple[type[Optimizer], dict[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if optimizer_cls_and_kwargs is not None and self.optimizer is not None:
            raise ValueError("give optimizers= or optimizer_cls_and_kwargs=, not both")
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs

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
            headless = outputs[1:] if isinstance(outputs, tuple) else outputs  # the model has had the labels
            return self.evaluation_loss(headless, inputs)

        self.label_smoother: Any = loss
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys, **generation)
