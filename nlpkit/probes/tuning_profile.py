"""What each way of fine-tuning costs on your own model: memory and time of a training step, measured side by side."""

from __future__ import annotations

import copy
import gc
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedModel

from nlpkit.probes.step_memory import gradient_bytes, optimizer_bytes, peak_bytes, saved_activation_bytes
from nlpkit.training.heads import head_modules, lora_targets

#: Makes a trainable model of a copy of the user's, and tells what to call it with besides the batch.
Way = Callable[[PreTrainedModel, Mapping[str, Tensor]], tuple[nn.Module, Mapping[str, Any]]]


#: Names of linear layers that make queries or values, or both with the keys.
_QUERY_OR_VALUE = re.compile(r"(q|v|query|value)(_lin|_proj)?|Wqkv|qkv_proj|query_key_value")


@dataclass(frozen=True)
class TuningProfile:
    """The cost of one way of fine-tuning.

    Attributes:
        way: its name.
        trainable_parameters: how many.
        activation_bytes: kept by the forward pass for the backward pass.
        gradient_bytes: of the trainable parameters.
        optimizer_bytes: of AdamW's two moments.
        peak_bytes: the most that a step needs above weights and optimizer; see ``step_memory.peak_bytes``.
        step_seconds: median time of a training step.
    """

    way: str
    trainable_parameters: int
    activation_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    peak_bytes: int
    step_seconds: float


