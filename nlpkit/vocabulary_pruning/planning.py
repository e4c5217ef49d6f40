"""Which ids of a model are kept, and the tokenizer that is left."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from nlpkit.one_text import list_of_texts, refuse_one_text
from nlpkit.scale import Engine
from nlpkit.vocabulary_pruning.counting.choosing import check_choice, choose_tokens, closed
from nlpkit.vocabulary_pruning.counting.token_counts import count_tokens
from nlpkit.vocabulary_pruning.id_map import IdMap, fingerprint
from nlpkit.vocabulary_pruning.measuring import compare_cuts
from nlpkit.vocabulary_pruning.models.configs import named_ids, settings_of_model
from nlpkit.vocabulary_pruning.models.refusals import refuse_sizes
from nlpkit.vocabulary_pruning.models.rows import rows_of
from nlpkit.vocabulary_pruning.report import PruningReport, TextChanges
from nlpkit.vocabulary_pruning.tokenizers.loading import chat_tokens, tokenizer_like
from nlpkit.vocabulary_pruning.tokenizers.tokenizer_file import (
    needed_tokens,
    needs_of_tokens,
    plain_backend,
    pruned_content,
    read_tokenizer,
    token_names,
)

_SAMPLED, _EACH = 2000, 20
_COMPLETED = "complete_tokens (on the command line, --complete) adds"


class Selection(NamedTuple):
    """How tokens are chosen: what ``prune_vocabulary`` takes under these names."""

    corpus: Iterable[str] | None = None
    keep: Iterable[int] | None = None
    min_count: int | None = None
    coverage: float | None = None
    size: int | None = None
    multiple_of: int = 8
    held_out: Iterable[str] | None = None
    processes: int | Engine = 1
    show_progress: bool = True

    def choice(self) -> dict[str, Any]:
        """What ``choose_tokens`` takes of it, with the default where nothing is given."""
        limits = {"min_count": self.min_count, "coverage": self.coverage, "size": self.size}
        if all(limit is None for limit in limits.values()):
            limits["min_count"] = 1
        return limits | {"multiple_of": self.multiple_of}


class Plan(NamedTuple):
    """What is kept."""

    ids: IdMap
    tokenizer: PreTrainedTokenizerFast
    kind: str
    tokens: tuple[int, int]
    corpus: TextChanges | None
    held_out: TextChanges | None

    def report(self, parameters: tuple[int, int], size: tuple[int, int], difference: float | None) -> PruningReport:
        """The report, given how many parameters and bytes there were and are."""
        rows = self.ids.old_rows, len(self.ids.kept)
        texts = self.corpus, self.held_out
        return PruningReport(self.kind, *self.tokens, *rows, *parameters, *size, *texts, difference)


def plan(tokenizer: Any, settings: Sequence[Mapping[str, Any]], rows: int, selection: Selection) -> Plan:
    """Choose the tokens and make the tokenizer.

    Args:
        tokenizer: the model's.
        settings: of the model and its generation, as JSON has them.
        rows: of the model.
        selection: how to choose.

    Raises:
        TypeError, ValueError: as of ``prune_vocabulary``.
    """
    content = read_tokenizer(tokenizer)
    names = token_names(content)
    refuse_sizes(max(names) + 1, rows)
    always, needs = _always(tokenizer, content, settings, rows), needs_of_tokens(content)
    backend = plain_backend(content)
    held_out = None if selection.held_out is None else _texts(selection.held_out)
    sample: list[str] = []
    if (selection.corpus is None) == (selection.keep is None):
        raise ValueError("give either corpus, texts whose tokens are counted, or keep, the ids that are kept")
    if selection.keep is not None:
        kept = _check_keep(selection, content, always, rows)
    else:
        assert selection.corpus is not None
        how: dict[str, Any] = selection.choice()
        check_choice(len(closed(always, needs)), **how)  # now, not after the counting
        counted = count_tokens(
            _sampling(selection.corpus, sample),
            backend,
            processes=selection.processes,
            show_progress=selection.show_progress,
        )
        kept = choose_tokens(counted.counts, always, needs, **how)
    ids = IdMap(tuple(kept), rows, fingerprint(content))
    left = pruned_content(content, kept)
    made, after = tokenizer_like(tokenizer, left), plain_backend(left)

    def compared(texts: list[str] | None) -> TextChanges | None:
        return None if texts is None else compare_cuts(texts, backend, after, ids.new_ids)

    tokens = len(names), sum(number in names for number in kept)
    return Plan(ids, made, content["model"]["type"], tokens, compared(sample or None), compared(held_out))


def complete_tokens(model: PreTrainedModel, tokenizer: Any, keep: Iterable[int]) -> list[int]:
    """Ids with all that the model and its tokenizer need beside them.

    These are special and added tokens, bytes, digits, ids that settings and chat template name, and for each token
    what it is merged from, or its characters.

    Args:
        model: whose settings name ids.
        tokenizer: the model's.
        keep: ids.

    Returns:
        The ids, ascending: a ``keep`` that ``prune_vocabulary`` takes.
    """
    return completed(tokenizer, settings_of_model(model), rows_of(model), keep)


def completed(tokenizer: Any, settings: Sequence[Mapping[str, Any]], rows: int, keep: Iterable[int]) -> list[int]:
    """As ``complete_tokens``, of a model of which only the settings are at hand."""
    content = read_tokenizer(tokenizer)
    always = _always(tokenizer, content, settings, rows)
    return sorted(closed(always | _ids_within(keep, rows), needs_of_tokens(content)))


def _always(tokenizer: Any, content: Mapping[str, Any], settings: Sequence[Mapping[str, Any]], rows: int) -> set[int]:
    named = set[int]().union(*(named_ids(one, rows) for one in settings))
    return needed_tokens(content) | chat_tokens(tokenizer) | named


def _texts(held_out: Iterable[str]) -> list[str]:
    """The texts, all of which a tokenizer can read."""
    _refuse_files("held_out", held_out)
    texts = list_of_texts("held_out", held_out)
    if not any(map(str.strip, texts)):
        raise ValueError("held_out holds no text; give texts like those that will be read, or leave it out")
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"held_out holds half of a surrogate pair, in {text[:30]!r}; repair the text") from error
    return texts


def _refuse_files(name: str, texts: Iterable[str]) -> None:
    """Names of files in place of their lines are texts like any other, of which few tokens would be left."""
    if isinstance(texts, Sequence) and texts and all(_is_file(text) for text in texts):
        raise ValueError(
            f"{name} lists files, {str(texts[0])!r} first, and would be read as texts; give their lines, as "
            "nlpkit.scale.TextFiles(files) reads them"
        )


def _is_file(text: object) -> bool:
    return isinstance(text, Path) or (isinstance(text, str) and 0 < len(text) < 256 and Path(text).is_file())


def _sampling(texts: Iterable[str], sample: list[str]) -> Iterator[str]:
    """The texts, of which some are put into the sample as they pass."""
    refuse_one_text("corpus", texts)
    _refuse_files("corpus", texts)
    for number, text in enumerate(texts):
        if number % _EACH == 0 and len(sample) < _SAMPLED:
            sample.append(text)
        yield text


def _check_keep(selection: Selection, content: Mapping[str, Any], always: set[int], rows: int) -> list[int]:
    """The ids to keep, where they are given; nothing is added to them."""
    given = {"min_count": selection.min_count, "coverage": selection.coverage, "size": selection.size}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}={value} chooses by counts; keep names the ids itself: leave {name}=None")
    assert selection.keep is not None
    kept = _ids_within(selection.keep, rows)
    needs, names = needs_of_tokens(content), token_names(content)
    lacking = sorted(always - kept)
    if lacking:
        some = ", ".join(f"{names.get(number, 'a row')!r} ({number})" for number in lacking[:5])
        raise ValueError(
            f"keep lacks {len(lacking)} ids that model and tokenizer cannot go without (special and added tokens, "
            f"bytes, digits, ids in settings and chat template): {some}; {_COMPLETED} them"
        )
    if content["model"]["type"] == "BPE":
        for number in sorted(kept):
            parts = set(needs(number)) - kept
            if parts:
                raise ValueError(
                    f"keep lacks {names[min(parts)]!r} ({min(parts)}), from which {names[number]!r} is merged: texts "
                    "would be cut otherwise; {_COMPLETED} such tokens"
                )
    return sorted(kept)


def _ids_within(keep: Iterable[int], rows: int) -> set[int]:
    """The ids that were given, all of which the model has."""
    kept = {_id(number) for number in keep}
    if outside := sorted(number for number in kept if not 0 <= number < rows):
        raise ValueError(f"keep holds {outside[0]}; ids of this model run from 0 to {rows - 1}")
    return kept


def _id(number: object) -> int:
    """An id as a whole number, whatever kind of whole number it is: numpy's and torch's, too."""
    try:
        if isinstance(number, bool | np.bool):
            raise TypeError
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"keep holds {number!r}; it must hold ids, as tokenizer.convert_tokens_to_ids gives them"
        ) from None
