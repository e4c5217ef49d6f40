"""One Trainer whose loss is right under accumulation and over processes, and that techniques join."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.losses.loss import Loss
from nlpkit.training.frame.checkpoints import load_state, save_loss, save_state
from nlpkit.training.frame.optimizer_mixin import OptimizerMixin
from nlpkit.training.frame.refusals import (
    refuse_another_compute_loss,
    refuse_callbacks,
    refuse_coupled_parts,
    refuse_late_techniques,
    refuse_no_labels,
    refuse_rates,
)
from nlpkit.training.frame.step_items import step_items
from nlpkit.training.frame.term_log import TermLog
from nlpkit.training.monitoring.schedules import those_that_may_act
from nlpkit.training.precision import refuse_fp16_training
from nlpkit.training.task_loss.given_loss import GivenLoss
from nlpkit.training.task_loss.head_loss import HeadLoss
from nlpkit.training.task_loss.loss_parameters import LossParameters
from nlpkit.training.task_loss.model_inputs import model_inputs, without_loss
from nlpkit.training.technique import Batch, Run, Technique, Terms, numbered, total


class TechniquesMixin(OptimizerMixin):
    """What makes a Trainer's loss right, and lets techniques change it; see ``TechniqueTrainer``."""

    # Checked on transformers 5.23.0: `_run_epoch` hands what `get_batch_samples` returns to `training_step`, and
    # nothing else looks at the number of items;
    # `_inner_training_loop` is all of a training, begun again where `auto_find_batch_size` tries a smaller batch;
    # `_save_checkpoint` and `_load_best_model` keep a step's state, and find it again.

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
        self._given_techniques = numbered(techniques)
        self.techniques: list[Technique] = []
        self._given_loss = GivenLoss(loss)
        self._task_loss = self.given_loss = self._given_loss.loss
        super().__init__(*args, **kwargs)
        self._head_loss = HeadLoss(self.args.label_smoothing_factor)
        self._items: Any = {}  # of the step that is running, by term
        self._weight, self._shown, self._prefix = 1.0, 1.0, ""
        self._term_log = TermLog()
        self._left_over: list[Batch] = []  # micro-batches of a step that has not begun
        self._step_begins: list[Batch] = []  # the micro-batches of a step, until its first one runs
        if self._task_loss is not None:
            if self.args.label_smoothing_factor:
                raise ValueError("label_smoothing_factor is of the head's own loss: give loss= its label_smoothing")
            self._task_loss.to(self.args.device)
            if self.args.label_names is None and self._task_loss.columns:
                self.label_names = list(self._task_loss.columns)  # else columns that forward does not name are dropped
        self._loss_parameters = LossParameters(self._task_loss, self.accelerator)
        self._join(those_that_may_act(self._given_techniques))
        refuse_rates(self.techniques, self.optimizer)

    @property
    def task_loss(self) -> Loss:
        """The loss of the task; a head's own is known once the first batch has come."""
        if self._task_loss is None:
            raise RuntimeError("the loss of the model's own head is known once the first batch has come")
        return self._task_loss

    def _join(self, techniques: list[Technique]) -> None:
        """Techniques take part, in their order; those that had taken part and are not among them do so no longer."""
        numbered(self._given_techniques)  # again, since another Trainer may have had one of them
        if techniques != self.techniques:
            others = [callback for callback in self.callback_handler.callbacks if callback not in self.techniques]
            self.callback_handler.callbacks, self.techniques = [*others, *techniques], techniques
        refuse_coupled_parts(self._task_loss, techniques, self.args)
        for technique in techniques:
            if technique.prepared_for[0] is not self or technique.prepared_for[1] is not self.model:
                technique.prepare(self)
                technique.prepared_for = (self, self.model)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        refuse_callbacks(self.callback_handler.callbacks, self._given_techniques)
        self._head_loss.begin(self.model)
        self._term_log, self._left_over = TermLog(), []
        with ExitStack() as entered:
            acting = those_that_may_act(self._given_techniques)  # weights may have been set since
            for technique in acting:
                entered.callback(technique.leave)
            self._join(acting)
            if folder := kwargs.get("resume_from_checkpoint"):
                load_state(Path(folder), self.techniques, self._task_loss)
            elif self.given_loss is not None:
                self.given_loss.restart()
            return super()._inner_training_loop(*args, **kwargs)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Any]:
        """The micro-batches of a step, as techniques make them, and the step's items by term."""
        new, _ = super().get_batch_samples(epoch_iterator, num_batches - len(self._left_over), device)
        batches, self._left_over = [*self._left_over, *new], []
        if len(batches) < num_batches:  # a stream has ended within a step, which goes on in the next pass over it
            batches, self._left_over = [], batches
        if not batches:
            return [], None
        refuse_late_techniques(self._given_techniques, self.techniques)
        for batch in batches:
            self._find_loss(batch)
        for technique in self._active():
            batches = [technique.batch(batch) for batch in batches]
        if self.state.global_step == 0:
            refuse_no_labels(self.task_loss, self._active(), batches)
        self._step_begins = batches
        return batches, step_items(self.task_loss, self._active(), batches, self.accelerator)

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> None:
        return None  # counted by term, for training only; a batch of evaluation has its own items

    def _active(self) -> list[Technique]:
        return [technique for technique in self.techniques if technique.active]

    def _find_loss(self, batch: Batch) -> None:
        if self.given_loss is None and not self._head_loss.is_checked:
            mean = partial(self.accelerator.reduce, reduction="mean")
            with self.compute_loss_context_manager():
                self._task_loss = self._head_loss.find(self.model_wrapped, self._prepare_inputs(dict(batch)), mean)
            refuse_coupled_parts(self._task_loss, self.techniques, self.args)

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """One micro-batch, with its passes in the order of the techniques."""
        self._items = num_items_in_batch or {}
        inputs = self._prepare_inputs(inputs)
        self._running = model
        run: Callable[[Batch], Tensor] = partial(self._plain_step, model)
        active = self._active()
        if active:  # their own passes may come before the Trainer's step, which says so itself
            model.train()
        with ExitStack() as entered:
            for technique in active:
                entered.enter_context(technique.training())
            if self._step_begins:
                batches, self._step_begins = self._step_begins, []
                self._loss_parameters.forget_gradients()
                for technique in active:
                    inputs_of_step = [self._prepare_inputs(batch) for batch in batches]
                    technique.begin(Run(run, self), model, inputs_of_step, self._items)
            for technique in reversed(active):
                run = partial(technique.step, Run(run, self), model, items=self._items)
            loss = run(inputs)
        if self.accelerator.sync_gradients:
            self._loss_parameters.reduce_gradients()
        return loss

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
        if return_outputs and isinstance(outputs, tuple):
            outputs = (loss, *outputs)  # the Trainer leaves the first one out
        return (loss, outputs) if return_outputs else loss

    def evaluation_loss(self, outputs: Any, batch: Batch) -> Tensor:
        """The task's loss of a batch by itself, without techniques, shape ``()``."""
        if self._task_loss is None:
            self._find_loss(batch)
        loss = total(self.task_loss.terms(outputs, batch, {}))
        return loss * self.args.world_size if self.task_loss.scope == "micro-batch" else loss  # each has its share

    def _terms(self, outputs: Any, batch: Batch) -> Terms:
        """The task's own, or what a technique that joins micro-batches has in its place, and those of techniques."""
        self._given_loss.look(self._running, outputs, batch, self._items)
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
        with self.task_loss.model_pass():
            return without_loss((self._running if model is None else model)(**inputs), inputs, self.task_loss)

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

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        save_loss(Path(output_dir or str(self.args.output_dir)), self.given_loss)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        load_state(Path(str(self.state.best_model_checkpoint)), self.techniques, self._task_loss)
