"""New rows learnt so that the word model computes what the old model computes on the same text."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from nlpkit.modes import evaluating
from nlpkit.training.attention import fast_attention
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from nlpkit.wobert.wordifying.embedding_surgery import find_pieces
from nlpkit.wobert.wordifying.learnt_rows import LearntRows
from nlpkit.wobert.wordifying.paired_texts import Reading, mean_states, read_batches, read_pairs
from nlpkit.wobert.wordifying.source_model import room_for_tokens

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
    max_length: int | None = None,
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
        max_length: of the teacher's tokens per text; what is longer is cut off. ``None`` means 128, or fewer where a
            model has fewer positions.
        learn_bias: learn the new entries of the output bias, if there is one; of no use to a head drawn at random.
        seed: of the order of the texts and of the masks.
        show_progress: show a bar with the loss.

    Returns:
        Figures of the run.

    Raises:
        TypeError: ``texts`` is one string, a table or a mapping, or holds what is no string; the teacher's tokenizer
            has no offsets.
        ValueError: no texts, no text with a new word, a number of steps or a batch size that is no positive whole
            number, a rate that is not positive, fp16 weights, a model that passes no gradient to its embedding in
            evaluation mode, or an iterator of texts that ends before the steps do.

    Note:
        Works under ``torch.autocast``; the same seed and texts give the same rows on the same machine. Memory: one
        batch's activations, the new rows five times in fp32, the teacher's embedding once, and ``16 x batch_size``
        texts. A step costs about as much as a fine-tuning step and a half.
    """
    check_distillation(model, tokenizer, teacher_tokenizer, texts, steps, batch_size)
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {learning_rate}")
    if not len(new_ids):
        raise ValueError(
            "there are no new rows to learn: every token of the vocabulary is one of the old model's, or unknown to it"
        )
    if max_length is None:
        max_length = min(128, *(room for each in (model, teacher) if (room := room_for_tokens(each)) is not None))
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
    with torch.enable_grad(), _frozen(model, teacher), fast_attention(model), learnt.in_place(), bar:
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
        states = teacher.base_model(**reading.old)[0]  # whatever return_dict says
        wanted = mean_states(states, reading.old_stretches, reading.number)  # (stretches, hidden)
    encoder: Any = model.base_model
    states = encoder(**reading.new)[0]
    found = mean_states(states, reading.new_stretches, reading.number)
    return (found - wanted).square().mean() / wanted.square().mean()


@contextmanager
def _frozen(*models: PreTrainedModel) -> Iterator[None]:
    """Models in evaluation, none of whose weights takes a gradient; afterwards as they were."""
    taking = [parameter for model in models for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in taking:
            parameter.requires_grad_(False)
        with evaluating(*models):
            yield
    finally:
        for parameter in taking:
            parameter.requires_grad_(True)


def check_distillation(
    model: PreTrainedModel, tokenizer: Any, teacher_tokenizer: Any, texts: Any, steps: Any, batch_size: Any = 1
) -> None:
    """Refuse what no row can be learnt from, before any work is done.

    Args:
        model: the word model, or the model that it will be made from.
        tokenizer: its tokenizer.
        teacher_tokenizer: the old model's.
        texts: as for ``distil_rows``; so are the others.
        steps: likewise.
        batch_size: likewise.

    Raises:
        TypeError: as of ``distil_rows``.
        ValueError: likewise.
    """
    if isinstance(texts, str | Path):
        raise TypeError(f"distil is one {type(texts).__name__}; give a list of texts, e.g. [text]")
    if isinstance(texts, Mapping) or hasattr(texts, "columns"):
        raise TypeError(f"distil is a {type(texts).__name__}; give the texts alone, e.g. distil[column]")
    if not isinstance(texts, Iterable):
        raise TypeError(f"distil is no iterable of texts, but {texts!r}")
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")
    if not getattr(teacher_tokenizer, "is_fast", False):
        raise TypeError(
            f"{type(teacher_tokenizer).__name__} gives no offsets, by which the texts' tokens are matched; load the "
            "model's fast tokenizer"
        )
    if model.dtype == torch.float16:
        raise ValueError("rows cannot be learnt in fp16, whose gradients vanish: load the model with dtype='float32'")
    if torch.is_inference_mode_enabled():
        raise ValueError("rows are learnt by gradients: call this outside of torch.inference_mode()")
    _check_gradient(model, tokenizer)


def _check_gradient(model: PreTrainedModel, tokenizer: Any) -> None:
    """Refuse models that cannot be trained in evaluation mode, in which both models are compared."""
    encoder: Any = model.base_model
    ids = torch.tensor([[tokenizer.cls_token_id, tokenizer.sep_token_id]], device=model.device)
    with torch.enable_grad(), _frozen(model):
        shift = torch.zeros(1, device=model.device, requires_grad=True)
        handle = encoder.get_input_embeddings().register_forward_hook(lambda _, __, out: out + shift.to(out.dtype))
        try:
            states = encoder(input_ids=ids)[0]
            torch.autograd.grad(states.float().square().sum(), shift)
        except Exception as error:  # whatever a model raises that trains otherwise
            raise ValueError(
                f"distil= passes gradients through the model in evaluation mode, which {type(model).__name__} does "
                f"not allow ({error}); leave distil= out"
            ) from error
        finally:
            handle.remove()