def full(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[nn.Module, Mapping[str, Any]]:
    """Train every parameter."""
    return model.requires_grad_(True), {}


def bitfit(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[nn.Module, Mapping[str, Any]]:
    """Train biases and the head.

    Source: Ben Zaken, Ravfogel and Goldberg 2022, "BitFit".
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    for name in head_modules(model):
        model.get_submodule(name).requires_grad_(True)
    return model, {}


def lora(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[nn.Module, Mapping[str, Any]]:
    """Train PEFT's LoRA of rank 8 on queries and values, and the head.

    Raises:
        ValueError: the model has no projections with names of queries and values.
    """
    from peft import LoraConfig, get_peft_model

    names = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    found = sorted(name for name in names if _QUERY_OR_VALUE.fullmatch(name))
    targets = found if found else lora_targets(model)
    settings = LoraConfig(r=8, lora_alpha=16, target_modules=targets, modules_to_save=head_modules(model) or None)
    return get_peft_model(model, settings), {}


def standard_ways() -> dict[str, Way]:
    """The ways through the model: full fine-tuning, LoRA if PEFT is installed, BitFit.

    Returns:
        Ways by name. Methods bring their own, to be added: ``standard_ways() | ladder_ways()``.
    """
    known: dict[str, Way] = {"full": full}
    if find_spec("peft") is not None:
        known["LoRA"] = lora
    return known | {"BitFit": bitfit}


def possible_ways(
    model: PreTrainedModel, batch: Mapping[str, Tensor], ways: Mapping[str, Way]
) -> tuple[dict[str, Way], dict[str, str]]:
    """The ways that a model can be fine-tuned in, and why the others are none.

    Args:
        model: as for ``profile_tuning``.
        batch: as there.
        ways: by name.

    Returns:
        The ways that can be built, and what the others were refused with, both by name.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> def never(model, batch):
        ...     raise ValueError("not this one")
        >>> found, refused = possible_ways(model, {}, {"full": full, "never": never})
        >>> list(found), refused
        (['full'], {'never': 'not this one'})
    """
    found, refused = {}, {}
    for name, way in ways.items():
        try:
            way(copy.deepcopy(model), batch)
            found[name] = way
        except ValueError as error:
            refused[name] = str(error)
    return found, refused


def profile_tuning(
    model: PreTrainedModel,
    batch: Mapping[str, Tensor],
    *,
    ways: Mapping[str, Way] | None = None,
    rounds: int = 5,
    autocast: torch.dtype | None = None,
    show_progress: bool = True,
) -> list[TuningProfile]:
    """Measure what each way of fine-tuning a model costs.

    Args:
        model: yours; every way works on a copy.
        batch: inputs with labels, on the model's device; of the size and length that you train with.
        ways: by name; by default ``standard_ways()``.
        rounds: training steps of each way that are timed, in turns, after one that warms up.
        autocast: a dtype to compute in, e.g. ``torch.bfloat16``.
        show_progress: draw a progress bar.

    Returns:
        One profile per way, in their order.

    Raises:
        ValueError: the model returns no loss on the batch, or ``rounds`` is below 1.

    Note:
        All the ways are in memory at once, because they are timed in turns: one copy of the weights each, and AdamW's
        moments. Dropout is on.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig(
        ...     vocab_size=9, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64))
        >>> batch = {"input_ids": torch.ones(2, 5, dtype=torch.long), "labels": torch.tensor([0, 1])}
        >>> chosen = {"full": full, "BitFit": bitfit}
        >>> profiles = profile_tuning(model, batch, ways=chosen, rounds=1, show_progress=False)
        >>> profiles[1].activation_bytes < profiles[0].activation_bytes
        True
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be at least 1")
    steps = []
    known = standard_ways() if ways is None else ways
    for name, way in tqdm(
        known.items(), desc="measuring memory", unit="way", disable=None if show_progress else True, leave=False
    ):
        trained, extra = way(copy.deepcopy(model), batch)
        steps.append(_Step(name, trained.train(), {**batch, **extra}, autocast))
        steps[-1].measure_memory()
    for _ in tqdm(
        range(rounds), desc="measuring time", unit="round", disable=None if show_progress else True, leave=False
    ):
        for step in steps:
            step.measure_time()
    return [step.profile() for step in steps]


def profile_table(profiles: list[TuningProfile]) -> Table:
    """Draw profiles as a table, each beside its share of the first.

    Args:
        profiles: as ``profile_tuning`` returns them.

    Returns:
        A table for ``rich.print``.
    """
    table = Table("way", "trained", "activations", "gradients + AdamW", "peak of a step", "time of a step")
    first = profiles[0]
    for found in profiles:
        kept, kept_first = (item.gradient_bytes + item.optimizer_bytes for item in (found, first))
        table.add_row(
            found.way,
            f"{found.trainable_parameters:,} ({found.trainable_parameters / first.trainable_parameters:.1%})",
            _share(found.activation_bytes, first.activation_bytes),
            _share(kept, kept_first),
            _share(found.peak_bytes, first.peak_bytes),
            f"{found.step_seconds * 1000:.0f} ms ({found.step_seconds / first.step_seconds:.2f})",
        )
    return table


class _Step:
    """A training step of one way."""

    def __init__(self, name: str, model: nn.Module, inputs: Mapping[str, Any], autocast: torch.dtype | None) -> None:
        self.name, self.model, self.inputs, self.autocast = name, model, inputs, autocast
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.trainable = sum(parameter.numel() for parameter in trained)
        self.optimizer = torch.optim.AdamW(trained, lr=1e-6)
        self.device = next(model.parameters()).device
        self.seconds: list[float] = []
        self.memory: dict[str, int] = {}

    def forward(self) -> Tensor:
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            loss = self.model(**self.inputs).get("loss")
        if loss is None:
            raise ValueError("the model returns no loss; give a batch with labels")
        found: Tensor = loss
        return found

    def step(self) -> None:
        self.forward().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def measure_memory(self) -> None:
        self.memory["activation_bytes"] = saved_activation_bytes(self.model, self.forward)
        self.forward().backward()
        self.memory["gradient_bytes"] = gradient_bytes(self.model)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.memory["optimizer_bytes"] = optimizer_bytes(self.optimizer)
        gc.collect()
        self.memory["peak_bytes"] = peak_bytes(self.step, self.device)

    def measure_time(self) -> None:
        self._wait()
        begin = perf_counter()
        self.step()
        self._wait()
        self.seconds.append(perf_counter() - begin)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def profile(self) -> TuningProfile:
        return TuningProfile(self.name, self.trainable, **self.memory, step_seconds=median(self.seconds))


def _share(size: int, of: int) -> str:
    return f"{size / 2**20:.1f} MiB ({size / max(of, 1):.2f})"
