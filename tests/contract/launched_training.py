"""Small trainings of a kind each, cut off and gone on with; run by ``accelerate launch`` in two processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainingArguments

from nlpkit.pet import LabelLoss, PetTrainer, PetTrainingArguments
from nlpkit.training import FGM, TechniqueTrainer
from tests.contract.cases import CASES, prompted, prompted_rows
from tests.contract.stock_heads import HEADS

STEPS, CUT = 4, 2
MODELS = {case.name: case for case in [*CASES, *HEADS]}


def arguments(folder: Path, processes: int) -> dict[str, Any]:
    """Steps of four rows, over all processes, with an optimizer that remembers something."""
    return {
        "output_dir": str(folder),
        "max_steps": STEPS,
        "save_steps": CUT,
        "per_device_train_batch_size": 4 // processes,
        "learning_rate": 0.1,
        "lr_scheduler_type": "linear",
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1,
        "remove_unused_columns": False,
        "train_sampling_strategy": "sequential",
    }


def of_case(name: str, folder: Path, processes: int, **options: Any) -> TechniqueTrainer:
    """Of a model of the contract."""
    case = MODELS[name]
    return TechniqueTrainer(
        case.model().double(),
        TrainingArguments(**arguments(folder, processes)),
        train_dataset=case.rows(),
        data_collator=lambda rows: case.collate(rows, None),
        **options,
    )


def frame(folder: Path, processes: int) -> TechniqueTrainer:
    """A stock head with its own loss and a technique."""
    return of_case("BertForTokenClassification", folder, processes, techniques=[FGM(0.5)])


def tied(folder: Path, processes: int) -> TechniqueTrainer:
    """A head that is tied to the embeddings, and a bias to another one."""
    return of_case("sparse-masked-lm", folder, processes)


def ladder(folder: Path, processes: int) -> TechniqueTrainer:
    """A ladder beside a frozen encoder."""
    return of_case("ladder", folder, processes)


def kept_taps(folder: Path, processes: int) -> TechniqueTrainer:
    """The same from taps on disk, of which each process keeps its share."""
    trainer, case = ladder(folder, processes), MODELS["ladder"]
    model: Any = trainer.model
    cache = model.cache_taps(
        case.rows(), folder.parent / "taps", lambda rows: case.collate(rows, None),
        dtype="float64", batch_size=2, show_progress=False, over_processes=True,
    )  # fmt: skip
    model.use_tap_cache(cache)
    return trainer


def pet(folder: Path, processes: int) -> TechniqueTrainer:
    """A prompted classifier with its own Trainer."""
    settings = PetTrainingArguments(**arguments(folder, processes) | {"save_strategy": "steps", "bf16": False})
    return PetTrainer(LabelLoss(prompted().double()), settings, prompted_rows())


TRAINERS: dict[str, Callable[[Path, int], TechniqueTrainer]] = {
    "frame": frame,
    "tied head": tied,
    "ladder": ladder,
    "kept taps": kept_taps,
    "pet": pet,
}


def train(kind: str, folder: Path, processes: int) -> dict[str, Any]:
    """Train from beginning to end, and once more from the checkpoint in between; both leave a model.

    Returns:
        The losses of both, and how parameters were held.
    """
    trainer = TRAINERS[kind](folder / "whole", processes)
    trainer.train()
    trainer.save_model(str(folder / "model"))
    again = TRAINERS[kind](folder / "again", processes)
    again.train(resume_from_checkpoint=str(folder / "whole" / f"checkpoint-{CUT}"))
    again.save_model(str(folder / "resumed"))
    return {
        "processes": trainer.args.world_size,
        "sharded": all(isinstance(parameter, DTensor) for parameter in trainer.model_wrapped.parameters()),
        "losses": [log["loss"] for log in trainer.state.log_history if "loss" in log],
        "losses after the cut": [log["loss"] for log in again.state.log_history if "loss" in log][CUT:],
    }


if __name__ == "__main__":
    for kind in sys.argv[2:]:
        folder = Path(sys.argv[1], kind)
        try:
            facts = train(kind, folder, 2)
        except ValueError as error:
            facts = {"refused": str(error)}
        if torch.distributed.get_rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
    torch.distributed.destroy_process_group()
