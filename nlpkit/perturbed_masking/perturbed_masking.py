"""Words and trees out of a masked language model: the model side of perturbed masking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import NoReturn, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.one_text import refuse_one_text
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.engine import Impact, measure_impacts
from nlpkit.perturbed_masking.impact.measurement import Measure, settled
from nlpkit.perturbed_masking.impact.processes import Processes
from nlpkit.perturbed_masking.impact.units import Granularity, Overlong, TextOrWords, UnitTokenizer
from nlpkit.perturbed_masking.parsing import Parsing
from nlpkit.perturbed_masking.words.link_sources import iter_segment, segment
from nlpkit.perturbed_masking.words.segmentation import LinkedText, Threshold, neighbour_strengths, otsu
from nlpkit.pretrained import open_tokenizer
from nlpkit.sources import find_model


class Settings(TypedDict, total=False):
    """Settings of ``PerturbedMasking``, as ``from_pretrained`` passes them on."""

    measure: Measure | None
    units: Granularity
    overlong: Overlong
    batch_tokens: int | None
    across_processes: bool
    show_progress: bool


class PerturbedMasking(Parsing):
    """Measures the impact of each unit of a sentence on the prediction of each other one, and finds words and trees.

    ``f(i, j) = d(H(x without i)_i, H(x without i and j)_i)``: mask unit ``i``, then ``j`` too, and see how far the
    model's view of ``i`` moves. Nothing is trained.

    Source: Wu et al. (2020), arXiv 2004.14786; segmentation after kexue.fm/archives/7476.

    Args:
        model: an encoder or masked language model of transformers, or a ``MaskedEncoder``.
        tokenizer: its tokenizer, with a mask token.
        measure: the layer and the distance to compare; by default, Euclidean distances of the last layer's hidden
            states, and for trees of every layer's, each of which then has a vote. Lower layers cost less.
        units: what a text is cut into, ``"characters"`` (each Chinese character, each run of other letters) or
            ``"tokens"`` of the model. A sentence given as a list of words has one unit per word.
        overlong: ``"refuse"`` sentences over the model's limit, or ``"split"`` them into parts, with an impact of 0
            between them.
        batch_tokens: tokens per batch; by default as many as suit the device.
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
        >>> masking = PerturbedMasking.from_pretrained("wobert-mini-zh", show_progress=False)
        >>> [matrix.shape for matrix in masking.impact(["天气很好", ["酒店", "的", "服务"], ""])]
        [(4, 4), (3, 3), (0, 0)]
        >>> masking.units("天气很好").words
        ('天', '气', '很', '好')
    """

    def __init__(
        self,
        model: PreTrainedModel | MaskedEncoder,
        tokenizer: PreTrainedTokenizerBase,
        *,
        measure: Measure | None = None,
        units: Granularity = "characters",
        overlong: Overlong = "refuse",
        batch_tokens: int | None = None,
        bf16: bool = False,
        across_processes: bool = False,
        show_progress: bool = True,
    ) -> None:
        if batch_tokens is not None and batch_tokens < 1:
            raise ValueError(f"batch_tokens is {batch_tokens}; give the tokens per batch, 1 or more")
        if bf16 and isinstance(model, MaskedEncoder) and not model.bf16:
            raise ValueError("bf16=True comes too late for a MaskedEncoder without it; make that with bf16=True")
        self.tokenizer = tokenizer
        self.encoder = model if isinstance(model, MaskedEncoder) else MaskedEncoder(model, bf16=bf16)
        self.measure = settled(Measure() if measure is None else measure, self.encoder)
        every = [Measure(layer) for layer in range(1, self.encoder.layers + 1)]
        self.voters = every if measure is None else [self.measure]
        limits = (self.encoder.max_positions, tokenizer.model_max_length)
        max_length = min(limit for limit in limits if limit is not None)
        #: Cuts a text, a list of words or a ``Sentence`` into its ``Units``.
        self.units = UnitTokenizer(tokenizer, units, max_length, overlong)
        self.processes = Processes(across_processes)
        self.batch_tokens, self.show_progress = batch_tokens, show_progress

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        bf16: bool = False,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        **settings: Unpack[Settings],
    ) -> PerturbedMasking:
        """Load model and tokenizer.

        Args:
            pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub: any
                encoder with a masked LM in transformers, with its head or without.
            device: a GPU if there is one, by default; under ``across_processes`` that of the process.
            dtype: of the weights.
            bf16: as for the class.
            revision: of a repository, as for every ``from_pretrained``.
            cache_dir: where the Hub's files are kept.
            token: for the Hub.
            local_files_only: do not ask the Hub.
            **settings: as for the class.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: as for the class, transformers has no masked LM of this kind, or there is no tokenizer.
        """
        asked = {"revision": revision, "cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        hub: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
        if device is None:
            device = Processes(settings.get("across_processes", False)).device
        name = find_model(pretrained_model_name_or_path, **hub)
        encoder = MaskedEncoder.from_pretrained(name, bf16=bf16, dtype=dtype, **hub)
        encoder.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(encoder, open_tokenizer(name, **hub), **settings)

    def impact(self, sentences: Iterable[TextOrWords], *, reach: int | None = None) -> list[NDArray[np.float32]]:
        """Impact matrices.

        Args:
            sentences: texts, lists of words, or ``Sentence`` objects of a treebank.
            reach: leave out pairs that are farther apart; their impact is given as 0.

        Returns:
            For each sentence ``F`` of shape ``(n, n)``, fp32: ``F[i, j]`` is the impact of unit ``j`` on the
            prediction of unit ``i``, in the unit of the distance; the diagonal is 0.

        Raises:
            TypeError: ``sentences`` is one text, or one of them is neither a text nor a list of words.
            ValueError: a sentence is too long, or holds an empty word.
        """
        return list(self.iter_impact(sentences, reach=reach))

    def iter_impact(
        self, sentences: Iterable[TextOrWords], *, reach: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """As ``impact``, one matrix at a time and in bounded memory, for any number of sentences."""
        for found in self.iter_measures(sentences, reach=reach):
            yield found.matrices[0]

    def iter_measures(
        self, sentences: Iterable[TextOrWords], measures: Sequence[Measure] = (), *, reach: int | None = None
    ) -> Iterator[Impact]:
        """Sentences, their units, and impact matrices by several layers and distances, in one pass of the model.

        Args:
            sentences: as for ``impact``.
            measures: what to measure; by default what the class was given.
            reach: as for ``impact``.

        Yields:
            For each sentence, in order, its units (with the sentence itself) and ``(measures, n, n)`` in fp32.
        """
        if reach is not None and reach < 1:
            raise ValueError(f"reach is {reach}; give the greatest distance between units to measure, 1 or more")
        refuse_one_text("sentences", sentences)
        with self.progress(sentences, "masking") as bar:
            yield from measure_impacts(
                self.encoder,
                map(self.units, sentences),
                [settled(measure, self.encoder) for measure in measures or [self.measure]],
                mask_id=self.tokenizer.mask_token_id,
                reach=reach,
                batch_tokens=self.batch_tokens,
                processes=self.processes,
                finished=bar.update,
            )

    def progress(self, sentences: Iterable[object], title: str) -> tqdm[NoReturn]:
        """A bar that is drawn, by the main process, when the work takes over five seconds."""
        shown = self.show_progress and self.processes.is_main
        total = len(sentences) if isinstance(sentences, Sized) else None
        return tqdm(total=total, desc=title, unit=" sentences", delay=5, disable=None if shown else True)

    def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
        """Texts with the strength of each link between neighbouring units; ``2 n - 1`` passes for each text."""
        refuse_one_text("texts", texts)
        for units, matrices in self.iter_measures(map(_only_text, texts), reach=1):
            yield LinkedText(str(units.sentence), units.spans or (), neighbour_strengths(matrices[0]))

    def segment(self, texts: Iterable[str], threshold: Threshold = otsu, *, relative: bool = True) -> list[list[str]]:
        """Words of texts, without a dictionary.

        Args:
            texts: texts; words cross neither punctuation nor a change of script.
            threshold: the least strength that holds units together: a number, or what finds one on these very texts,
                ``otsu`` or ``MeanWordLength``.
            relative: take from each strength the mean of those beside it; ``False`` compares the strengths
                themselves, as kexue.fm/archives/7476 does.

        Returns:
            The words of each text; white space is in none.

        Raises:
            TypeError: not texts, or no threshold.
            ValueError: a text is too long.
        """
        return segment(self, texts, threshold, relative=relative)

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
            texts: as for ``segment``.
            threshold: as for ``segment``.
            relative: as for ``segment``.
            sample: find the threshold on this many texts from the beginning; ``None``: on all, which then stay in
                memory.
        """
        return iter_segment(self, texts, threshold, relative=relative, sample=sample)


def _only_text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"only texts can be segmented, not {text!r}")
    return text
