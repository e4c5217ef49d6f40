"""The Trainer for all classifiers and objectives of this package."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import (
    EvalPrediction,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import PredictionOutput

from nlpkit.files import only_writer, read_json, whole_folder, write_json
from nlpkit.pet.clozes.examples import Example, Sources, as_examples
from nlpkit.pet.training.objective import Objective, ObjectiveTerms
from nlpkit.pet.training.scorer import Scorer
from nlpkit.pet.training.training_rows import TrainingRows
from nlpkit.training.attention import fast_attention
from nlpkit.training.precision import bf16_is_fast, refuse_fp16_training
from nlpkit.training.technique import Technique
from nlpkit.training.trainer import TechniqueTrainer

_WEIGHTS = "model.safetensors"


@dataclass
class PetTrainingArguments(TrainingArguments):
    """The Trainer's settings, with defaults for a few dozen examples."""

    output_dir: str = "runs/pet"
    max_steps: int = field(default=100, metadata={"help": "optimizer steps of the whole run"})
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 64
    unlabelled_per_row: int | None = field(
        default=None,
        metadata={"help": "unlabelled texts that join each labelled example; by default 1 if the objective uses them"},
    )
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
    patience: int | None = field(
        default=None, metadata={"help": "stop after so many evaluations without a better one; by default never"}
    )
    save_strategy: str = "no"
    logging_steps: float = 10
    report_to: str = "none"


