"""FreeLB: every step against the model trains it, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.training.adversaries.adversary import Site
from nlpkit.training.adversaries.noise import row_contents, row_noise
from nlpkit.training.adversaries.steps import SteppingAdversary
from nlpkit.training.random_state import RandomState
from nlpkit.training.technique import Batch, Items, Run


class FreeLB(SteppingAdversary):
    """Train on every batch where several steps against the model lead, from a random start, on the mean of them all.

    Source: FreeLB, arXiv 1909.11764, algorithm 1. The gradient of parameters is the mean of those at
    ``x + r_0, ..., x + r_{K-1}``, in which ``r_0`` is uniform noise in ``(-epsilon, epsilon) / sqrt(n)``, for the
    ``n`` numbers of a row, and ``r_{k+1}`` is ``r_k + step_size * g / ||g||``, brought back to the length ``epsilon``
    if it is longer. The loss as it is does not count.

    Args:
        epsilon: the longest move of a row, see ``relative``.
        weight: of the whole loss.
        steps: the paper's K.
        step_size: the paper's alpha; ``None`` means ``1.5 * epsilon / steps``, whatever ``epsilon`` becomes.
        relative: whether lengths are shares of the length of what is moved: of a row's embeddings, all its tokens
            together, or of the tokens' rows of the matrix. Otherwise they are in its own units, as in papers: in those
            0.5 moves a row by 7% of its length in the shipped model, by 0.5% in a T5.
        at: what is moved, see ``Adversary``; ``"matrix"`` is not to be had, since noise is drawn by rows.
        still: token ids that are not moved, see ``Adversary``.

    Raises:
        ValueError: there is no step, or a matrix is to be moved; or no gradient reaches what is to be moved.

    Note:
        A step of training takes ``steps`` passes. A row draws its noise by its token ids (``row_noise``), so that
        micro-batches and processes change nothing. All passes have the same dropout, as in the paper.

    Example:
        >>> FreeLB(steps=2).name
        'free_lb'
    """

    starts_moved = True

    def __init__(
        self,
        epsilon: float = 0.02,
        weight: float = 1.0,
        *,
        steps: int = 3,
        step_size: float | None = None,
        relative: bool = True,
        at: Site = None,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(epsilon, weight, steps=steps, step_size=step_size, relative=relative, at=at, still=still)
        if at == "matrix":
            raise ValueError('FreeLB draws noise by rows: give at=None or a module, not "matrix"')

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: object
    ) -> None:
        """Noise is another one in each step."""
        self._key = f"{args.seed} {state.global_step}"

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch at every move."""
        contents = row_contents(batch, self.title)

        def start(states: Tensor, mask: Tensor, turn: int) -> Tensor:
            noise = row_noise(contents, mask, states, key=f"{self._key} {turn}", draw=torch.rand)
            numbers = mask.flatten(1).sum(dim=1) * states[0].numel() / mask[0].numel()
            size = numbers.clamp(min=1).rsqrt().view(-1, *[1] * (states.dim() - 1))
            size = size * self.first_reach(states, mask, self.epsilon)
            tokens = mask.view(*mask.shape, *[1] * (states.dim() - mask.dim()))
            return torch.where(tokens, size * (2 * noise - 1), 0.0)

        total = torch.zeros((), device=self._trainer.args.device)
        moving = self.moving(model, batch, start)
        drawn = RandomState()
        for _ in range(self.steps):
            drawn.again()
            with moving as calls:
                total = total + run(batch, weight=self.weight / self.steps, name=self.name)
            moves, gradient = self.gathered(calls, self.slopes(calls))
            move = moves.gather([call.move.detach() for call in calls])
            moving = self.moving(model, batch, moves.spread(self.stepped(move, moves, gradient)))
        return total
