"""A language model's loss from its hidden states, so that its output layer makes no logits in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpkit.checked_number import checked_number
from nlpkit.losses.chunked_cross_entropy import chunked_cross_entropy
from nlpkit.losses.standard import CrossEntropyLoss


class ChunkedCrossEntropyLoss(CrossEntropyLoss):
    """``CrossEntropyLoss`` of a language model that never makes the logits of all its tokens in training.

    Within ``model_pass()``, in training mode, the model's output layer passes the hidden states on, where the model
    has its logits; the loss takes them, and the layer's weight. ``TechniqueTrainer`` runs the model so, and nobody
    else: in evaluation, in ``generate``, and whenever another calls it, the model gives logits as ever, of which the
    loss is ``CrossEntropyLoss``. Names of weights, tied weights and saved files stay as they are.

    Source: arXiv 2410.10989, section 3.2.

    Args:
        model: with an output layer that is an ``nn.Linear``, tied or not; or that layer itself.
        shift: as for ``CrossEntropyLoss``: a decoder.
        label_smoothing: share of the target that is spread over all classes.
        chunk: tokens whose logits are held at a time.

    Raises:
        ValueError: the model's output layer is none that can be passed over, or the model changes its logits after it
            (a scale, a cap, a bias of its own); later, a model in training mode ran outside of ``model_pass()``, as
            under the plain Trainer, and returned logits.

    Note:
        Tokens without a label, six of seven in masked-LM training, cost nothing in the output layer. What asks for
        ``logits_of(outputs)``, as ``RDrop`` does, gets true logits, and their memory; ``outputs["logits"]`` are hidden
        states there, of which a model or a technique must not compute a loss of its own. ``release`` gives the
        layer back. In evaluation logits are made: give it small batches. FSDP has not been tried.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM
        >>> model = BertForMaskedLM(BertConfig(vocab_size=90, hidden_size=8, num_hidden_layers=1,
        ...                                    num_attention_heads=2, intermediate_size=8))
        >>> loss, ids = ChunkedCrossEntropyLoss(model), torch.tensor([[1, 2, 3]])
        >>> with loss.model_pass():
        ...     outputs = model.train()(ids)
        >>> outputs.logits.shape, loss.logits_of(outputs).shape, loss(outputs, ids).shape
        (torch.Size([1, 3, 8]), torch.Size([1, 3, 90]), torch.Size([]))
        >>> model(ids).logits.shape
        torch.Size([1, 3, 90])
    """

    def __init__(
        self, model: nn.Module, *, shift: bool = False, label_smoothing: float = 0.0, chunk: int = 256
    ) -> None:
        super().__init__(shift, label_smoothing)
        self.chunk = checked_number("chunk", chunk, least=1, whole=True)
        layer = _output_layer(model)
        self._held = (layer,)  # no part of this module: its weights are the model's, which trains and saves them
        self._dtype: torch.dtype | None = None
        self._given: Tensor | None = None
        self._passing = False
        layer.forward = partial(_pass_on, layer, self)  # type: ignore[method-assign]
        self._check = None if model is layer else model.register_forward_hook(partial(_refuse_changed_logits, self))

    @property
    def _layer(self) -> nn.Linear:
        return self._held[0]

    @contextmanager
    def model_pass(self) -> Iterator[None]:
        """Within, the model in training mode has hidden states in place of logits."""
        before, self._passing = self._passing, True
        try:
            yield
        finally:
            self._passing = before

    def release(self) -> None:
        """Give the model its output layer back, within ``model_pass()`` too."""
        self._layer.__dict__.pop("forward", None)
        self._end_check()

    def _end_check(self) -> None:
        if self._check is not None:
            self._check.remove()
        self._check = self._given = None

    def logits_of(self, outputs: Any) -> Tensor:
        """The logits of all tokens, computed from the hidden states where a model returned those."""
        states = self._states_of(outputs)
        if states is None:
            return super().logits_of(outputs)
        layer = self._layer
        dtype = layer.weight.dtype if self._dtype is None else self._dtype
        bias = None if layer.bias is None else layer.bias.to(dtype)
        return F.linear(states.to(dtype), layer.weight.to(dtype), bias)

    def _averaged_of(self, outputs: Any, batch: Mapping[str, Any]) -> Any:
        return outputs  # in which hidden states are what they are

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As ``Loss.average``, from hidden states where a model returned those."""
        states = self._states_of(outputs)
        if states is None:
            if self._layer.training:
                raise ValueError(
                    "the model is in training mode and returned logits, so that no memory is saved: train by "
                    "nlpkit.TechniqueTrainer, or run the model within `with loss.model_pass():`; after release(), or "
                    "where a model does not call its output layer, use CrossEntropyLoss"
                )
            return super().average(outputs, labels, items, mask)
        labels, chosen = self._chosen(labels, mask)
        states = self.align_logits(states, labels)
        layer = self._layer
        total = chunked_cross_entropy(
            states,
            layer.weight,
            labels.masked_fill(~chosen, -100),
            bias=layer.bias,
            label_smoothing=self.label_smoothing,
            chunk=self.chunk,
            dtype=self._dtype,
        )
        items = chosen.sum() if items is None else items
        return total / torch.as_tensor(items, device=total.device).clamp(min=1)

    def _states_of(self, outputs: Any) -> Tensor | None:
        """The hidden states that a model returned for its logits; ``None`` where it returned logits."""
        found = super().logits_of(outputs)
        return None if found.shape[-1] == self._layer.out_features else found


