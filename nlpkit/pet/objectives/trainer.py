"""The Trainer for all classifiers and objectives of this package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments

from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.examples import Example, label_number
from nlpkit.pet.objectives.objectives import Objective
from nlpkit.pet.objectives.training_rows import TrainingRows
from nlpkit.training.precision import bf16_is_fast

_WEIGHTS = "model.safetensors"


@dataclass
class PetTrainingArguments(TrainingArguments):
    """The Trainer's settings, with defaults for a few dozen examples."""

    output_dir: str = "runs/pet"
    max_steps: int = field(default=100, metadata={"help": "optimizer steps of the whole run"})
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 64
    unlabelled_a_row: int = field(default=0, metadata={"help": "unlabelled texts that join each labelled example"})
    learning_rate: float = 1e-4
    lr_scheduler_type: str = "linear"
    warmup_steps: float = field(default=0.1, metadata={"help": "steps, or below 1 the share of max_steps"})
    weight_decay: float = 0.01
    optim: str = "adamw_torch_fused"
    bf16: bool = field(default=bf16_is_fast(), metadata={"help": "bf16 autocast; by default where it is faster"})
    use_cpu: bool = not torch.cuda.is_available()
    dataloader_pin_memory: bool = torch.cuda.is_available()
    eval_strategy: str = field(default="steps", metadata={"help": "'no' keeps the last weights instead of the best"})
    eval_steps: float | None = field(default=0.1, metadata={"help": "steps, or below 1 the share of max_steps"})
    save_strategy: str = "no"
    logging_steps: float = 10
    report_to: str = "none"


class PetTrainer(Trainer):
    """Trains an objective's classifier and keeps the weights that do best on the development examples.

    Args:
        objective: what to train on, around the classifier to train.
        args: as for ``transformers.Trainer``; ``max_steps`` must be set.
        train_examples: with labels.
        dev_examples: with labels; chooses among the evaluated steps by accuracy, then by loss. ``None``: the last
            wins.
        unlabelled: texts for objectives that use them.
        callbacks: as for ``transformers.Trainer``.

    Raises:
        ValueError: no training examples, a label that the classifier does not know, or no ``max_steps``.

    Note:
        Rows and masks are functions of the row's number, so that accumulation, processes and resumption change
        nothing. The best weights lie in ``output_dir/best``, and are loaded at the end of ``train``.
    """

    # Checked on transformers 5.23.0: `_save` and `_load_from_checkpoint` write and read a checkpoint's weights;
    # `_get_num_items_in_batch` counts once an optimizer step; `evaluate` returns what callbacks see.

    model: Any

    def __init__(
        self,
        objective: Objective[TextClassifier],
        args: PetTrainingArguments,
        train_examples: Sequence[Example],
        dev_examples: Sequence[Example] | None = None,
        unlabelled: Sequence[Example] = (),
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        if args.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1; got {args.max_steps}")
        if not dev_examples:
            args.eval_strategy = "no"
        args.remove_unused_columns, args.train_sampling_strategy = False, "sequential"
        rows_a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        rows = TrainingRows(train_examples, args.max_steps * rows_a_step, unlabelled, args.unlabelled_a_row, args.seed)
        for example in [*train_examples, *(dev_examples or ())]:  # an unknown label shows before any training
            label_number(example, objective.classifier.labels)
        if args.use_cpu and args.bf16:
            # Measured on torch 2.13: on CPUs the backward pass of fused attention takes a third of a bf16 step.
            objective.classifier.model.set_attn_implementation("eager")
        super().__init__(
            model=objective,
            args=args,
            train_dataset=rows,
            eval_dataset=list(dev_examples) if dev_examples else None,
            data_collator=objective.collate,
            callbacks=callbacks,
        )

    @property
    def best_folder(self) -> Path:
        """Where the best weights and their metrics are kept."""
        return Path(str(self.args.output_dir)) / "best"

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as ``transformers.Trainer`` does, then load the best weights and finish the objective."""
        if not (args or kwargs.get("resume_from_checkpoint")):
            shutil.rmtree(self.best_folder, ignore_errors=True)
        output = super().train(*args, **kwargs)
        if (self.best_folder / _WEIGHTS).is_file() and self.eval_dataset is not None:
            load_model(self.model, self.best_folder / _WEIGHTS)
        self.model.finish()
        return output

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        items = torch.stack([self.model.items(batch) for batch in batch_samples]).sum(dim=0).to(device)
        if self.args.world_size > 1:
            items = self.accelerator.gather(items[None]).sum(dim=0)
        return items

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Accuracy and cross-entropy of the classifier; the best weights so far are kept.

        Args:
            eval_dataset: labelled examples; by default the development examples.
            ignore_keys: not used.
            metric_key_prefix: of the metrics' names.

        Returns:
            ``<prefix>_accuracy`` and ``<prefix>_loss`` in nats.
        """
        examples: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self._measure(examples).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if eval_dataset is None and metric_key_prefix == "eval":
            self._keep_if_best(metrics)
        return metrics

    def _measure(self, examples: Sequence[Example]) -> dict[str, float]:
        with self.autocast_smart_context_manager():
            return measure(self.model.classifier, examples, self.args.per_device_eval_batch_size)

    def _keep_if_best(self, metrics: dict[str, float]) -> None:
        record = self.best_folder / "metrics.json"
        if record.is_file() and _rank(json.loads(record.read_text("utf-8"))) >= _rank(metrics):
            return
        if self.is_world_process_zero():
            self.best_folder.mkdir(parents=True, exist_ok=True)
            save_model(self.model, str(self.best_folder / _WEIGHTS))
            record.write_text(json.dumps(metrics | {"step": self.state.global_step}) + "\n", "utf-8")
        self.accelerator.wait_for_everyone()

    def discard_best(self) -> None:
        """Delete what is kept of the best weights, once they are loaded and nothing shall go on from here."""
        shutil.rmtree(self.best_folder, ignore_errors=True)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the classifier as its ``save_pretrained`` does; checkpoints hold the objective's weights."""
        if _internal_call:
            self._save(output_dir)
        elif self.args.should_save:
            self.model.classifier.save_pretrained(output_dir or self.args.output_dir)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            save_model(self.model, str(folder / _WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_model(self.model if model is None else model, Path(resume_from_checkpoint) / _WEIGHTS)


def measure(classifier: TextClassifier, examples: Sequence[Example], batch_size: int = 64) -> dict[str, float]:
    """Accuracy, and cross-entropy in nats, of a classifier's scores, calibrated ones if it is.

    Args:
        classifier: what is measured.
        examples: with labels.
        batch_size: examples a forward pass.

    Returns:
        ``accuracy`` and ``loss``.
    """
    scores = classifier.scores(examples, batch_size)
    labels = torch.tensor([label_number(example, classifier.labels) for example in examples])
    hits = (scores.argmax(dim=1) == labels).float().mean()
    return {"accuracy": hits.item(), "loss": F.cross_entropy(scores, labels).item()}


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    """More accurate is better; of equally accurate ones, the more certain of the truth."""
    return metrics["eval_accuracy"], -metrics["eval_loss"]
