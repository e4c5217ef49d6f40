"""Multi-token prediction: heads that say from one state what comes two tokens later, and three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import CausalLMOutput

from nlpkit.checked_number import checked_number
from nlpkit.losses import ChunkedCrossEntropyLoss
from nlpkit.teaforn.decoder import Decoder
from nlpkit.teaforn.technique import TeaForN
from nlpkit.training import Batch, Host, Items, Technique, Terms
from nlpkit.training.task_loss.stock_losses import with_head

#: Under which a model has the heads while it is trained.
_NAME = "multi_token_heads"


class MultiToken(Technique):
    """Predict from each state not the next token alone, but those behind it, by a head for each distance.

    Source: multi-token prediction, arXiv 2404.19737: one trunk, one output layer for all heads, losses summed. A head
    here is the residual block of Medusa (arXiv 2401.10774), ``x + silu(W x)``, where the paper has a layer of the
    Transformer, which is none that all families share.

    Args:
        tokens: how many are predicted, the next one included; 1 is teacher forcing.
        weight: of each further token, where the next one has 1; 0 is teacher forcing.

    Raises:
        ValueError: a number is out of range; the model does not predict the next token, see ``Decoder``; its output
            layer is no ``nn.Linear``; ``TeaForN`` stands behind it in the list; or, in training, the model changes
            logits after its output layer.

    Note:
        A head is a matrix of ``width * width``, which begins with zeros, and a pass of the output layer. Heads are
        part of the model until training ends, of its checkpoints too; then they go, and the model is what it was.

    Example:
        >>> MultiToken(tokens=3).name
        'multi_token'
    """

    def __init__(self, tokens: int = 2, *, weight: float = 1.0) -> None:
        checked_number("tokens", tokens, least=1, whole=True, hint="1 is teacher forcing")
        checked_number("weight", weight, least=0)
        self.weight, self.tokens = weight, tokens
        self._heads: nn.ModuleList | None = None

    @property
    def active(self) -> bool:
        """Whether anything beside the next token counts."""
        return self.weight != 0 and self.tokens > 1

    def prepare(self, trainer: Host) -> None:
        """Gives the model its heads."""
        if not self.active:
            return
        if any(isinstance(other, TeaForN) for other in trainer.techniques[trainer.techniques.index(self) :]):
            raise ValueError(
                "MultiToken before TeaForN would see the states of its levels: list it behind, "
                "techniques=[TeaForN(...), MultiToken(...)]"
            )
        self._trainer, self._decoder = trainer, Decoder(trainer.model)
        self._inner = with_head(trainer.model)
        self._layer: Any = self._inner.get_output_embeddings()
        if not isinstance(self._layer, nn.Linear):
            name = type(self._layer).__name__
            raise ValueError(f"MultiToken: the output layer is a {name}, not an nn.Linear that heads can share")
        if self._heads is None or self.prepared_for[1] is not trainer.model:
            self._heads = _silent_heads(self._layer, self.tokens - 1)
        self._inner.register_module(_NAME, self._heads)  # again, where a training has ended: the optimizer knows them
        self._is_seen = False

    def leave(self) -> None:
        """Takes the heads off the model."""
        if self._heads is not None and hasattr(self._inner, _NAME):
            delattr(self._inner, _NAME)
            self.prepared_for = (None, self.prepared_for[1])  # so that another training asks for them

    @contextmanager
    def training(self) -> Iterator[None]:
        """What the output layer is given is kept."""

        def given(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._states = inputs[0]

        handle = self._layer.register_forward_pre_hook(given)
        try:
            yield
        finally:
            handle.remove()

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Adds a term for each further token, divided by the items of the task."""
        if batch.get("labels") is None:
            return terms
        self._look(outputs)
        added = {
            f"{self.name}/{distance + 1}": self.weight * self._term(head, distance, batch, items)
            for distance, head in enumerate(getattr(self._inner, _NAME), start=1)
        }
        return terms | added

    def _term(self, head: nn.Module, distance: int, batch: Batch, items: Items) -> Tensor:
        """The task's loss of a head, whose labels stand further on in a row."""
        loss, labels, states = self._trainer.task_loss, batch["labels"], self._states
        later = torch.cat([labels[:, distance:], torch.full_like(labels[:, :distance], -100)], dim=1)
        narrow = states.dtype != self._layer.weight.dtype  # as the model has run
        with torch.autocast(states.device.type, states.dtype, enabled=narrow):
            states = states + F.silu(head(states))
            in_chunks = isinstance(loss, ChunkedCrossEntropyLoss)  # which makes logits itself
            logits = states if in_chunks else F.linear(states, self._layer.weight, self._layer.bias)
        told = loss.terms(CausalLMOutput(logits=logits), batch | {"labels": later}, items)
        return torch.stack(list(told.values())).sum()

    def _look(self, outputs: Any) -> None:
        """Whether the output layer's are the logits, on the first batch."""
        if self._is_seen:
            return
        self._is_seen = True
        with torch.no_grad():
            own = F.linear(self._states.to(self._layer.weight.dtype), self._layer.weight, self._layer.bias)
            theirs = self._trainer.task_loss.logits_of(outputs)
        if own.shape != theirs.shape or (own - theirs).norm() > 0.05 * theirs.norm():  # half precision rounds
            raise ValueError(
                f"MultiToken: {self._decoder.name} changes its logits after its output layer (a scale, a cap, a "
                "bias), which the heads do not know: take another family of models"
            )


def _silent_heads(layer: nn.Linear, number: int) -> nn.ModuleList:
    """Heads that change nothing yet."""
    width, like = layer.in_features, layer.weight
    heads = [nn.Linear(width, width, bias=False, device=like.device, dtype=like.dtype) for _ in range(number)]
    for head in heads:
        nn.init.zeros_(head.weight)
    return nn.ModuleList(heads)
