"""The trees of perturbed masking: what ``PerturbedMasking`` makes of its matrices besides words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from nlpkit.perturbed_masking.distortion.engine import Distortion, measure_distortions
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.engine import Impact
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.impact.processes import Processes
from nlpkit.perturbed_masking.impact.units import TextOrWords, Units, UnitTokenizer
from nlpkit.perturbed_masking.parses import Parse
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.trees.corrections import relative_to_mean
from nlpkit.perturbed_masking.trees.decoders import (
    Marks,
    choose_decoder,
    constituents_by_vote,
    heads_by_vote,
    named_decoders,
)
from nlpkit.perturbed_masking.trees.distorted_spans import least_distorted
from nlpkit.perturbed_masking.trees.votes import vote_on_constituents
from nlpkit.perturbed_masking.words.script import kind_of

if TYPE_CHECKING:
    from nlpkit.perturbed_masking.trees.tree import Tree

Found = TypeVar("Found", Impact, Distortion)
#: The decoder of constituents that takes no impact matrix.
DISTORTION = "distortion"


class Parsing:
    """Dependencies, constituents and whole parses of sentences; a part of ``PerturbedMasking``."""

    encoder: MaskedEncoder
    tokenizer: PreTrainedTokenizerBase
    units: UnitTokenizer
    processes: Processes
    batch_tokens: int | None
    #: What trees are decoded from: the measure that was chosen, or every layer, each of which then has a vote.
    voters: Sequence[Measure]
    iter_measures: Callable[..., Iterator[Impact]]
    progress: Callable[..., tqdm[NoReturn]]

    def dependencies(
        self,
        sentences: Iterable[TextOrWords],
        decoder: str | Callable[..., list[int]] = "leaning_eisner",
        *,
        marks: Marks = "root",
        **options: object,
    ) -> list[list[int]]:
        """Dependency trees, of the measure that was chosen, or by a vote of all layers where none was.

        Args:
            sentences: as for ``impact``.
            decoder: ``"leaning_eisner"``, ``"eisner"`` (both projective), ``"edmonds"``, or a function of an impact
                matrix.
            marks: ``"root"`` parses the words alone and attaches punctuation to their root, ``"words"`` treats it as
                words.
            **options: passed to the decoder (``nlpkit.perturbed_masking.trees.dependencies``).

        Returns:
            For each sentence the head of each unit, 1-based, 0 for the root.

        Raises:
            ValueError: the decoder is unknown, or a function's answer is no tree; and as ``impact``.
        """
        decode = choose_decoder("dependencies", decoder)
        return [
            heads_by_vote(matrices, decode, units.words, marks=marks, **options)
            for units, matrices in self.iter_measures(sentences, self.voters)
        ]

    def constituents(
        self,
        sentences: Iterable[TextOrWords],
        decoder: str | Callable[..., Tree] = "leaning_cky",
        **options: object,
    ) -> list[Tree]:
        """Constituency trees, of the measure that was chosen, or by a vote of all layers where none was.

        Args:
            sentences: as for ``impact``, none of them empty.
            decoder: ``"leaning_cky"``, ``"cky"``, ``"top_down"``, ``"mart"`` (from the top, biased to the right), a
                function of an impact matrix; or ``"distortion"``, contextual distortion in place of impact, which
                takes four times as long.
            **options: passed to the decoder (``nlpkit.perturbed_masking.trees.constituents``).

        Returns:
            A binary tree for each sentence, over its units.

        Raises:
            ValueError: the decoder is unknown, a function's answer is no tree of the units, or a sentence has none;
                and as ``impact``.
        """
        if decoder == DISTORTION:
            distortions = _none_empty(self.iter_distortions(sentences))
            return [_least_distorted(found, **options) for found in distortions]
        decode = choose_decoder("constituents", decoder)
        impacts = _none_empty(self.iter_measures(sentences, self.voters))
        return [constituents_by_vote(found.matrices, decode, **options) for found in impacts]

    def iter_parses(
        self, sentences: Iterable[TextOrWords], decoder: str = "leaning_eisner", **options: object
    ) -> Iterator[Parse | None]:
        """Parses that can be written and drawn, one at a time and in bounded memory.

        Args:
            sentences: as for ``impact``.
            decoder: a name, of ``dependencies`` or of ``constituents``.
            **options: as for these.

        Yields:
            For each sentence its words, tree, and impact, that of several layers as their mean in units of each
            layer's mean; ``None`` for each in which the tokenizer finds no unit.
        """
        if decoder == DISTORTION:
            for units, tables in self.iter_distortions(sentences):
                tree = _least_distorted(Distortion(units, tables), **options) if len(units) else None
                yield Parse(_sentence_of(units), None, tree) if tree else None
            return
        finds_heads = decoder in named_decoders("dependencies")
        decode = choose_decoder("dependencies" if finds_heads else "constituents", decoder)
        for units, matrices in self.iter_measures(sentences, self.voters):
            if len(units) == 0:
                yield None
            elif finds_heads:
                heads = heads_by_vote(matrices, decode, units.words, **options)  # type: ignore[arg-type]
                yield Parse(_sentence_of(units), _in_one(matrices), heads)
            else:
                yield Parse(_sentence_of(units), _in_one(matrices), constituents_by_vote(matrices, decode, **options))

    def iter_distortions(self, sentences: Iterable[TextOrWords], layers: Sequence[int] = ()) -> Iterator[Distortion]:
        """How much the words of a sentence change where a span of it is replaced, left alone or moved.

        Source: Li and Lu (2023), arXiv 2306.00645.

        Args:
            sentences: as for ``impact``.
            layers: hidden layers to compare, from 1; by default that of the measure that was chosen, or all.

        Yields:
            For each sentence its units and a table per layer, ``(layers, n, n + 1)``.

        Raises:
            ValueError: the measure is not of Euclidean distances; or a sentence is too long by itself or with the
                two commas that moving needs.

        Note:
            About ``2 n²`` passes per sentence, four times as many as impact. ``overlong="split"`` is of no use here.
        """
        if not layers and self.voters[0].distance != "euclidean":
            raise ValueError(f"distance={self.voters[0].distance!r} is not what distortion compares; use 'euclidean'")
        with self.progress(sentences, "distorting") as bar:
            yield from measure_distortions(
                self.encoder,
                map(self._units_with_room, sentences),
                layers or [measure.layer for measure in self.voters],
                mask_id=self.tokenizer.mask_token_id,
                commas=self._commas,
                batch_tokens=self.batch_tokens,
                processes=self.processes,
                finished=bar.update,
            )

    def _commas(self, units: Units) -> tuple[int, ...]:
        is_chinese = any(kind_of(character) == "chinese" for word in units.words for character in word)
        return self.units.pieces("，" if is_chinese else ",", after_space=False)

    def _units_with_room(self, sentence: TextOrWords) -> Units:
        units = self.units(sentence)
        needed = len(units.token_ids) + 2 * len(self._commas(units))
        if units.parts or needed > self.units.max_length:
            raise ValueError(
                f"the sentence {''.join(units.words)[:20]!r}... has {len(units.token_ids)} tokens, with the "
                f"commas of distortion {needed}; the model takes {self.units.max_length}; shorten it"
            )
        return units


def _none_empty(found: Iterable[Found]) -> Iterator[Found]:
    for number, one in enumerate(found):
        if len(one.units) == 0:
            raise ValueError(f"sentence {number} has no words, and so no tree of constituents; leave it out")
        yield one


def _least_distorted(found: Distortion, **options: object) -> Tree:
    trees = [least_distorted(table, **options) for table in found.tables]  # type: ignore[arg-type]
    return trees[0] if len(trees) == 1 else vote_on_constituents(trees)


def _in_one(matrices: NDArray[np.float32]) -> NDArray[np.floating]:
    if len(matrices) == 1:
        return matrices[0]
    return np.mean([relative_to_mean(matrix) for matrix in matrices], axis=0)


def _sentence_of(units: Units) -> Sentence:
    """The sentence whose words are the units."""
    if isinstance(units.sentence, Sentence):
        return units.sentence
    if isinstance(units.sentence, str):
        return Sentence.in_text(units.sentence, units.spans or ())
    return Sentence.of(units.words)
