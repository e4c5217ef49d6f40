"""Virtual adversarial training: predictions must not change where they would change most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.losses.divergences import Divergence
from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.adversaries.moves import Start, stretched, unit
from nlpkit.training.adversaries.noise import row_contents, row_noise
from nlpkit.training.comparison import Comparison
from nlpkit.training.random_state import RandomState
from nlpkit.training.technique import Batch, Host, Items, Run, Terms


class VirtualAdversarial(Adversary):
    """Add the divergence of predictions at moved embeddings from those at the embeddings as they are.

    Source: VAT, arXiv 1704.03976, algorithm 1, and kexue.fm/archives/7466. From noise ``u`` of length 1 per row,
    ``u <- unit(d/du KL(f(x) || f(x + xi u)))``, as often as ``iterations`` says; the term is
    ``KL(f(x) || f(x + epsilon u))``, averaged over items, in which ``f(x)`` has no gradient. No label is needed: rows
    whose labels are -100 count as all others do.

    Args:
        weight: of the divergence.
        epsilon: length of the move of a row, see ``relative``.
        xi: length of the moves by which the direction is found. The post's 10 is of its move of the whole matrix; in
            bf16 take 0.15, since smaller differences are lost.
        relative: whether lengths are shares of the length of what is moved: of a row's embeddings, all its tokens
            together. Otherwise they are in its own units, as in papers: in those 0.5 moves a row by 7% of its length
            in the shipped model, by 0.5% in a T5.
        iterations: 0 leaves the noise as it is drawn.
        divergence: of predictions; ``None`` takes ``Loss.divergence``.
        on: ``"all"`` compares all rows, or in taggers and language models all tokens that are no padding;
            ``"labelled"`` compares items with a label: to the point, and much cheaper, in masked language models.
        at: what is moved, see ``Adversary``; ``"matrix"`` is not to be had, since noise is drawn by rows.
        still: token ids that are not moved, see ``Adversary``.

    Raises:
        ValueError: a matrix is to be moved; batches have no labels column, or the loss names none; or no gradient
            reaches what is to be moved.

    Note:
        A step takes ``iterations + 2`` passes, and one without a backward pass where ``FreeLB`` stands behind, whose
        passes are all moved. All of them have the same dropout, so that the divergence is that of
        the move alone. A row draws its noise by its token ids (``row_noise``), so that micro-batches and processes
        change nothing.

    Example:
        >>> VirtualAdversarial(epsilon=0.05).name
        'virtual_adversarial'
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        epsilon: float = 0.02,
        xi: float = 0.01,
        relative: bool = True,
        iterations: int = 1,
        divergence: Divergence | None = None,
        on: Literal["labelled", "all"] = "all",
        at: Site = None,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(weight, at, still)
        if at == "matrix":
            raise ValueError('VirtualAdversarial draws noise by rows: give at=None or a module, not "matrix"')
        self.epsilon = checked_number("VirtualAdversarial: epsilon", epsilon, least=0)
        self.xi = checked_number("VirtualAdversarial: xi", xi, above=0)
        self.iterations = checked_number("VirtualAdversarial: iterations", iterations, least=0, whole=True)
        self.relative = relative
        self.divergence, self.on = divergence, on
        self._clean: Tensor | None = None
        self._waits = False

    def prepare(self, trainer: Host) -> None:
        """Finds what is moved."""
        super().prepare(trainer)
        self._comparison = Comparison(trainer, self.on, self.divergence, self.title)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: object
    ) -> None:
        """Noise is another one in each step."""
        self._key = f"{args.seed} {state.global_step}"

    def items(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions that are compared, with labels or without."""
        return {self.name: self._comparison.items(batch).sum()}

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Adds nothing; keeps the predictions of the first pass of a step, which is that of the batch as it is."""
        if self._waits:
            self._clean, self._waits = self._comparison.predictions(outputs, batch).detach(), False
        return terms

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then moved."""
        drawn = RandomState()
        if self._is_moved_behind():
            with torch.no_grad():
                self._clean = self._comparison.predictions(run.forward(batch), batch)
            drawn.again()
        else:
            self._waits = True  # the first pass will do
        loss = run(batch)
        moves: Sequence[Tensor] | Start = self._noise(batch, self.epsilon if self.iterations == 0 else self.xi)
        for turn in range(1, self.iterations + 1):
            drawn.again()
            space, gradient = self.probe(lambda: self._divergence(run, batch), model, batch, moves)
            length = self.epsilon if turn == self.iterations else self.xi
            moves = space.spread(stretched(unit(space, gradient), self.reach(space, length)))
        drawn.again()
        with self.moving(model, batch, moves):
            term = self.weight * self._divergence(run, batch) / items[self.name]
            return loss + run.backward(self.name, term)

    def _is_moved_behind(self) -> bool:
        techniques = self._trainer.techniques
        behind = techniques[techniques.index(self) + 1 :]
        return any(isinstance(other, Adversary) and other.active and other.starts_moved for other in behind)

    def _divergence(self, run: Run, batch: Batch) -> Tensor:
        moved = self._comparison.predictions(run.forward(batch), batch)
        assert self._clean is not None
        return self._comparison.divergence(batch, moved).directed(self._clean, moved).sum()

    def _noise(self, batch: Batch, length: float) -> Start:
        contents = row_contents(batch, self.title)

        def start(states: Tensor, mask: Tensor, turn: int) -> Tensor:
            noise = row_noise(contents, mask, states, key=f"{self._key} {turn}")
            unit_noise = noise / noise.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, *[1] * (noise.dim() - 1))
            return self.first_reach(states, mask, length) * unit_noise

        return start