class PetTrainer(TechniqueTrainer):
    """Trains an objective's classifier and keeps the weights that do best on the evaluation examples.

    Args:
        model: the objective, around the classifier to train.
        args: as for ``transformers.Trainer``; without ``max_steps``, ``num_train_epochs`` counts. It is not changed.
        train_dataset: examples with labels, or any table with a column ``"label"``, see ``labelled_examples``.
        eval_dataset: likewise; they choose among the evaluated steps by accuracy, then by loss. ``None``:
            the last step wins.
        unlabelled: texts for objectives that use them, as ``as_examples`` reads them.
        techniques: those that need no single matrix of logits, such as FGM; see ``TechniqueTrainer``.
        processing_class: saved with every checkpoint, as ``transformers.Trainer`` does.
        compute_metrics: further metrics of the scores and the numbers of the labels.
        callbacks: as for ``transformers.Trainer``, like the following two.
        optimizers: likewise.
        optimizer_cls_and_kwargs: likewise.

    Raises:
        ValueError: no training examples, none with a label where the objective needs one, an evaluation example
            without one, a label that the classifier does not know, parameters in fp16, or FSDP.

    Note:
        Rows and masks are functions of the row's number, so that accumulation, processes and resumption change
        nothing. The best weights lie in ``output_dir/best``, and are loaded at the end of ``train``. No other run
        trains in ``output_dir`` meanwhile.
    """

    # Checked on transformers 5.23.0: `_save` and `_load_from_checkpoint` write and read a checkpoint's weights;
    # `evaluate` returns what callbacks see.

    model: Any

    def __init__(
        self,
        model: Objective[Scorer],
        args: TrainingArguments | None = None,
        train_dataset: Sources = (),
        eval_dataset: Sources | None = None,
        unlabelled: Sources = (),
        *,
        techniques: Sequence[Technique] = (),
        processing_class: PreTrainedTokenizerBase | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
    ) -> None:
        refuse_fp16_training(model.classifier.model)
        classifier = model.classifier
        examples = classifier.labelled(train_dataset).examples
        evaluated = [] if eval_dataset is None else classifier.fully_labelled(eval_dataset)
        texts = as_examples(unlabelled, classifier.fields)
        known = [classifier.known(classifier.target(example)) for example in [*examples, *evaluated]]  # or refuses
        if model.needs_labels and not any(known[: len(examples)]) and examples:
            raise ValueError(
                f"none of the {len(examples)} training examples has a label, so that {type(model).__name__} would "
                "learn nothing; give labels, or train on texts alone with MaskedTextLoss"
            )
        args = copy.copy(PetTrainingArguments() if args is None else args)
        if not evaluated:
            args.eval_strategy = "no"
        args.remove_unused_columns, args.train_sampling_strategy = False, "sequential"
        rows_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        if args.max_steps < 1:
            args.max_steps = max(1, math.ceil(args.num_train_epochs * len(examples) / rows_per_step))
        companions = getattr(args, "unlabelled_per_row", None)
        if companions is None:
            companions = int(model.uses_unlabelled and len(texts) > 0)
        super().__init__(
            model=model,
            args=args,
            train_dataset=TrainingRows(examples, args.max_steps * rows_per_step, texts, companions, args.seed),
            eval_dataset=evaluated or None,
            data_collator=model.collate,
            loss=ObjectiveTerms(model),
            techniques=techniques,
            processing_class=processing_class,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
            optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
        )
        if self.is_fsdp_enabled:
            raise ValueError(
                "PetTrainer scores its classifier and keeps its best weights as a whole, and FSDP shards them: launch "
                "it with --multi_gpu; a model too large for that can have a ladder beside it, quantised"
            )
        self._since_best = 0  # evaluations

    @property
    def best_folder(self) -> Path:
        """Where the best weights and their metrics are kept."""
        return Path(str(self.args.output_dir)) / "best"

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as ``transformers.Trainer`` does, then load the best weights and finish the objective.

        Raises:
            BlockingIOError: another run trains in ``output_dir``.
            ValueError: training has diverged, so that weights or scores are NaN or infinite.
        """
        with only_writer(str(self.args.output_dir)) if self.is_world_process_zero() else nullcontext():
            try:
                return self._train(*args, **kwargs)
            finally:
                self.is_in_train = False  # transformers leaves it where training was cut off

    def _train(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_world_process_zero() and not (args or kwargs.get("resume_from_checkpoint")):
            shutil.rmtree(self.best_folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()  # none goes on where the folder is another run's
        with fast_attention(self.model.classifier.model):
            output = super().train(*args, **kwargs)
        if (self.best_folder / _WEIGHTS).is_file() and self.eval_dataset is not None:
            load_model(self.model, self.best_folder / _WEIGHTS)
        self.accelerator.wait_for_everyone()  # none reads what another run may write
        self.model.finish()
        self._refuse_diverged()
        return output

    def _refuse_diverged(self) -> None:
        classifier: Scorer = self.model.classifier
        rows: Any = self.train_dataset
        asked = [one for one in rows.labelled[:16] if classifier.labels or one.candidates]
        try:
            for name, tensor in classifier.named_parameters():
                if not tensor.isfinite().all():
                    raise ValueError(f"{name} is NaN or infinite")
            classifier.scores(asked)  # weights may be finite, and too large to make numbers of
        except ValueError as error:
            raise ValueError(
                f"training has diverged at learning_rate={self.args.learning_rate:g}, which may be too high: {error}"
            ) from error

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Accuracy and cross-entropy of the classifier; while it trains, the best weights so far are kept.

        Args:
            eval_dataset: examples, each with its label; by default the evaluation examples.
            ignore_keys: not used.
            metric_key_prefix: of the metrics' names.

        Returns:
            ``<prefix>_accuracy``, ``<prefix>_loss`` in nats, and what ``compute_metrics`` finds.
        """
        given: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        examples = self.model.classifier.fully_labelled(given)
        found = self._measure(self._scores(examples), examples)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.is_in_train and eval_dataset is None and metric_key_prefix == "eval":
            self._keep_if_best(metrics)
        return metrics

    def predict(
        self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """Scores of the classifier.

        Args:
            test_dataset: examples, with labels or without.
            ignore_keys: not used.
            metric_key_prefix: of the metrics' names.

        Returns:
            Scores, ``(examples, labels)``; what ``labels`` of a batch hold; if all are known, what ``evaluate`` has.
        """
        classifier: Scorer = self.model.classifier
        examples = classifier.labelled(test_dataset).examples
        scores, targets = self._scores(examples), classifier.targets(examples)
        found = self._measure(scores, examples) if bool(classifier.known(targets).all()) else {}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.control = self.callback_handler.on_predict(self.args, self.state, self.control, metrics)
        return PredictionOutput(scores.numpy(), targets.numpy(), metrics)

    def _scores(self, examples: Sequence[Example]) -> Tensor:
        with self.autocast_smart_context_manager():
            scores: Tensor = self.model.classifier.scores(examples, self.args.per_device_eval_batch_size)
        return scores

    def _measure(self, scores: Tensor, examples: Sequence[Example]) -> dict[str, float]:
        classifier: Scorer = self.model.classifier
        metrics = classifier.measure(scores, examples)
        if self.compute_metrics is not None:
            labels = classifier.targets(examples)
            found = self.compute_metrics(EvalPrediction(predictions=scores.numpy(), label_ids=labels.numpy()))
            metrics |= {name.removeprefix("eval_"): value for name, value in found.items()}
        return metrics

    def _keep_if_best(self, metrics: dict[str, float]) -> None:
        record = self.best_folder / "metrics.json"
        if record.is_file() and _rank(read_json(record)) >= _rank(metrics):
            self._since_best += 1
            patience = getattr(self.args, "patience", None)
            self.control.should_training_stop |= patience is not None and self._since_best >= patience
            return
        self._since_best = 0
        if self.is_world_process_zero():
            with whole_folder(self.best_folder) as draft:
                save_model(self.model, str(draft / _WEIGHTS))
                write_json(draft / record.name, metrics | {"step": self.state.global_step})
        self.accelerator.wait_for_everyone()

    def discard_best(self) -> None:
        """Delete what is kept of the best weights, once they are loaded and nothing will go on from here."""
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
            if self.processing_class is not None:
                self.processing_class.save_pretrained(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_model(self.model if model is None else model, Path(resume_from_checkpoint) / _WEIGHTS)


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    """More accurate is better; of equally accurate ones, the more certain of the truth."""
    return metrics["eval_accuracy"], -metrics["eval_loss"]
