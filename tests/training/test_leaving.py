"""What techniques give back when training ends, and what they find when it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from nlpkit import TechniqueTrainer
from nlpkit.training import EMA, AuxiliaryLosses, Probes, RDrop, Technique, Unfreezing
from tests.training.runs import same_weights, small_model, trainer


class Puts(Technique):
    """Keeps count of what it has put on the model."""

    def __init__(self) -> None:
        self.there = 0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.there += 1

    def leave(self) -> None:
        self.there = 0


class Fails(TrainerCallback):
    """Ends the first run at its first step."""

    def __init__(self, error: BaseException) -> None:
        self.left = [error]

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if self.left:
            raise self.left.pop()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_every_technique_leaves_the_model_however_training_ends(error: BaseException, tmp_path: Path) -> None:
    class Stuck(Puts):
        def leave(self) -> None:
            super().leave()
            raise ValueError("stuck")

    model = small_model()
    hooks = len(model._forward_hooks), len(model._forward_pre_hooks)
    techniques = [Puts(), Unfreezing(0.25, "training"), Probes(), AuxiliaryLosses(), RDrop(dropout=0.3), EMA()]
    run = trainer(tmp_path, techniques, model, options={"callbacks": [Fails(error)]})
    with pytest.raises(type(error)):
        run.train()
    assert techniques[0].there == 0  # type: ignore[attr-defined]
    assert (len(model._forward_hooks), len(model._forward_pre_hooks)) == hooks
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.dropout.p == 0.0
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    shown = run.evaluate()["eval_loss"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert shown == trainer(tmp_path, model=model).evaluate()["eval_loss"]  # of what save_model would write
    run.train()
    assert techniques[0].there == 0  # type: ignore[attr-defined]
    first, stuck = Puts(), Stuck()
    with pytest.raises(ValueError, match="stuck"):
        trainer(tmp_path, [first, stuck], steps=1).train()
    assert first.there == 0


def test_a_state_is_found_again_whatever_makes_the_model_and_in_every_trial(tmp_path: Path) -> None:
    def made(**options: Any) -> TechniqueTrainer:
        usual = trainer(tmp_path, save_strategy="steps", save_steps=2, **options)
        return TechniqueTrainer(
            args=usual.args, model_init=lambda: small_model(), train_dataset=usual.train_dataset,
            data_collator=usual.data_collator, techniques=[EMA(0.9, warmup=False)],
            callbacks=[BeginsAnew()] if options else None,
        )  # fmt: skip

    class BeginsAnew(TrainerCallback):
        """The first trial has no memory for its first step."""

        tried = False

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            if not self.tried:
                self.tried = True
                raise torch.OutOfMemoryError("CUDA out of memory.")

    whole, again = made(), made()
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same_weights(whole.model, again.model)
    smaller = made(auto_find_batch_size=True)
    smaller.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    state = load_file(tmp_path / "checkpoint-4" / "techniques.safetensors")
    assert state["ema/averaged"] > 2
