"""Words and trees out of a masked language model: the model side of perturbed masking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from itertools import chain, islice, tee
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm
from transformers import AutoTokenizer, PreTrainedModel

from nlpkit.perturbed_masking.impact.distances import Distance, Merge
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.engine import measure_impacts
from nlpkit.perturbed_masking.impact.measurement import Impact, Measure, check_measure
from nlpkit.perturbed_masking.impact.parts import measure_in_parts
from nlpkit.perturbed_masking.impact.processes import Processes
from nlpkit.perturbed_masking.impact.units import Granularity, Overlong, TextOrWords, Units, UnitTokenizer
from nlpkit.perturbed_masking.trees.decoders import choose_decoder
from nlpkit.perturbed_masking.words.segmentation import (
    LinkedText,
    Threshold,
    find_threshold,
    neighbour_strengths,
    otsu,
)

if TYPE_CHECKING:
    from nlpkit.perturbed_masking.trees.tree import Tree


class PerturbedMasking:
    """Measures how much each word of a sentence sways the prediction of each other one, and reads words and trees off.

    ``f(i, j) = d(H(x without i)_i, H(x without i and j)_i)``: mask unit ``i``, then ``j`` too, and see how far the
    model's view of ``i`` moves. Nothing is trained.

    Source: Wu et al. (2020), arXiv 2004.14786; segmentation after kexue.fm/archives/7476.

    Args:
        model: an encoder or masked language model of transformers, or a ``MaskedEncoder``.
        tokenizer: its tokenizer, with a mask token.
        layer: hidden states of this layer, from 1; the last by default. Lower ones cost less.
        distance: ``"euclidean"``, ``"cosine"``, or of predictions ``"probability"``, ``"jensen_shannon"``
            (``Measure``).
        merge: how the pieces of a unit become one value (``Measure``).
        units: what a text is cut into, ``"characters"`` (each Chinese character, each run of other letters) or
            ``"tokens"`` of the model. A sentence given as a list of words has a unit a word.
        overlong: ``"refuse"`` sentences over the model's limit, or ``"split"`` them into parts that know nothing of
            each other, with an influence of 0 between them.
        batch_tokens: tokens a batch; by default as many as suit the device.
        bf16: multiply in bf16, several times faster where the processor can.
        across_processes: share the work out over the processes that ``accelerate launch`` started; every process
            calls with the same sentences and gets all results.
        show_progress: draw a progress bar when it takes over five seconds.

    Raises:
        ValueError: no mask token, a decoder, a layer or distance that the model does not have.

    Note:
        A sentence of ``n`` units takes ``n (n + 1) / 2`` passes of its length, segmentation ``2 n - 1``. Not for
        several threads on one model at a time.

    Example:
        >>> import nlpkit
        >>> masking = PerturbedMasking.from_pretrained(nlpkit.model_path("wobert-mini-zh"), show_progress=False)
        >>> [matrix.shape for matrix in masking.impact(["天气很好", ["酒店", "的", "服务"], ""])]
        [(4, 4), (3, 3), (0, 0)]
    """

    def __init__(
        self,
        model: PreTrainedModel | MaskedEncoder,
        tokenizer: Any,
        *,
        layer: int | None = None,
        distance: Distance = "euclidean",
        merge: Merge = "vectors",
        units: Granularity = "characters",
        overlong: Overlong = "refuse",
        batch_tokens: int | None = None,
        bf16: bool = False,
        across_processes: bool = False,
        show_progress: bool = True,
    ) -> None:
        if overlong not in ("refuse", "split"):
            raise ValueError(f"overlong={overlong!r} is unknown; use 'refuse' or 'split'")
        if batch_tokens is not None and batch_tokens < 1:
            raise ValueError(f"batch_tokens is {batch_tokens}; give the tokens of a batch, 1 or more")
        if bf16 and isinstance(model, MaskedEncoder) and not model.bf16:
            raise ValueError("bf16=True comes too late for a MaskedEncoder without it; make that with bf16=True")
        self.tokenizer = tokenizer
        self.encoder = model if isinstance(model, MaskedEncoder) else MaskedEncoder(model, bf16=bf16)
        self.measure = Measure(self.encoder.layers if layer is None else layer, distance, merge)
        check_measure(self.measure, self.encoder)
        limits = (self.encoder.max_positions, tokenizer.model_max_length)
        self._tokenize = UnitTokenizer(tokenizer, units, min(limit for limit in limits if limit is not None))
        self.granularity, self.overlong = units, overlong
        self.processes = Processes(across_processes)
        self.batch_tokens, self.show_progress = batch_tokens, show_progress

    @classmethod
    def from_pretrained(
        cls,
        name: Any,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        bf16: bool = False,
        **settings: Any,
    ) -> PerturbedMasking:
        """Load model and tokenizer.

        Args:
            name: folder or name on the Hub: any encoder with a masked LM in transformers, with its head or without.
            device: a GPU if there is one, by default; under ``across_processes`` that of the process.
            dtype: of the weights.
            bf16: as for the class.
            **settings: as for the class.

        Raises:
            ValueError: as for the class, or transformers has no masked LM of this kind.
        """
        if device is None:
            device = Processes(settings.get("across_processes", False)).device
        encoder = MaskedEncoder.from_pretrained(str(name), bf16=bf16, dtype=dtype)
        encoder.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(encoder, AutoTokenizer.from_pretrained(name), **settings)

    def units(self, sentence: TextOrWords) -> Units:
        """The units of a sentence and their tokens, however long it is.

        Args:
            sentence: a text or a list of words.

        Example:
            >>> import nlpkit
            >>> masking = PerturbedMasking.from_pretrained(nlpkit.model_path("wobert-mini-zh"), units="tokens")
            >>> masking.units("天气很好").words
            ('天气', '很', '好')
        """
        return self._tokenize(sentence)

    def impact(self, sentences: Iterable[TextOrWords], *, reach: int | None = None) -> list[Impact]:
        """Impact matrices.

        Args:
            sentences: texts or lists of words.
            reach: leave out pairs that are farther apart; their influence is given as 0.

        Returns:
            For each sentence ``F`` of shape ``(n, n)``, fp32: ``F[i, j]`` is the influence of unit ``j`` on the
            prediction of unit ``i``, in the unit of the distance; the diagonal is 0.

        Raises:
            TypeError: ``sentences`` is one text, or one of them is neither a text nor a list of words.
            ValueError: a sentence is too long, or holds an empty word.
        """
        return list(self.iter_impact(sentences, reach=reach))

    def iter_impact(self, sentences: Iterable[TextOrWords], *, reach: int | None = None) -> Iterator[Impact]:
        """As ``impact``, one matrix at a time and in bounded memory, for any number of sentences."""
        for matrices in self.iter_measures(sentences, [self.measure], reach=reach):
            yield matrices[0]

    def iter_measures(
        self, sentences: Iterable[TextOrWords], measures: Sequence[Measure], *, reach: int | None = None
    ) -> Iterator[Impact]:
        """Impact matrices by several layers and distances, in one pass of the model.

        Args:
            sentences: texts or lists of words, as many as you like.
            measures: what to measure.
            reach: as for ``impact``.

        Yields:
            For each sentence, in order, ``(measures, n, n)`` in fp32.
        """
        for measure in measures:
            check_measure(measure, self.encoder)
        if reach is not None and reach < 1:
            raise ValueError(f"reach is {reach}; give the greatest distance between units to measure, 1 or more")
        if isinstance(sentences, str):
            raise TypeError(f"sentences is one text, {sentences[:20]!r}; give a list of them")
        shown = self.show_progress and self.processes.is_main
        total = len(sentences) if isinstance(sentences, Sized) else None
        with tqdm(total=total, desc="masking", unit=" sentences", delay=5, disable=None if shown else True) as bar:
            run = partial(
                measure_impacts,
                self.encoder,
                measures=measures,
                mask_id=self.tokenizer.mask_token_id,
                reach=reach,
                batch_tokens=self.batch_tokens,
                processes=self.processes,
                finished=bar.update,
            )
            yield from measure_in_parts((self._tokenize.parts(one, self.overlong) for one in sentences), run)

    def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
        """Texts with the strength of each link between neighbouring units: what segmentation goes by.

        Args:
            texts: texts, as many as you like.

        Yields:
            For each text, in order, its units and links; ``2 n - 1`` passes of the model.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts is one text, {texts[:20]!r}; give a list of them")
        measured, kept = tee(map(_only_text, texts))
        for text, matrix in zip(kept, self.iter_impact(measured, reach=1), strict=True):
            yield LinkedText(text, self.units(text).spans or (), neighbour_strengths(matrix))

    def segment(self, texts: Iterable[str], threshold: Threshold = otsu, *, relative: bool = True) -> list[list[str]]:
        """Words of texts, without a dictionary.

        Args:
            texts: texts; words cross neither punctuation nor a change of script.
            threshold: the least strength that holds units together: a number, or what finds one on these very texts,
                ``otsu`` or
                ``MeanWordLength``.
            relative: take from each strength the mean of those beside it; ``False`` compares the strengths
                themselves, as kexue.fm/archives/7476 does.

        Returns:
            The words of each text; white space is in none.

        Raises:
            TypeError: not texts, or no threshold.
            ValueError: a text is too long.
        """
        return list(self.iter_segment(texts, threshold, relative=relative, sample=None))

    def iter_segment(
        self,
        texts: Iterable[str],
        threshold: Threshold = otsu,
        *,
        relative: bool = True,
        sample: int | None = 1000,
    ) -> Iterator[list[str]]:
        """As ``segment``, one text at a time and in bounded memory.

        Args:
            texts: texts, as many as you like.
            threshold: a number, or what finds one.
            relative: as for ``segment``.
            sample: find it on so many texts from the beginning; ``None`` means on all, which are then kept in memory.

        Yields:
            The words of each text, in order.
        """
        linked = (text.relative() if relative else text for text in self.linked_texts(texts))
        seen = list(islice(linked, sample)) if callable(threshold) else []
        found = find_threshold(threshold, seen)
        for text in chain(seen, linked):
            yield text.cut(found)

    def dependencies(
        self, sentences: Iterable[TextOrWords], decoder: str | Callable[..., list[int]] = "eisner", **options: Any
    ) -> list[list[int]]:
        """Dependency trees.

        Args:
            sentences: texts or lists of words.
            decoder: ``"eisner"`` (projective), ``"edmonds"``, or a function of an impact matrix.
            **options: passed to the decoder (``nlpkit.perturbed_masking.trees.dependencies``).

        Returns:
            For each sentence the head of each unit, 1-based, 0 for the root.

        Raises:
            ValueError: the decoder is unknown; else as ``impact``.
        """
        decode = choose_decoder("dependencies", decoder)
        return [decode(matrix, **options) for matrix in self.iter_impact(sentences)]

    def constituents(
        self, sentences: Iterable[TextOrWords], decoder: str | Callable[..., Tree] = "cky", **options: Any
    ) -> list[Tree]:
        """Constituency trees.

        Args:
            sentences: texts or lists of words, none of them empty.
            decoder: ``"cky"``, ``"leaning_cky"`` (for English), ``"top_down"``, ``"mart"`` (from the top, biased to
                the right), or a function of an impact matrix.
            **options: passed to the decoder (``nlpkit.perturbed_masking.trees.constituents``).

        Returns:
            A binary tree for each sentence, over its units.

        Raises:
            ValueError: the decoder is unknown, or a sentence has no units; else as ``impact``.
        """
        decode = choose_decoder("constituents", decoder)
        return [decode(matrix, **options) for matrix in self.iter_impact(sentences)]


def _only_text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"only texts can be segmented, not {text!r}")
    return text
