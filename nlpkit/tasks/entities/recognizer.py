"""Entities in texts: a model beside its tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nlpkit.batches import batches_by_length
from nlpkit.checked_number import checked_number
from nlpkit.files import SAVED_MODEL, whole_folder
from nlpkit.modes import evaluating
from nlpkit.pet.head_check import refuse_padding_in_states
from nlpkit.pretrained import open_tokenizer
from nlpkit.probes.room import checked_length
from nlpkit.sources import find_model
from nlpkit.tasks.entities.configuration import Head, Units
from nlpkit.tasks.entities.entity import Entity
from nlpkit.tasks.entities.modeling import EntityModel
from nlpkit.tasks.entities.texts.collator import EntityCollator
from nlpkit.tasks.entities.texts.pieces import cut_text
from nlpkit.tasks.entities.texts.units import to_characters
from nlpkit.tasks.given_texts import given_texts


class EntityRecognizer:
    """Finds entities in texts, by any of the heads.

    Train ``model`` with ``TechniqueTrainer`` (or a plain loop) on examples of ``text`` and ``spans``, with
    ``collator()`` as its collator.

    Args:
        model: trained, or to be trained.
        tokenizer: of its encoder; a fast one, or WoBERT's.
        max_length: tokens a text may have, special tokens included; ``None`` means as many as there is room for, or
            512. Longer texts are cut between sentences.

    Raises:
        TypeError: ``model`` is another one.
        ValueError: the encoder reads padding, or has no room for ``max_length``.

    Example:
        >>> import torch
        >>> recognizer = EntityRecognizer.from_pretrained("wobert-mini-zh", types=["LOC"], units="characters")
        >>> batch = recognizer.collator()([{"text": "我们在北京开会", "spans": [(3, 5, "LOC")]}])
        >>> optimizer = torch.optim.AdamW(recognizer.model.parameters(), lr=1e-3)
        >>> for _ in range(20):
        ...     recognizer.model(**batch).loss.backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        >>> [entity.span for entity in recognizer.predict(["我们在北京开会"])[0]]
        [Span(start=3, end=5, label='LOC')]
    """

    def __init__(self, model: EntityModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> None:
        if not isinstance(model, EntityModel):
            raise TypeError(f"model is a {type(model).__name__}; make an EntityModel of it with from_pretrained")
        self.model, self.tokenizer = model, tokenizer
        self.max_length = checked_length(max_length, model.encoder, tokenizer)
        refuse_padding_in_states(model.encoder, tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        types: Iterable[str] | None = None,
        head: Head | None = None,
        units: Units | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_length: int | None = None,
        settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> EntityRecognizer:
        """Load what was saved, or put a new head on an encoder.

        Args:
            source: a folder, the name of a shipped model, or a repository on the Hub.
            types: of entities, where ``source`` is an encoder.
            head: likewise: ``"global_pointer"`` (by default), ``"efficient_global_pointer"``, ``"crf"`` or
                ``"softmax"``.
            units: likewise: ``"tokens"`` (by default), or ``"characters"``, which know the token they stand in.
            tokenizer: another one than is there.
            max_length: as for the class.
            settings: further ones of ``EntityConfig``, where ``source`` is an encoder.
            **kwargs: as for ``PreTrainedModel.from_pretrained``.

        Returns:
            The recognizer.
        """
        place = find_model(source)
        where = {name: kwargs[name] for name in ("revision", "subfolder", "token", "cache_dir") if name in kwargs}
        own = open_tokenizer(place, **where) if tokenizer is None else tokenizer
        model = EntityModel.from_pretrained(
            place, types=types, head=head, units=units, tokenizer=own, settings=settings, **kwargs
        )
        return cls(model, own, max_length)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Save model and tokenizer, all or nothing; ``from_pretrained`` loads them, and Auto classes do.

        Args:
            folder: made if it does not exist.
        """
        with whole_folder(Path(folder), replacing=SAVED_MODEL) as draft:
            self.model.save_pretrained(draft)
            self.tokenizer.save_pretrained(draft)

    def collator(
        self,
        *,
        overlong: Literal["refuse", "truncate"] = "refuse",
        nested: Literal["refuse", "outermost"] = "refuse",
    ) -> EntityCollator:
        """What makes batches of texts with entities; the choices are those of ``EntityCollator``."""
        return EntityCollator(
            self.tokenizer, self.model.config, max_length=self.max_length, overlong=overlong, nested=nested
        )

    def predict(
        self,
        texts: Iterable[str] | Mapping[str, Iterable[str]] | Path,
        *,
        threshold: float = 0.5,
        overlaps: bool = True,
        batch_size: int = 32,
        show_progress: bool = False,
    ) -> list[list[Entity]]:
        """Find the entities in texts.

        Args:
            texts: a list, a Series, or whatever else holds texts, or a table with a column ``text``; of any length.
            threshold: least probability of an entity, for heads that score spans; the others take the best labelling
                as a whole.
            overlaps: whether entities may overlap; without, the more probable one of two stays.
            batch_size: texts, or pieces of long ones, per batch; they are batched by length.
            show_progress: draw a progress bar.

        Returns:
            The entities of each text, in order; none for blank texts. The model is left in the mode it was in.

        Raises:
            TypeError: a text is no string, or one text is given in place of a list.
            ValueError: the threshold is not between 0 and 1, or the model gives numbers that are none.
        """
        checked_number("threshold", threshold, above=0, below=1, hint="it is a probability")
        given = given_texts(texts)
        pieces = [
            (number, start, end)
            for number, text in enumerate(given)
            if text.strip()
            for start, end in cut_text(text, self.tokenizer, self.max_length)
        ]
        lengths = [end - start for _, start, end in pieces]
        found: list[list[Entity]] = [[] for _ in given]
        with evaluating(self.model):
            for batch in batches_by_length(lengths, batch_size, "finding", show_progress=show_progress):
                chosen = [pieces[number] for number in batch]
                rows = [given[number][start:end] for number, start, end in chosen]
                for place, entity in self._find(rows, threshold, overlaps):
                    number, start, _ = chosen[place]
                    found[number].append(entity._replace(start=entity.start + start, end=entity.end + start))
        return [sorted(row, key=lambda entity: (entity.start, -entity.end, entity.label)) for row in found]

    def _find(self, texts: list[str], threshold: float, overlaps: bool) -> Iterator[tuple[int, Entity]]:
        read = self.collator().read(texts)
        batch: dict[str, Tensor] = dict(read.batch.to(self.model.device))
        types = self.model.config.entity_types
        for span in self.model.find(batch, threshold=threshold, overlaps=overlaps):
            text, offsets = texts[span.text], read.offsets[span.text]
            start, end = to_characters(span.first, span.last, offsets, text)
            yield span.text, Entity(start, end, types[span.type], span.score)
