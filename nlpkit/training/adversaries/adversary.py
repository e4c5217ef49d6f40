"""What adversaries have in common: where they act, and the gradient there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.training.adversaries.moves import Call, MatrixMoves, Moves, RowMoves, Start, moving, no_move, squares
from nlpkit.training.adversaries.slots import Slots
from nlpkit.training.adversaries.tokens import TokenFinder, refuse_several_texts
from nlpkit.training.precision import loss_scale
from nlpkit.training.task_loss.stock_losses import with_head
from nlpkit.training.technique import Batch, Host, Items, Run, Technique

#: The input embedding; ``"matrix"``, its own; a module, its name, or what finds one in the model that is trained.
Site = nn.Module | Callable[[Any], nn.Module] | str | None


class Adversary(Technique):
    """A technique that moves the output of a module against the model.

    Args:
        weight: of what it adds to the loss.
        at: what is moved. ``None`` means the output of the input embedding, where each row (a text) has a move of its
            own, and lengths are those of a row: all its tokens together. A module, its name, or a function of
            the model that finds one: its output, for instance that of the first trained block beside a frozen
            backbone. ``"matrix"`` moves the embedding matrix as kexue.fm/archives/7234 does: equal tokens alike,
            lengths over the whole matrix, so that the rows of a micro-batch depend on each other and accumulation is
            refused. An output head that shares the matrix is not moved.
        still: token ids that are never moved, such as ``tokenizer.all_special_ids``. Padding never is, see
            ``nlpkit.training.adversaries.tokens``.

    Raises:
        TypeError: ``at`` is none of these.
        ValueError: ``at`` names no module; no gradient reaches what is to be moved, since all that follows it runs
            without one, as the backbone beside a ladder (frozen weights alone do not matter); which of it is padding
            cannot be told; or data parallelism or checkpointing cannot repeat passes.

    Note:
        No parameter is touched: the move is added by a hook, which goes when the step ends or fails; with
        ``torch_compile`` hooks stay until training ends, and break the graph where they are. In an
        encoder-decoder both inputs are moved, and the length of a row's move is that of both together.
    """

    #: Whether its first pass is moved already, so that a technique around it does not see the batch as it is.
    starts_moved: ClassVar[bool] = False
    #: Whether lengths of moves are shares of the length of what is moved.
    relative: bool = True
    _looked = False  # at the positions of a first batch

    def __init__(self, weight: float, at: Site, still: Sequence[int]) -> None:
        self.weight = checked_number(f"{self.title}: weight", weight, least=0)
        self.at, self.still = at, tuple(still)
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
        self._embeddings = _input_embeddings(model, needed=self.at is None or self.at == "matrix")
        self._modules = self._embeddings if self.at is None or self.at == "matrix" else [self._module(model)]
        decoder = _decoder(with_head(model))
        heard = list(dict.fromkeys([*self._embeddings, *self._modules]))
        self._slots = Slots([] if decoder is None else [decoder], heard)

    def _module(self, model: nn.Module) -> nn.Module:
        """The one that is named, or found by a function."""
        if isinstance(self.at, str):
            names = {name: module for name, module in model.named_modules() if name}
            if self.at not in names:
                near = " or ".join(repr(name) for name in get_close_matches(self.at, ["matrix", *names], 2, 0.5))
                raise ValueError(
                    f'{self.title}: at={self.at!r} is neither "matrix" nor the name of a module of '
                    f"{type(model).__name__}{f': is it {near}?' if near else ', see model.named_modules()'}"
                )
            return names[self.at]
        found = self.at(model) if callable(self.at) and not isinstance(self.at, nn.Module) else self.at
        if not isinstance(found, nn.Module):
            made = "" if found is self.at else ", which a function has returned"
            raise TypeError(
                f"{self.title}: at= is a {type(found).__name__}{made}: give None (the output of the input embedding), "
                '"matrix", a module, its name, or a function of the model that returns one'
            )
        return found

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """A model that is compiled must have its hooks before it runs."""
        if args.torch_compile:
            self._slots.keep()

    def leave(self) -> None:
        """Takes the hooks of a compiled model away."""
        self._slots.remove()

    def moving(
        self, model: nn.Module, batch: Batch, moves: Sequence[Tensor] | Start = no_move
    ) -> AbstractContextManager[list[Call]]:
        """Passes of a model within are moved; see ``nlpkit.training.adversaries.moves.moving``."""
        if not self._looked and self.at != "matrix":
            self._looked = True
            refuse_several_texts(self.title, batch)
        tokens = TokenFinder(self.title, batch, embeddings=self._embeddings, still=self.still)
        return moving(model, self._modules, self._slots, tokens, moves)

    def gathered(self, calls: Sequence[Call], gradients: Sequence[Tensor | None]) -> tuple[Moves, list[Tensor]]:
        """What may be moved in a pass, and the gradient of it; refuses where there is none."""
        if not any(gradient is not None for gradient in gradients):
            where = ", ".join(sorted({type(module).__name__ for module in self._modules}))
            way_out = f"name a module further on that is trained: {self.title}(at=lambda model: model...)"
            if not calls and self._trainer.args.torch_compile:
                way_out += (
                    ", or call torch.compiler.reset() before training, if torch_compile has seen the model without"
                )
            if not calls:
                raise ValueError(f"{self.title}: {where} did not run in this pass; {way_out}")
            raise ValueError(
                f"{self.title}: no gradient reaches the output of {where}, since all that follows it runs without one "
                f"or is detached, as the backbone beside a ladder (that it is frozen would not matter); {way_out}"
            )
        inside = self.at is not None and self.at != "matrix"
        if len(calls) > 1 and inside and self._trainer.args.gradient_checkpointing:
            raise ValueError(
                f"{self.title}: {type(self._modules[0]).__name__} runs {len(calls)} times in a pass, which "
                "checkpointing repeats in another order; train without gradient_checkpointing, or move another module"
            )
        if self.at == "matrix" and not all(isinstance(module, nn.Embedding) for module in self._modules):
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
            if not leaves or not value.requires_grad:
                return self.gathered(calls, [None] * len(calls))
            scale = loss_scale(self._trainer)
            found = torch.autograd.grad(value * scale, leaves, allow_unused=True)
        return self.gathered(calls, [None if gradient is None else gradient / scale for gradient in found])

    def reach(self, moves: Moves, length: float) -> Tensor | float:
        """A length in units of what is moved: one per row, one for a matrix, or one for all."""
        return length * moves.own_lengths if self.relative else length

    def first_reach(self, states: Tensor, mask: Tensor, length: float) -> Tensor | float:
        """Likewise before a pass, at a call that has just come: one per row, as a factor of its states."""
        if not self.relative:
            return length
        own = squares(states, mask).reshape(len(mask), -1).sum(dim=1).sqrt()
        return length * own.view(-1, *[1] * (states.dim() - 1))

    def per_row(self, moves: Moves, gradient: Sequence[Tensor], items: Items) -> list[Tensor]:
        """A probed gradient as that of each row's summed loss, or of the batch's loss where a matrix is moved."""
        if "loss" not in items:
            raise ValueError(
                f"{self.title} needs gradients of the loss of a row, and this task has several terms with items of "
                f"their own: {', '.join(items)}"
            )
        return [moves.items(items["loss"]) * value for value in gradient]


def _input_embeddings(model: Any, *, needed: bool) -> list[nn.Module]:
    """The input embedding; stacks of an encoder-decoder have some of their own, whose matrix is that of the model."""
    try:
        embedding: nn.Module = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # models of anything but tokens
        if needed:
            raise
        return []
    matrix = getattr(embedding, "weight", None)
    tied: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Embedding) and m.weight is matrix]
    return tied or [embedding]


def _decoder(model: Any) -> nn.Module | None:
    """The second of two stacks; encoders of a family that has two have none, whatever they call it."""
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return None
    decoder: nn.Module = model.get_decoder()
    return None if model.get_encoder() in set(decoder.modules()) else decoder