def _pass_on(layer: nn.Linear, loss: ChunkedCrossEntropyLoss, states: Tensor) -> Tensor:
    """An output layer's ``forward``: hidden states as they are where the loss asks for them, and else logits."""
    if not (layer.training and loss._passing):
        return nn.Linear.forward(layer, states)
    kind = states.device.type
    narrow = torch.is_autocast_enabled(kind) and layer.weight.dtype != torch.float64
    loss._dtype = torch.get_autocast_dtype(kind) if narrow else None
    if loss._check is not None:
        loss._given = states.detach()
    attached: Tensor = _Attached.apply(states, *layer.parameters())
    return attached


class _Attached(torch.autograd.Function):
    """Hidden states that depend on the output layer, so that data parallelism, which looks at what a model returns,
    waits for the layer's gradients."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, *parameters: Tensor) -> Tensor:
        ctx.others = len(parameters)
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return outer, *[None] * ctx.others


def _refuse_changed_logits(loss: ChunkedCrossEntropyLoss, model: nn.Module, inputs: Any, outputs: Any) -> None:
    """Compare what a model returns with what its output layer passed on, the first time that it does."""
    if loss._given is None:
        return
    given = loss._given
    loss._end_check()
    found = CrossEntropyLoss.logits_of(loss, outputs).detach()
    if found.shape != given.shape or not torch.equal(found.to(given.dtype), given):
        loss.release()
        raise ValueError(
            f"{type(model).__name__} changes its logits after its output layer (a scale, a cap, a bias of its own), "
            f"which ChunkedCrossEntropyLoss does not know: use CrossEntropyLoss, or chunked_cross_entropy(scale=, "
            f"softcap=, bias=) on hidden states in a loss of your own"
        )


def _output_layer(model: nn.Module) -> nn.Linear:
    find = getattr(model, "get_output_embeddings", None)
    layer = model if find is None else find()
    name = type(model).__name__
    if type(layer) is not nn.Linear:
        raise ValueError(
            f"the output layer of {name} is a {type(layer).__name__}, not an nn.Linear whose weight is all there is "
            f"to it: give a model with such a layer, or the layer itself; without LoRA on it, and not quantized"
        )
    if layer.in_features == layer.out_features:
        raise ValueError(
            f"the output layer of {name} has as many outputs as inputs, {layer.in_features}: hidden states and logits "
            f"cannot be told apart, and nothing is saved: use CrossEntropyLoss"
        )
    inner = getattr(model, "get_base_model", lambda: model)()
    if getattr(getattr(inner, "config", None), "sparse_prediction", False):
        raise ValueError(
            f"{name} runs its head at labelled positions (config.sparse_prediction) and computes its own loss there: "
            f"set it to False, since the loss leaves other positions out too"
        )
    if hasattr(inner, "final_logits_bias"):
        raise ValueError(f"{name} adds final_logits_bias to its logits after its output layer: use CrossEntropyLoss")
    return layer
