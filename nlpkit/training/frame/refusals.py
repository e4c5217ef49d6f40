"""What a Trainer refuses, since it would train on another loss, or on none."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from nlpkit.losses.batch_loss import BatchLoss
from nlpkit.losses.loss import Loss
from nlpkit.training.technique import Batch, Technique, no_mere_callback


def refuse_coupled_parts(loss: Loss | None, techniques: Sequence[Technique], args: TrainingArguments) -> None:
    """A loss over a batch is another one over its parts.

    Args:
        loss: of the task; ``None`` is a head's own, which is not known yet.
        techniques: that may act.
        args: of the Trainer. Processes each have a micro-batch of their own; losses gather what they need of others'.

    Raises:
        ValueError: one couples the rows of a micro-batch, and nothing makes one batch of them.
    """
    for technique in techniques if args.world_size > 1 else ():
        if technique.scope == "micro-batch":
            raise ValueError(
                f"{type(technique).__name__} couples the rows of a batch, and each of {args.world_size} processes has "
                "a batch of its own, so that it would be another technique than on one: use one process"
            )
    accumulation = args.gradient_accumulation_steps
    if accumulation == 1 or any(technique.joins_micro_batches for technique in techniques):
        return
    for part in (loss, *techniques):
        if part is not None and part.scope == "micro-batch":
            joined = ", or add the technique GradCache(), which makes one batch of a step's micro-batches"
            way_out = f"set it to 1{joined if isinstance(part, BatchLoss) else ''}"
            raise ValueError(
                f"{type(part).__name__} couples the rows of a batch, so that gradient_accumulation_steps="
                f"{accumulation} would train on another loss: {way_out}"
            )


def refuse_no_labels(loss: Loss, techniques: Sequence[Technique], batches: Sequence[Batch]) -> None:
    """Without labels, nor items of techniques, nothing would be learnt, and nobody told.

    Args:
        loss: of the task.
        techniques: those that act.
        batches: of the first step.

    Raises:
        ValueError: none of them has a column of labels.
    """
    columns = loss.columns
    if not columns or any(name in batch for batch in batches for name in columns):
        return
    if not any(technique.items(batch) for technique in techniques for batch in batches):
        raise ValueError(
            f"no batch of the first step has {' and '.join(columns)}, only {', '.join(batches[0])}: the Trainer "
            "drops columns that the model's forward does not name, unless label_names has them or "
            "remove_unused_columns=False"
        )


def refuse_late_techniques(given: Sequence[Technique], joined: Sequence[Technique]) -> None:
    """A technique whose weight was 0 when training began has not looked at the model, nor heard of any event.

    Args:
        given: techniques of the Trainer.
        joined: those that may act.

    Raises:
        ValueError: another one has got a weight.
    """
    for technique in given:
        if technique.active and not any(technique is other for other in joined):
            name = type(technique).__name__
            raise ValueError(
                f"{name} had weight 0 when training began, and has {technique.weight} now: let ScheduledStrength("
                f'{technique.name}, "weight", ...) set it, or give a weight above 0 before training'
            )


def refuse_another_compute_loss(trainer: object, has_computed_terms: bool) -> None:
    """A subclass whose ``compute_loss`` does not call this library's would lose counts of items, and techniques.

    Args:
        trainer: that has run a micro-batch.
        has_computed_terms: in it, by the way of this library.

    Raises:
        ValueError: it has not.
    """
    if not has_computed_terms:
        raise ValueError(
            f"compute_loss of {type(trainer).__name__} does not call TechniqueTrainer's, which divides losses by the "
            "items of the whole step and adds the terms of techniques: give the loss as loss=, a class of "
            "nlpkit.losses (weights of classes: CrossEntropyLoss(class_weights=...)) or a function of (outputs, "
            "labels, num_items_in_batch=...)"
        )


def refuse_callbacks(callbacks: Sequence[TrainerCallback], techniques: Sequence[Technique]) -> None:
    """A technique that a Trainer knows as a callback only does nothing, or half of what it should.

    Args:
        callbacks: of the Trainer.
        techniques: of the Trainer.

    Raises:
        ValueError: a callback is a technique that is not among them.
    """
    for callback in callbacks:
        if isinstance(callback, Technique) and not any(callback is technique for technique in techniques):
            raise no_mere_callback(callback)


def refuse_rates(techniques: Sequence[Technique], optimizer: torch.optim.Optimizer | None) -> None:
    """An optimizer that was given has its groups already.

    Args:
        techniques: of the Trainer.
        optimizer: that was given, or none.

    Raises:
        ValueError: there is one, and a technique sets parameter groups.
    """
    for technique in techniques if optimizer is not None else ():
        if type(technique).groups is not Technique.groups:
            raise ValueError(
                f"{type(technique).__name__} sets rates where the Trainer makes the optimizer: give that as "
                'optimizer_cls_and_kwargs=(Muon, {"lr": ...}), not as optimizers='
            )


def refuse_other_parameters(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """An optimizer that holds an earlier model's parameters would leave this one as it is.

    Args:
        optimizer: as it was made.
        model: that is trained.

    Raises:
        ValueError: it holds none of the model's parameters.
    """
    own = set(map(id, model.parameters()))
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            f"{type(optimizer).__name__} holds no parameter of the model that is trained: with model_init= each run "
            'has a model of its own, so that optimizer_cls_and_kwargs cannot name "params"'
        )


def refuse_old_sharding(args: TrainingArguments) -> None:
    """FSDP of version 1 gives each process pieces of flattened parameters, which are not what techniques look for.

    Args:
        args: of the Trainer. Without ``fsdp`` among them, what ``accelerate launch`` was told counts.

    Raises:
        ValueError: FSDP of version 1 is asked for.
    """
    launched = os.environ if os.environ.get("ACCELERATE_USE_FSDP") == "true" else {"FSDP_VERSION": "2"}
    version = (
        launched.get("FSDP_VERSION", "1") if args.fsdp_plugin_args is None else args.fsdp_plugin_args["fsdp_version"]
    )
    if int(version) == 1:
        raise ValueError(
            "FSDP of version 1 flattens the parameters that techniques look for, and is leaving transformers: give "
            'accelerate launch --fsdp_version 2, or leave "version" out of fsdp_config'
        )
