"""Which dropout a model draws in training, and which it only declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nlpkit.checked_number import checked_number
from nlpkit.probes.training_mode.passes import first_output, kind_of_place, places_of, training_copy
from nlpkit.training.dropout import dropout_places

Kind = Literal["module", "function", "fused attention"]

_FUNCTIONS = {
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.dropout,
}
_RECURRENT = {torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu}


@dataclass(frozen=True)
class DropoutUse:
    """Dropout that was called in a pass.

    Attributes:
        place: the module in which it was, ``*`` for any layer.
        kind: ``"module"`` such as ``nn.Dropout``; ``"function"`` within another module; ``"fused attention"``, where a
            kernel draws it and no module shows it.
        probability: with which a number is left out; 0 draws nothing.
        calls: per pass.
    """

    place: str
    kind: Kind
    probability: float
    calls: int


@dataclass(frozen=True)
class DropoutReport:
    """What dropout does in a step of training.

    Attributes:
        uses: every place that calls dropout, probabilities of 0 included.
        unused: modules of dropout that were not run, with a probability above 0 that nothing beside them drew instead.
        noise: root mean square of what dropout changes in the output, in units of the output's own.
    """

    uses: tuple[DropoutUse, ...]
    unused: tuple[tuple[str, float], ...]
    noise: float

    @property
    def silent(self) -> bool:
        """Whether no dropout is drawn, so that two passes are equal, and R-Drop or SimCSE do nothing."""
        return all(use.probability == 0 for use in self.uses)


def dropout_report(model: nn.Module, batch: Mapping[str, Any], *, passes: int = 4) -> DropoutReport:
    """Listen to the dropout of a pass in training.

    Args:
        model: yours; a copy is run, in training and in evaluation.
        batch: inputs of the model.
        passes: over which the noise is averaged.

    Returns:
        The report, uses in the order of the pass.

    Raises:
        TypeError: ``passes`` is no integer.
        ValueError: it is below 1, or the model answers neither logits nor states, or NaN or infinity.

    Note:
        Kernels of attention outside of torch (flash-attn) are not heard. Layers that are left out as a whole
        (``layerdrop``) are no dropout.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
        >>> model = BertModel(BertConfig(num_hidden_layers=3, attention_probs_dropout_prob=0.2, **sizes))
        >>> report = dropout_report(model, {"input_ids": torch.ones(2, 5, dtype=torch.long)})
        >>> for use in report.uses:
        ...     print(use.place, use.kind, use.probability, use.calls)
        embeddings.dropout module 0.1 1
        encoder.layer.*.attention.self fused attention 0.2 3
        encoder.layer.*.attention.output.dropout module 0.1 3
        encoder.layer.*.output.dropout module 0.1 3
    """
    checked_number("passes", passes, least=1, whole=True)
    with training_copy(model) as copied:
        modules = dict(copied.named_modules())
        with places_of(copied) as running, _Listening(running, modules) as heard:
            outputs = [first_output(copied(**batch)).double()]
        outputs += [first_output(copied(**batch)).double() for _ in range(passes - 1)]
        still = first_output(copied.eval()(**batch)).double()
    changed = torch.stack([(one - still).square().mean() for one in outputs]).mean().sqrt()
    if not changed.isfinite():
        raise ValueError("the model gives NaN or infinity: its weights or the batch are broken; train it again")
    noise = (changed / still.square().mean().sqrt()).item() if changed else 0.0
    uses = (DropoutUse(place, kind, share, calls) for (place, kind, share), calls in heard.calls.items())
    return DropoutReport(tuple(uses), _unused(modules, heard.drawn), noise)


class _Listening(TorchFunctionMode):
    """Counts calls of dropout by place, kind and probability."""

    def __init__(self, place: Callable[[], str], modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._place, self._modules = place, modules
        self.calls: dict[tuple[str, Kind, float], int] = {}
        self.drawn: set[tuple[str, float]] = set()  # by names of modules

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _FUNCTIONS:
            drawn = given.get("training", args[2] if len(args) > 2 else True)
            owner = self._modules.get(self._place())
            is_module = "Dropout" in type(owner).__name__
            self._note(
                given.get("p", args[1] if len(args) > 1 else 0.5) if drawn else 0.0,
                "module" if is_module else "function",
            )
        elif func is F.scaled_dot_product_attention:
            self._note(given.get("dropout_p", args[4] if len(args) > 4 else 0.0), "fused attention")
        elif func is F.multi_head_attention_forward:
            # Not ours to look into: whether its dropout is fused is torch's choice.
            self._note(args[10] if given.get("training", True) else 0.0, "fused attention")
        elif func in _RECURRENT:
            recurrent = self._modules.get(self._place())
            if isinstance(recurrent, nn.RNNBase) and recurrent.dropout:  # between layers, in a kernel
                drawn = recurrent.training and recurrent.num_layers > 1
                self._note(recurrent.dropout if drawn else 0.0, "module")
        return func(*args, **given)

    def _note(self, probability: float, kind: Kind) -> None:
        key = (kind_of_place(self._place()), kind, float(probability))
        self.calls[key] = self.calls.get(key, 0) + 1
        self.drawn.add((self._place(), float(probability)))


def _unused(modules: Mapping[str, nn.Module], drawn: set[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    called = {name for name, _ in drawn}
    found: dict[tuple[str, float], None] = {}
    for name, module in modules.items():
        if "Dropout" not in type(module).__name__ or name in called:
            continue
        probability = next((float(getattr(owner, key)) for owner, key in dropout_places(module)), 0.0)
        # A kernel of attention takes the probability of the module that it makes needless.
        if probability > 0 and (name.rpartition(".")[0], probability) not in drawn:
            found[kind_of_place(name), probability] = None
    return tuple(found)
