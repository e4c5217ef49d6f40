"""The Trainers that ``training_steps.py`` and its neighbours measure: plain ones, and one for each technique."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainingArguments

from nlpkit import TechniqueTrainer, WoBertForMaskedLM, WoBertForSequenceClassification, WoBertModel, model_path
from nlpkit.losses import ChunkedCrossEntropyLoss, CrossEntropyLoss, InfoNCELoss, Loss
from nlpkit.optimizers import Amos, Muon, amos_param_groups
from nlpkit.training import (
    EMA,
    FGM,
    PGD,
    Flooding,
    FreeLB,
    GradCache,
    GradientPenalty,
    ImplicitGradient,
    MeZO,
    RDrop,
    SimCSE,
    Technique,
    VirtualAdversarial,
    WeightScaleInvariant,
)

STEPS = 3


@dataclass(frozen=True)
class Step:
    """A way to train, and whose step it is measured by."""

    name: str
    beside: str
    make: Callable[[], dict[str, Any]]
    #: Time ratio that it may have at most.
    bar: float | None = None
    #: Of the rows of a batch.
    copies: int = 1
    #: Whether it may be taken in bf16, where that is asked for.
    bf16: bool = True


def shipped(cls: Any, **settings: Any) -> Any:
    torch.manual_seed(0)
    return cls.from_pretrained(model_path("wobert-mini-zh"), **settings)


def classifier() -> Any:
    return shipped(WoBertForSequenceClassification, num_labels=2)


def texts(rows: int, length: int, labels: Callable[[int, Tensor], Tensor]) -> list[dict[str, Tensor]]:
    """Rows of random ordinary tokens, with labels made of number and ids."""
    ids = torch.randint(106, 19_000, (rows, length), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": labels(number, row)} for number, row in enumerate(ids)]


def masked(_: int, row: Tensor) -> Tensor:
    return torch.where(torch.arange(len(row)) % 7 == 3, row, -100)


def halves(number: int, _: Tensor) -> Tensor:
    return torch.tensor(number % 2)


def pairs(number: int, _: Tensor) -> Tensor:
    return torch.tensor([number // 2, number % 2])


def is_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
    return "encoder" in name and parameter.dim() == 2


def collate(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return batch | {"attention_mask": torch.ones_like(batch["input_ids"])}


def steps() -> list[Step]:
    """All of them, plain ones first."""

    def technique(make: Callable[[], Technique]) -> Callable[[], dict[str, Any]]:
        return lambda: {"model": classifier(), "techniques": [make()]}

    def masked_lm(make: Callable[[Any], Loss]) -> Callable[[], dict[str, Any]]:
        def made() -> dict[str, Any]:
            model = shipped(WoBertForMaskedLM)
            return {"model": model, "loss": make(model), "labels": masked}

        return made

    def embeddings(micro_batches: int, *techniques: Callable[[], Technique]) -> Callable[[], dict[str, Any]]:
        return lambda: {
            "model": shipped(WoBertModel, add_pooling_layer=False),
            "loss": InfoNCELoss(),
            "labels": pairs,
            "techniques": [make() for make in techniques],
            "gradient_accumulation_steps": micro_batches,
        }

    def optimizer(make: Callable[[Any], torch.optim.Optimizer]) -> Callable[[], dict[str, Any]]:
        def made() -> dict[str, Any]:
            model = classifier()
            return {"model": model, "optimizers": (make(model), None)}

        return made

    return [
        Step("plain", "plain", lambda: {"model": classifier()}),
        Step("plain, as many rows as R-Drop", "plain", lambda: {"model": classifier()}, copies=2),
        Step("R-Drop", "plain", technique(RDrop), 1.9),
        Step("FGM", "plain", technique(FGM), 2.1),
        Step("PGD, 3 steps", "plain", technique(lambda: PGD(steps=3))),
        Step("FreeLB, 3 steps", "plain", technique(lambda: FreeLB(steps=3))),
        Step("VAT", "plain", technique(VirtualAdversarial), 3.1),
        # Differences of two gradients are lost in the rounding of bf16.
        Step("plain, in fp32", "plain, in fp32", lambda: {"model": classifier()}, bf16=False),
        Step("gradient penalty, in fp32", "plain, in fp32", technique(GradientPenalty), 2.2, bf16=False),
        Step("flooding", "plain", technique(lambda: Flooding(0.1))),
        Step("implicit gradient, in fp32", "plain, in fp32", technique(ImplicitGradient), bf16=False),
        Step("WEISSI of all matrices", "plain", technique(lambda: WeightScaleInvariant(1e-4, parameters=is_matrix))),
        Step("EMA", "plain", technique(EMA)),
        Step("MeZO", "plain", lambda: {"model": classifier(), "techniques": [MeZO()], "optim": "sgd"}),
        Step("Muon", "plain", optimizer(lambda model: Muon(model, lr=1e-5))),
        Step("Amos", "plain", optimizer(lambda model: Amos(amos_param_groups(model), lr=1e-5))),
        Step("contrastive", "contrastive", embeddings(1)),
        Step("SimCSE", "contrastive", embeddings(1, SimCSE)),
        Step("GradCache, 4 micro-batches", "contrastive", embeddings(4, GradCache)),
        Step("masked LM", "masked LM", masked_lm(lambda _: CrossEntropyLoss())),
        Step("masked LM, cross-entropy in chunks", "masked LM", masked_lm(ChunkedCrossEntropyLoss)),
    ]


def trainer_of(folder: str, rows: int, length: int, callbacks: list[Any], made: dict[str, Any]) -> TechniqueTrainer:
    """A Trainer of a few steps, with what is given in place of the usual."""
    micro_batches = made.pop("gradient_accumulation_steps", 1)
    arguments = TrainingArguments(
        folder,
        max_steps=made.pop("max_steps", STEPS),
        per_device_train_batch_size=rows // micro_batches,
        gradient_accumulation_steps=micro_batches,
        optim=made.pop("optim", "adamw_torch_fused"),
        learning_rate=made.pop("learning_rate", 1e-6),
        max_grad_norm=made.pop("max_grad_norm", 1.0),
        bf16=made.pop("bf16", False),
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    data = texts(rows * arguments.max_steps, length, made.pop("labels", halves))
    trainer = TechniqueTrainer(args=arguments, train_dataset=data, data_collator=collate, callbacks=callbacks, **made)
    trainer.remove_callback(PrinterCallback)
    return trainer
