"""Which models cannot count: identical tokens go in, and states are compared by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from nlpkit.checked_number import checked_number
from nlpkit.embeddings import refuse_other_than_finite
from nlpkit.probes.positions.constant_texts import (
    MARKS,
    Marks,
    constant_texts,
    exact_copy,
    nudged_embeddings,
    states_of,
    vocabulary_size,
)
from nlpkit.probes.positions.linear_probe import BROKEN, linear_probe
from nlpkit.probes.room import room_for_tokens

#: A gap below this share of the states is called faint.
_FAINT = 1e-3


@dataclass(frozen=True)
class PositionCase:
    """What one stack makes of texts of one repeated token.

    Attributes:
        stack: ``"model"``, or ``"encoder"`` or ``"decoder"``.
        marks: which ends of the texts had a token of their own.
        gap: the largest difference between two positions of a text, in units of the states' root mean square.
        noise: how large a gap can come of rounding alone.
        accuracy: share of positions that a linear probe names right for tokens it has not seen.
        layers: the same of embeddings and after each layer, of which ``accuracy`` is the last; without marks alone.
    """

    stack: str
    marks: Marks
    gap: float
    noise: float
    accuracy: float
    layers: tuple[float, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether positions differ by more than rounding."""
        return self.gap > self.noise

    @property
    def verdict(self) -> str:
        """``"yes"``, ``"faintly"`` where the difference is below a thousandth of the states, or ``"no"``."""
        return "no" if not self.counts else "faintly" if self.gap < _FAINT else "yes"


@dataclass(frozen=True)
class PositionReport:
    """Whether a model can tell positions apart.

    Attributes:
        model: name of its class.
        length: positions of each text.
        cases: one per stack and marks.
    """

    model: str
    length: int
    cases: tuple[PositionCase, ...]

    def case(self, marks: Marks = "none", stack: str = "") -> PositionCase:
        """The case of these marks, of this stack or the first one.

        Raises:
            ValueError: there is no such case.
        """
        for case in self.cases:
            if case.marks == marks and stack in ("", case.stack):
                return case
        known = ", ".join(dict.fromkeys(case.stack for case in self.cases))
        raise ValueError(
            f"no case of marks={marks!r} and stack={stack!r}: marks are {', '.join(MARKS)}, stacks {known}"
        )


def position_identifiability(
    model: PreTrainedModel,
    *,
    length: int = 16,
    texts: int = 256,
    first: int | None = None,
    last: int | None = None,
    show_progress: bool = True,
) -> PositionReport:
    """Measure whether a model's states depend on the position, on texts that are one token repeated.

    Rows of softmax attention sum to 1, so a model that knows positions by attention scores alone makes the same state
    of every one of identical tokens, whatever its scores; so do causal ones. A token of its own at an end breaks it.

    Source: kexue.fm/archives/9105; arXiv 2205.13401 (the task "position identification").

    Args:
        model: of texts; probed in a copy in fp64, without dropout, so that small differences are no rounding.
        length: positions, without marks.
        texts: tokens that are repeated, spread over the vocabulary; the probe learns from one half of them.
        first: the id of a mark before the text; by default, what the configuration calls its beginning, if anything.
        last: the id of a mark behind the text; likewise its end.
        show_progress: draw a progress bar.

    Returns:
        The report, for both stacks of an encoder-decoder. The decoder's is made while the encoder reads a text without
        marks.

    Raises:
        TypeError: a number is none.
        ValueError: there is no room for the length, the vocabulary is too small, the model is none of texts, or its
            states are NaN or infinite.

    Note:
        Memory of a copy of the model in fp64. ``gap`` is about the weights as they are: right after initialisation,
        attention is nearly uniform, and relative positions show faintly even where marks are there. ``accuracy`` is
        about what one direction per position says for all tokens, which absolute positions do, and relative ones need
        not do though states differ.

    Example:
        >>> from transformers import BertConfig, BertModel, T5Config, T5EncoderModel
        >>> bert = BertModel(BertConfig(vocab_size=99, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                             intermediate_size=8))
        >>> position_identifiability(bert, texts=32).case("none").verdict
        'yes'
        >>> t5 = T5EncoderModel(T5Config(vocab_size=99, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
        >>> report = position_identifiability(t5, texts=32)
        >>> report.case("none").verdict, report.case("last").verdict
        ('no', 'yes')
    """
    checked_number("length", length, least=2, whole=True)
    checked_number("texts", texts, least=2, whole=True)
    room = room_for_tokens(model)
    if room is not None and length + 2 > room:
        raise ValueError(f"length={length} and two marks, but {type(model).__name__} has room for {room} tokens")
    base = exact_copy(model)
    rows = vocabulary_size(base)
    marks = (_mark(model, ("bos", "cls", "decoder_start"), first, rows), _mark(model, ("eos", "sep"), last, rows))
    tokens = _ordinary_tokens(model, rows, texts, marks).to(base.device)
    before, behind = (int(tokens[-1 - place]) if mark is None else mark for place, mark in enumerate(marks))
    tokens = tokens[:-2]

    constant = constant_texts(tokens, length, "none", before, behind)
    plain = states_of(base, constant, constant)
    with nudged_embeddings(base):
        nudged = states_of(base, constant, constant)
    noise = {stack: _noise(plain[stack][-1], nudged[stack][-1]) for stack in plain}
    cases = []
    for kind in tqdm(
        MARKS, desc="looking at positions", unit="pass", delay=5, leave=False, disable=None if show_progress else True
    ):
        texts_of_kind = constant_texts(tokens, length, kind, before, behind)
        inner = slice(begin := int(kind in ("first", "both")), begin + length)
        for stack, layers in states_of(base, texts_of_kind, constant).items():
            looked_at = [states[:, inner] for states in (layers if kind == "none" else layers[-1:])]
            accuracies = tuple(linear_probe(states[::2], states[1::2]) for states in looked_at)
            gap = position_gap(looked_at[-1])
            cases.append(
                PositionCase(stack, kind, gap, noise[stack], accuracies[-1], accuracies if kind == "none" else ())
            )
    return PositionReport(type(model).__name__, length, tuple(cases))


