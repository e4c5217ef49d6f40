"""New rows learnt so that the word model computes what the old model computes on the same text."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from nlpkit.training.attention import fast_attention
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from nlpkit.wobert.wordifying.embedding_surgery import find_pieces
from nlpkit.wobert.wordifying.learnt_rows import LearntRows
from nlpkit.wobert.wordifying.paired_texts import Reading, mean_states, read_batches, read_pairs

_WARM_UP = 5


@dataclass(frozen=True)
class DistillationReport:
    """How new rows were learnt.

    Args:
        steps: optimizer steps.
        texts: texts that the steps read, repeated ones counted again.
        rows_seen: new rows whose words occurred; the others have only what all words share.
        losses: loss of each step: squared distance of the states over their mean square.
    """

    steps: int
    texts: int
    rows_seen: int
    losses: tuple[float, ...]

    def __str__(self) -> str:
        tenth = max(1, self.steps // 10)
        first, last = (sum(part) / tenth for part in (self.losses[:tenth], self.losses[-tenth:]))
        return (
            f"{self.steps:,} steps on {self.texts:,} texts with {self.rows_seen:,} of the new rows; "
            f"loss {first:.4f} -> {last:.4f}"
        )


def distil_rows(
    model: PreTrainedModel,
    tokenizer: WoBertTokenizer,
    teacher: PreTrainedModel,
    teacher_tokenizer: Any,
    new_ids: Sequence[int],
    texts: Iterable[str],
    *,
    steps: int = 50,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    max_length: int = 128,
    learn_bias: bool = True,
    seed: int = 0,
    show_progress: bool = True,
) -> DistillationReport:
    """Learn rows of an embedding so that the model's states equal those of the teacher on the same texts.

    Source: Token Distillation (arXiv 2505.20133), for encoders. Both models read a text in their own tokens; wherever
    both tokenizations end a token, a stretch of text ends, and the loss is the squared distance of the stretches' mean
    last states, divided by the teacher's mean square. All stretches count, those without new words too: their states
    depend on the new rows around them. A new row is where it began, plus linear maps of its pieces' old rows that all
    words share (one map per place in the word, so that order tells), plus a part of its own: words that occur once, or
    never, gain from all others. Where the model has a masked-LM head with a bias, the entries of the new rows are
    learnt beside, by the loss of masked words, of which nothing else gets a gradient.

    Args:
        model: the word model; changed in place, in nothing but the rows and bias entries of ``new_ids``.
        tokenizer: its tokenizer.
        teacher: the old model, of the same hidden size.
        teacher_tokenizer: its tokenizer, a fast one (offsets are needed).
        new_ids: ids of the word model whose rows are learnt.
        texts: read in order, only as far as the steps need; an iterable that can be read again is, from its beginning,
            when it ends early. Texts without a new word are passed over.
        steps: optimizer steps.
        batch_size: texts per step.
        learning_rate: step width of Adam at its height, in units of the embedding's root mean square.
        max_length: of the teacher's tokens per text; what is longer is cut off.
        learn_bias: learn the new entries of the output bias, if there is one; of no use to a head drawn at random.
        seed: of the order of the texts and of the masks.
        show_progress: show a bar with the loss.

    Returns:
        Figures of the run.

    Raises:
        TypeError: ``texts`` is one string or holds what is no string; the teacher's tokenizer has no offsets.
        ValueError: no texts, no text with a new word, a number of steps, a batch size or a rate that is not positive,
            fp16 weights, or an iterator of texts that ends before the steps do.

    Note:
        Works under ``torch.autocast``; the same seed and texts give the same rows on the same machine. Memory: one
        batch's activations, the new rows five times in fp32, the teacher's embedding once, and ``16 x batch_size``
        texts. A step costs about as much as a fine-tuning step and a half.
    """
    _check(model, teacher_tokenizer, new_ids, texts)
    for name, value in (("steps", steps), ("batch_size", batch_size), ("learning_rate", learning_rate)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    pairs = islice(read_pairs(texts, tokenizer, teacher_tokenizer, new_ids, max_length), steps * batch_size)
    readings = read_batches(pairs, batch_size, tokenizer, teacher_tokenizer, random.Random(seed))
    pieces = find_pieces(dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])), teacher_tokenizer)
    old_rows: Any = teacher.get_input_embeddings().weight
    learnt = LearntRows(model, new_ids, [pieces[number] for number in new_ids], old_rows, learn_bias)
    optimizer = torch.optim.Adam(learnt.groups(learning_rate))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * (1 - step / steps)
    )
    masks = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    bar = tqdm(readings, "distilling rows", total=steps, unit=" steps", disable=None if show_progress else True)
    with _frozen(model, teacher), fast_attention(model), learnt.in_place(), bar:
        for reading in bar:
            reading = reading.to(model.device)
            loss = _state_loss(model, teacher, reading)
            (loss + learnt.bias_loss(reading, tokenizer.mask_token_id, masks)).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            learnt.write(reading)
            losses.append(loss.item())
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    return DistillationReport(steps, steps * batch_size, int(learnt.seen.sum()), tuple(losses))


def _state_loss(model: PreTrainedModel, teacher: PreTrainedModel, reading: Reading) -> Tensor:
    with torch.no_grad():
        states = teacher.base_model(**reading.old).last_hidden_state
        wanted = mean_states(states, reading.old_stretches, reading.number)  # (stretches, hidden)
    encoder: Any = model.base_model
    states = encoder(**reading.new).last_hidden_state
    found = mean_states(states, reading.new_stretches, reading.number)
    return (found - wanted).square().mean() / wanted.square().mean()


@contextmanager
def _frozen(*models: PreTrainedModel) -> Iterator[None]:
    """Models in evaluation, none of whose weights takes a gradient; afterwards as they were."""
    modes = [(model, model.training) for model in models]
    taking = [parameter for model in models for parameter in model.parameters() if parameter.requires_grad]
    try:
        for model in models:
            model.eval()
        for parameter in taking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in taking:
            parameter.requires_grad_(True)
        for model, mode in modes:
            model.train(mode)


def _check(model: PreTrainedModel, teacher_tokenizer: Any, new_ids: Sequence[int], texts: Iterable[str]) -> None:
    if isinstance(texts, str):
        raise TypeError("distil is one str; give a list of texts, e.g. [text]")
    if not getattr(teacher_tokenizer, "is_fast", False):
        raise TypeError(
            f"{type(teacher_tokenizer).__name__} gives no offsets, by which the texts' tokens are matched; load the "
            "model's fast tokenizer"
        )
    if model.dtype == torch.float16:
        raise ValueError("rows cannot be learnt in fp16, whose gradients vanish: load the model with dtype='float32'")
    if not len(new_ids):
        raise ValueError("there are no new rows to learn: every token of the vocabulary is a token of the old model")
