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

    Args:
        *args: as for ``Seq2SeqTrainer``.
        optimizer_cls_and_kwargs: the class of the optimizer, and its settings, instead of ``optimizers``.
        **kwargs: as for ``Seq2SeqTrainer`` and ``TechniqueTrainer``.

    Raises:
        ValueError: both are given; or as ``TechniqueTrainer``.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> from transformers import Seq2SeqTrainingArguments, T5Config, T5ForConditionalGeneration
        >>> from nlpkit.training import EMA
        >>> model = T5ForConditionalGeneration(T5Config(
        ...     vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0))
        >>> rows = [{"input_ids": torch.tensor([2, 5, 3]), "labels": torch.tensor([5, 1])}] * 8
        >>> with TemporaryDirectory() as folder:
        ...     arguments = Seq2SeqTrainingArguments(
        ...         folder, max_steps=2, per_device_train_batch_size=4, predict_with_generate=True,
        ...         use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no",
        ...         disable_tqdm=True)
        ...     trainer = TechniqueSeq2SeqTrainer(model, arguments, train_dataset=rows, techniques=[EMA(0.9)])
        ...     _ = trainer.train()
        ...     len(trainer.predict(rows).predictions)
        {'train_runtime': ...
        8
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
