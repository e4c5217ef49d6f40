"""The Trainer with a loss that is right, and with techniques."""

from __future__ import annotations

from transformers import Trainer

from nlpkit.training.frame.techniques_mixin import TechniquesMixin


class TechniqueTrainer(TechniquesMixin, Trainer):
    """``transformers.Trainer`` with a loss that is right however a step is cut, and with training techniques.

    Args:
        *args: as for ``Trainer``.
        loss: of the task: a ``Loss`` of ``nlpkit.losses``, or a function of ``(outputs, labels,
            num_items_in_batch=...)``, which divides a sum by that number. ``None`` takes the loss that the model's own
            head means.
        techniques: of ``nlpkit.training``, in the order of application, outermost first.
        **kwargs: as for ``Trainer``; in place of ``compute_loss_func`` there is ``loss``.

    Raises:
        ValueError: parts that do not go together, such as a loss over a batch under accumulation; when training
            begins, a head that is not known, with the way out.
        TypeError: what is given is no loss, or no technique.

    Note:
        The model runs once more, on the first batch with labels, to see that the head's loss is the one that was
        taken for it. A given function is called twice more there, to see that it halves as the items double. ``loss``
        in the log is what is optimised, the sum of all terms with their weights; where there are several, each is
        logged by its name, the task's own as ``task_loss``. See docs/training.md for the contract, docs/techniques.md
        for what to choose.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> from transformers import BertConfig, BertForSequenceClassification, TrainingArguments
        >>> from nlpkit.training import RDrop
        >>> model = BertForSequenceClassification(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
        >>> rows = [{"input_ids": torch.tensor([2, 5, 3]), "labels": 1}] * 8
        >>> with TemporaryDirectory() as folder:
        ...     arguments = TrainingArguments(
        ...         folder, max_steps=2, gradient_accumulation_steps=2, per_device_train_batch_size=2, use_cpu=True,
        ...         report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True)
        ...     trainer = TechniqueTrainer(model, arguments, train_dataset=rows, techniques=[RDrop(weight=4.0)])
        ...     trainer.train().global_step
        {'train_runtime': ...
        2
    """
