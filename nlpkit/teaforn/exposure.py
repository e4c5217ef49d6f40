"""Exposure bias: what a model knows after right tokens, and after its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from nlpkit.losses.loss import at_least_fp32
from nlpkit.modes import evaluating
from nlpkit.teaforn.decoder import Runner, decoder_runner
from nlpkit.training.task_loss.stock_losses import with_head


class Exposure(NamedTuple):
    """Losses by position of a target, from its first token on.

    Attributes:
        gold: nats of the right token after right tokens, shape ``(positions,)``.
        own: nats of the right token after as many of the model's own.
        agreement: share of rows whose own token is the right one.
        rows: how many counted at each position.
    """

    gold: NDArray[np.float64]
    own: NDArray[np.float64]
    agreement: NDArray[np.float64]
    rows: NDArray[np.int64]

    @property
    def gap(self) -> float:
        """Nats per token that a model loses by reading itself."""
        return float(((self.own - self.gold) * self.rows).sum() / max(1, self.rows.sum()))


def measure_exposure(
    model: Any, batches: Iterable[Mapping[str, Any]], *, end: int | None = None, show_progress: bool = True
) -> Exposure:
    """Let a model write greedily in place of each target, and compare its losses after both.

    The model's own text is compared with the target position by position, so that a text which is right, but has a
    word more, is charged for it: look at the growth by position, and at the score of the texts beside it.

    Args:
        model: that writes; see ``decoder_runner``. It is in evaluation mode meanwhile.
        batches: with labels, on the model's device.
        end: the token by which a text ends; ``None`` takes that of the model. Rows count up to the end of their own
            text or of the target, whichever comes first.
        show_progress: a bar over batches.

    Returns:
        Means over rows; positions to which no row comes are left out.

    Raises:
        ValueError: the model or a batch cannot be used, or there is no label.

    Note:
        A pass of the decoder for each token of the longest target, without a cache, whatever the family.

    Example:
        >>> from transformers import T5Config, T5ForConditionalGeneration
        >>> _ = torch.manual_seed(0)
        >>> model = T5ForConditionalGeneration(T5Config(
        ...     vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0))
        >>> batch = {"input_ids": torch.tensor([[5, 6]]), "labels": torch.tensor([[7, 8, 1]])}
        >>> found = measure_exposure(model, [batch], show_progress=False)
        >>> bool(found.gold[0] == found.own[0]), found.rows.tolist()  # nothing has been read yet
        (True, [1, 1, 1])
    """
    ends = _ends(model, end)
    parts = []
    with evaluating(model), torch.inference_mode():
        for batch in tqdm(batches, desc="measuring exposure", unit="batch", disable=None if show_progress else True):
            parts.append(_by_row(decoder_runner(model, batch), ends))
    longest = max((part.shape[2] for part in parts), default=0)
    if not longest:
        raise ValueError("no batch has a label, so that there is no target to compare with")
    cells = np.concatenate([np.pad(part, ((0, 0), (0, 0), (0, longest - part.shape[2]))) for part in parts], axis=1)
    gold, own, agreement, counted = cells.sum(axis=1)  # (positions,) each
    here = counted > 0
    gold, own, agreement, counted = (values[here] for values in (gold, own, agreement, counted))
    if here[0] and not np.isclose(gold[0], own[0], rtol=1e-3, atol=1e-3 * counted[0]):
        raise ValueError(
            f"{type(with_head(model)).__name__} foresees its first token otherwise when later ones change, so that it "
            "does not write from left to right"
        )
    return Exposure(gold / counted, own / counted, agreement / counted, counted.astype(np.int64))


def _by_row(runner: Runner, ends: Tensor) -> NDArray[np.float64]:
    """Losses after both, agreement, and what counts, shape ``(4, rows, tokens of the longest target)``."""
    labels, told = runner.labels, runner.labels != -100
    gold = _losses(runner, runner.embeddings)
    own, embeddings = _written(runner)
    before = torch.isin(own, ends.to(own.device)) & told
    counted = told & (before.long().cumsum(1) - before.long() == 0)
    after = _losses(runner, embeddings)
    places = told.long().cumsum(1) - 1  # of a token in its target
    values = torch.stack([gold.double(), after.double(), (own == labels).double(), torch.ones_like(gold).double()])
    cells = torch.zeros(4, len(labels), int(told.sum(1).max()), dtype=torch.float64, device=labels.device)
    rows = torch.arange(len(labels), device=labels.device).unsqueeze(1).expand_as(labels)[counted]
    cells[:, rows, places[counted]] = values[:, counted]
    found: NDArray[np.float64] = cells.cpu().numpy()
    return found


def _losses(runner: Runner, embeddings: Tensor) -> Tensor:
    """Nats of each label, shape ``(batch, length)``."""
    logits = runner.run(embeddings).logits
    assert logits is not None  # of a runner
    return F.cross_entropy(at_least_fp32(logits).transpose(1, 2), runner.labels, reduction="none")


def _written(runner: Runner) -> tuple[Tensor, Tensor]:
    """The model's own tokens at the positions of the labels, and the embeddings of what it has read for them."""
    embeddings, own = runner.embeddings.clone(), runner.labels.clone()
    for place in range(runner.labels.shape[1]):
        if not (runner.labels[:, place] != -100).any():
            continue
        logits = runner.run(embeddings).logits
        assert logits is not None  # of a runner
        own[:, place] = logits[:, place, : runner.vocabulary.size].argmax(-1)
        if place + 1 < embeddings.shape[1]:
            read = runner.replaced[:, place + 1].unsqueeze(-1)
            embeddings[:, place + 1] = torch.where(
                read, runner.vocabulary.embed(own[:, place]), embeddings[:, place + 1]
            )
    return own, embeddings


def _ends(model: Any, end: int | None) -> Tensor:
    inner = with_head(model)
    known = getattr(getattr(inner, "generation_config", None), "eos_token_id", None)
    known = getattr(inner.config, "eos_token_id", None) if known is None else known
    ends = known if end is None else end
    return torch.as_tensor([] if ends is None else ends, dtype=torch.long).flatten()
