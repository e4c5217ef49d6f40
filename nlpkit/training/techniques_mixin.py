"""One Trainer whose loss is right under accumulation and over processes, and that techniques join."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from nlpkit.losses.function_loss import FunctionLoss
from nlpkit.losses.loss import Loss
from nlpkit.training.checkpoints import load_state, save_state
from nlpkit.training.head_loss import HeadLoss
from nlpkit.training.loss_parameters import LossParameters
from nlpkit.training.model_inputs import model_inputs
from nlpkit.training.precision import refuse_fp16_training
from nlpkit.training.refusals import (
    refuse_another_compute_loss,
    refuse_callbacks,
    refuse_coupled_parts,
    refuse_no_labels,
)
from nlpkit.training.technique import Batch, Run, Technique, Terms, numbered, total
from nlpkit.training.term_log import TermLog


class TechniquesMixin(Trainer):
    """What makes a Trainer's loss right, and lets techniques change it; see ``TechniqueTrainer``."""

    # Checked on transformers 5.23.0: `_run_epoch` hands what `get_batch_samples` returns to `training_step`, and
    # nothing else looks at the number of items; `_clip_grad_norm` runs once per step, on unscaled gradients;
    # `_save_checkpoint` and `_load_from_checkpoint` keep a step's state.

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *args: Any,
        loss: Loss | Callable[..., Tensor] | None = None,
        techniques: Sequence[Technique] = (),
        **kwargs: Any,
    ) -> None:
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError("give compute_loss_func as loss=, whose items are counted over the whole step")
        self.techniques = numbered(techniques)
        self.given_loss = loss if loss is None or isinstance(loss, Loss) else FunctionLoss(loss)
        self._task_loss = self.given_loss
        super().__init__(*args, **kwargs)
        self._head_loss = HeadLoss(self.args.label_smoothing_factor)
        self._items: Any = {}  # of the step that is running, by term
        self._weight, self._shown, self._prefix = 1.0, 1.0, ""
        self._term_log = TermLog()
        self._step_begins: list[Batch] = []  # the micro-batches of a step, until its first one runs
        if self._task_loss is not None:
            if self.args.label_smoothing_factor:
                raise ValueError("label_smoothing_factor is of the head's own loss: give loss= its label_smoothing")
            self._task_loss.to(self.args.device)
            if self.args.label_names is None and self._task_loss.columns:
                self.label_names = list(self._task_loss.columns)  # else columns that forward does not name are dropped
        self._loss_parameters = LossParameters(self._task_loss, self.accelerator)
        refuse_coupled_parts(self._task_loss, self.techniques, self.args.gradient_accumulation_steps)
        for technique in self.techniques:
            self.add_callback(technique)
        self._prepare_techniques()

    @property
    def task_loss(self) -> Loss:
        """The loss of the task; a head's own is known once the first batch has come."""
        if self._task_loss is None:
            raise RuntimeError("the loss of the model's own head is known once the first batch has come")
        return self._task_loss

    def _prepare_techniques(self) -> None:
        for technique in self.techniques:
            if technique.prepared_for[0] is not self or technique.prepared_for[1] is not self.model:
                technique.prepare(self)
                technique.prepared_for = (self, self.model)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        refuse_callbacks(self.callback_handler.callbacks, self.techniques)
        self._head_loss.begin(self.model)
        self._prepare_techniques()
        self._term_log = TermLog()
        if self.given_loss is not None and not kwargs.get("resume_from_checkpoint"):
            self.given_loss.restart()
        return super()._inner_training_loop(*args, **kwargs)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Any]:
        """The micro-batches of a step, as techniques make them, and the step's items by term."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        for batch in batches:
            self._find_loss(batch)
        for technique in self._active():
            batches = [technique.batch(batch) for batch in batches]
        if self.state.global_step == 0:
            refuse_no_labels(self.task_loss, self._active(), batches)
        self._step_begins = batches
        return batches, self._count(batches, device)

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> None:
        return None  # counted by term, for training only; a batch of evaluation has its own items

    def _active(self) -> list[Technique]:
        return [technique for technique in self.techniques if technique.active]

    def _find_loss(self, batch: Batch) -> None:
        if self.given_loss is None and not self._head_loss.is_checked:
            mean = partial(self.accelerator.reduce, reduction="mean")
            with self.compute_loss_context_manager():
                self._task_loss = self._head_loss.find(self.model_wrapped, self._prepare_inputs(dict(batch)), mean)

    def _count(self, batches: list[Batch], device: torch.device) -> dict[str, Tensor]:
        counts: dict[str, Tensor] = {}
        for batch in batches:
            for found in (self.task_loss.items_of(batch), *(technique.items(batch) for technique in self._active())):
                for name, count in found.items():
                    counts[name] = counts.get(name, 0) + count.to(device)
        if self.args.world_size > 1:
            summed = self.accelerator.reduce(torch.stack([count.double() for count in counts.values()]), "sum")
            counts = dict(zip(counts, summed, strict=True))
        return {name: count.clamp(min=1) for name, count in counts.items()}

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """One micro-batch, with its passes in the order of the techniques."""
        self._items = num_items_in_batch or {}
        inputs = self._prepare_inputs(inputs)
        self._running = model
        run: Callable[[Batch], Tensor] = partial(self._plain_step, model)
        model.train()
        active = self._active()
        if self._step_begins:
            batches, self._step_begins = self._step_begins, []
            self._loss_parameters.forget_gradients()
            for technique in active:
                technique.begin(Run(run, self), model, [self._prepare_inputs(batch) for batch in batches], self._items)
        for technique in reversed(active):
            run = partial(technique.step, Run(run, self), model, items=self._items)
        loss = run(inputs)
        if self.accelerator.sync_gradients:
            self._loss_parameters.reduce_gradients()
        return loss

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        self._loss_parameters.clip_gradients(self.args.max_grad_norm)
        return norm

    def _plain_step(self, model: nn.Module, batch: Batch) -> Tensor:
        self._has_computed_terms = False
        loss = super().training_step(model, dict(batch), self._items)
        refuse_another_compute_loss(self, self._has_computed_terms)
        return loss

    @contextmanager
    def running(self, weight: float, name: str, shown: float | None = None) -> Iterator[None]:
        """Passes within have another weight in the loss, and another name and weight in the log."""
        before = self._weight, self._shown, self._prefix
        shown = weight if shown is None else shown
        self._weight, self._shown = before[0] * weight, before[1] * shown
        self._prefix = before[2] + (f"{name}/" if name else "")
        try:
            yield
        finally:
            self._weight, self._shown, self._prefix = before

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a micro-batch: in training the sum of all terms, in evaluation the task's own."""
        if self._task_loss is None:
            self._find_loss(inputs)
        outputs = self.outputs_of(inputs, model)
        if model.training and num_items_in_batch is not None:
            terms = self._terms(outputs, inputs)
            self._has_computed_terms = True
            self._log_terms(terms)
            loss = self._scaled(total(terms))
        else:
            loss = self.evaluation_loss(outputs, inputs)
        return (loss, outputs) if return_outputs else loss

    def evaluation_loss(self, outputs: Any, batch: Batch) -> Tensor:
        """The task's loss of a batch by itself, without techniques, shape ``()``."""
        if self._task_loss is None:
            self._find_loss(batch)
        loss = total(self.task_loss.terms(outputs, batch, {}))
        return loss * self.args.world_size if self.task_loss.scope == "micro-batch" else loss  # each has its share

    def _terms(self, outputs: Any, batch: Batch) -> Terms:
        """The task's own, or what a technique that joins micro-batches has in its place, and those of techniques."""
        active = self._active()
        joined = [technique for technique in active if technique.joins_micro_batches]
        terms = {} if joined else self.task_loss.terms(outputs, batch, self._items)
        for technique in [*joined, *(t for t in reversed(active) if t not in joined)]:
            terms = technique.terms(terms, outputs, batch, self._items)
        return terms

    def loss_of(self, batch: Batch) -> Tensor:
        """The loss of a micro-batch in training, all terms included, with its graph."""
        with self.compute_loss_context_manager():
            return total(self._terms(self.outputs_of(batch), batch))

    def outputs_of(self, batch: Batch, model: nn.Module | None = None) -> Any:
        """What the model returns for a batch without its labels, of which no loss is computed inside."""
        inner: Any = self.model
        inputs = model_inputs(inner, batch, self.task_loss)
        return (self._running if model is None else model)(**inputs)

    def backward_term(self, name: str, term: Tensor) -> Tensor:
        """Add the gradient of a term that is divided by its items, and log it."""
        self._log_terms({name: term})
        loss = self._scaled(term)
        self.accelerator.backward(loss)
        return loss.detach()

    @property
    def scale(self) -> float:
        """By what a loss is multiplied before its backward pass, since data parallelism averages over processes."""
        return self._weight * self.accelerator.num_processes

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.scale == 1.0 else loss * self.scale

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as the Trainer does; refuses fp16 parameters."""
        if isinstance(self.model, nn.Module):
            refuse_fp16_training(self.model)
        return super().train(*args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate or predict as the Trainer does, within what techniques ask for."""
        with ExitStack() as entered:
            for technique in self._active():
                entered.enter_context(technique.evaluating())
            return super().evaluation_loop(*args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer with the groups that techniques make, and the parameters of the loss."""
        made = self.optimizer is None
        optimizer: Any = super().create_optimizer(model)
        if made:
            trained: Any = self.model if model is None else model
            for technique in self.techniques:
                optimizer.param_groups = technique.groups(trained, optimizer.param_groups)
        if made or self.lr_scheduler is None:
            self._loss_parameters.join(optimizer)
        return optimizer

    def log_term(self, name: str, term: Tensor) -> None:
        """Add to what is logged by a name at the next log."""
        self._log_terms({name: term})

    def _log_terms(self, terms: Terms) -> None:
        for name, term in terms.items() if self._shown else ():
            self._term_log.add(self._prefix + name, term.detach() * self._shown, self.state.global_step)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log as the Trainer does; training logs also hold each term, where there is more than one."""
        if "loss" in logs:
            means = self._term_log.take(self.state.global_step, partial(self.accelerator.reduce, reduction="sum"))
            if len(means) > 1:
                logs |= {name if name != "loss" else "task_loss": value for name, value in means.items()}
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.args.should_save:  # first, since at the end the Trainer deletes older checkpoints
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            save_state(folder, self.techniques, self._task_loss)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_state(Path(resume_from_checkpoint), self.techniques, self._task_loss)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        load_state(Path(str(self.state.best_model_checkpoint)), [], self._task_loss)
