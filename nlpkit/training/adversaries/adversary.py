"""What adversaries have in common: where they act, and the gradient there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nlpkit.training.adversaries.moves import Call, MatrixMoves, Moves, RowMoves, Start, moving, no_move
from nlpkit.training.stock_losses import with_head
from nlpkit.training.technique import Batch, Host, Items, Run, Technique

#: The input embedding; its matrix; a module, or what finds one in the model that is trained.
Site = nn.Module | Callable[[Any], nn.Module] | Literal["matrix"] | None


class Adversary(Technique):
    """A technique that moves the output of a module against the model.

    Args:
        weight: of what it adds to the loss.
        at: what is moved. ``None`` means the output of the input embedding, where each row (a text) has a move of its
            own, and lengths are those of a row: all its tokens together. A module, or a function that finds one in the
            model: its output, for instance that of the first trained block behind a frozen backbone. ``"matrix"``
            moves the embedding matrix as kexue.fm/archives/7234 does: equal tokens alike, lengths over the whole
            matrix, so that the rows of a micro-batch depend on each other and accumulation is refused. An output
            head that shares the matrix is not moved.
        still: token ids that are never moved, such as ``tokenizer.all_special_ids``. Padding never is.

    Raises:
        ValueError: no gradient reaches what is to be moved, or data parallelism or checkpointing cannot repeat passes.

    Note:
        No parameter is touched: the move is added by a hook, which goes when the step ends or fails. In an
        encoder-decoder both inputs are moved, and the length of a row's move is that of both together.
    """

    def __init__(self, weight: float, at: Site, still: Sequence[int]) -> None:
        self.weight, self.at, self.still = weight, at, tuple(still)
        self.scope = "micro-batch" if at == "matrix" else "row"  # rows share the move of a matrix

    @property
    def title(self) -> str:
        """In messages."""
        return type(self).__name__

    def prepare(self, trainer: Host) -> None:
        """Finds what is moved."""
        model: Any = trainer.model
        settings = trainer.args
        if getattr(settings, "ddp_static_graph", None):
            raise ValueError(f"{self.title} runs a batch more than once: leave ddp_static_graph=True out")
        checkpointing: Any = settings.gradient_checkpointing_kwargs or {}
        if settings.gradient_checkpointing and checkpointing.get("use_reentrant"):
            raise ValueError(
                f"{self.title} needs gradients of activations, which reentrant checkpointing does not have: "
                'gradient_checkpointing_kwargs={"use_reentrant": False}'
            )
        self._trainer = trainer
        self._modules = self._find(model)
        inner = with_head(model)
        self._decoder: set[nn.Module] = set()
        if getattr(getattr(inner, "config", None), "is_encoder_decoder", False):
            self._decoder = set(inner.get_decoder().modules())

    def _find(self, model: Any) -> list[nn.Module]:
        if isinstance(self.at, nn.Module):
            return [self.at]
        if callable(self.at):
            return [self.at(model)]
        embedding: nn.Module = model.get_input_embeddings()
        # Stacks of an encoder-decoder have embeddings of their own, whose matrix is that of the model.
        tied: list[nn.Module] = [
            m for m in model.modules() if isinstance(m, nn.Embedding) and m.weight is embedding.weight
        ]
        return tied or [embedding]

    def moving(
        self, model: nn.Module, batch: Batch, moves: Sequence[Tensor] | Start = no_move
    ) -> AbstractContextManager[list[Call]]:
        """Passes of a model within are moved; see ``nlpkit.training.adversaries.moves.moving``."""
        return moving(model, self._modules, lambda module, states: self.mask(module, states, batch), moves)

    def gathered(self, calls: Sequence[Call], gradients: Sequence[Tensor | None]) -> tuple[Moves, list[Tensor]]:
        """What may be moved in a pass, and the gradient of it; refuses where there is none."""
        if not any(gradient is not None for gradient in gradients):
            where = ", ".join(sorted({type(module).__name__ for module in self._modules}))
            way_out = f"name a module behind it that is trained: {self.title}(at=lambda model: model...)"
            if not calls:
                raise ValueError(f"{self.title}: {where} did not run in this pass; {way_out}")
            raise ValueError(
                f"{self.title}: no gradient reaches the output of {where}, as where it is frozen and what follows is "
                f"detached, beside a ladder; {way_out}"
            )
        inside = self.at is not None and self.at != "matrix"
        if len(calls) > 1 and inside and self._trainer.args.gradient_checkpointing:
            raise ValueError(
                f"{self.title}: {type(self._modules[0]).__name__} runs {len(calls)} times in a pass, which "
                "checkpointing repeats in another order; train without gradient_checkpointing, or move another module"
            )
        if self.at == "matrix" and any(call.ids is None for call in calls):
            raise ValueError(f'{self.title}(at="matrix") needs a torch.nn.Embedding as the input embedding')
        moves = MatrixMoves(calls) if self.at == "matrix" else RowMoves(calls)
        known = [torch.zeros_like(c.move) if g is None else g for c, g in zip(calls, gradients, strict=True)]
        return moves, moves.gather(known)

    def watch(self, run: Run, model: nn.Module, batch: Batch) -> tuple[Tensor, Moves, list[Tensor]]:
        """Run a batch as it is: its loss, what may be moved, and the direction of the gradient there."""
        with self.moving(model, batch) as calls:
            loss = run(batch)
        return loss, *self.gathered(calls, self.slopes(calls))

    def slopes(self, calls: Sequence[Call]) -> list[Tensor | None]:
        """The gradients of the loss that passes have left at their moves, whatever weight the passes had."""
        scale = self._trainer.scale  # below 0 inside of what takes differences of gradients
        return [None if call.move.grad is None else call.move.grad / scale for call in calls]

    def probe(
        self,
        loss: Callable[[], Tensor],
        model: nn.Module,
        batch: Batch,
        moves: Sequence[Tensor] | Start = no_move,
    ) -> tuple[Moves, list[Tensor]]:
        """The gradient of a loss, which runs a batch, where it is moved; parameters get none."""
        with self.moving(model, batch, moves) as calls:
            value = loss()
            leaves = [call.move for call in calls]
            found = torch.autograd.grad(value, leaves, allow_unused=True) if leaves and value.requires_grad else ()
        return self.gathered(calls, found or [None] * len(calls))

    def per_row(self, moves: Moves, gradient: Sequence[Tensor], items: Items) -> list[Tensor]:
        """A probed gradient as that of each row's summed loss, or of the batch's loss where a matrix is moved."""
        if "loss" not in items:
            raise ValueError(
                f"{self.title} needs gradients of the loss of a row, and this task has several terms with items of "
                f"their own: {', '.join(items)}"
            )
        return [moves.items(items["loss"]) * value for value in gradient]

    def mask(self, module: nn.Module, states: Tensor, batch: Batch) -> Tensor:
        """What may be moved in the output of a module: tokens that are no padding and not to be still."""
        mask = self._tokens(module, batch)
        if mask is None:
            return torch.ones(states.shape[:-1], dtype=torch.bool, device=states.device)
        if len(states) != len(mask):
            raise ValueError(
                f"{self.title}: the output of {type(module).__name__} has shape {tuple(states.shape)}, and the batch "
                f"has {len(mask)} rows; its first dimension must be the rows"
            )
        if states.shape[: mask.dim()] == mask.shape and states.dim() > 2:
            return mask
        return torch.ones(states.shape[:-1], dtype=torch.bool, device=states.device)

    def _tokens(self, module: nn.Module, batch: Batch) -> Tensor | None:
        if module in self._decoder:
            mask, labels = batch.get("decoder_attention_mask"), batch.get("labels")
            if mask is None and labels is not None and batch.get("decoder_input_ids") is None:
                mask = (labels != -100).flip(-1).cumsum(-1).flip(-1) > 0  # up to the last one with a label
            return None if mask is None else mask.bool()
        mask, ids = batch.get("attention_mask"), batch.get("input_ids")
        if mask is None:
            if ids is None:
                return None
            mask = torch.ones_like(ids)
        moved = mask.bool()
        if ids is not None and self.still:
            moved = moved & ~torch.isin(ids, torch.tensor(self.still, device=ids.device))
        return moved.flatten(0, -2) if moved.dim() > 2 else moved