def position_gap(states: Tensor) -> float:
    """The largest difference between two positions of a text, in units of the states' root mean square.

    Args:
        states: shape ``(texts, positions, dim)``.

    Returns:
        0 where all states are 0.

    Raises:
        ValueError: a state is NaN or infinite.

    Example:
        >>> position_gap(torch.ones(2, 5, 3)), position_gap(torch.tensor([[[1.0], [-1.0]]]))
        (0.0, 2.0)
    """
    refuse_other_than_finite(states, "states", BROKEN)
    gap = (states.amax(dim=1) - states.amin(dim=1)).max()
    return (gap / states.square().mean().sqrt()).item() if gap else 0.0


def position_table(reports: Mapping[str, PositionReport]) -> Table:
    """Draw reports as a table: a row per stack, and per marks the gap, the probe's accuracy and the verdict.

    Args:
        reports: by what the models are called.

    Returns:
        A table for ``rich.print``.
    """
    table = Table("model", *(TITLES[kind] for kind in MARKS))
    for name, report in reports.items():
        for stack in dict.fromkeys(case.stack for case in report.cases):
            cases = [report.case(kind, stack) for kind in MARKS]
            shown = name if stack == "model" else f"{name}, {stack}"
            table.add_row(shown, *(f"{one.verdict} {one.gap:.0e} {one.accuracy:.0%}" for one in cases))
    return table


#: What cases are called in tables.
TITLES: dict[Marks, str] = {
    "none": "no marks",
    "first": "first token differs",
    "last": "last token differs",
    "both": "both differ",
}


def _noise(states: Tensor, nudged: Tensor) -> float:
    """Ten times what a nudge of the embeddings changes, which is rounding, or of its size."""
    size = states.square().mean().sqrt()
    return 10 * max(((states - nudged).abs().max() / size).item(), 64 * torch.finfo(states.dtype).eps)


def _mark(model: PreTrainedModel, names: Iterable[str], given: int | None, rows: int) -> int | None:
    if given is not None and not 0 <= checked_number("the id of a mark", given, whole=True) < rows:
        raise ValueError(f"the id {given} of a mark is not in the vocabulary of {rows}")
    known = (getattr(model.config.get_text_config(), f"{name}_token_id", None) for name in names)
    found = (one[0] if isinstance(one, list) else one for one in known)
    return given if given is not None else next((one for one in found if one is not None and one < rows), None)


def _ordinary_tokens(model: PreTrainedModel, rows: int, texts: int, marks: Iterable[int | None]) -> Tensor:
    """Ids spread over the vocabulary, among which is none that the configuration names; two more than texts."""
    named = {value for name, value in vars(model.config.get_text_config()).items() if name.endswith("_token_id")
             if isinstance(value, int)}  # fmt: skip
    free = torch.tensor([one for one in range(rows) if one not in named | set(marks)])
    if len(free) < 4:
        raise ValueError(f"a vocabulary of {rows} has fewer than four tokens that mean nothing of their own")
    places = torch.linspace(0, len(free) - 1, min(texts + 2, len(free)) // 2 * 2).long()
    return free[places]
