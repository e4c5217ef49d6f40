"""Entities in texts by name and context: a model beside its tokenizer, a knowledge base and a prior."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from nlpkit.batches import batches_by_length
from nlpkit.files import SAVED_MODEL, read_json, whole_folder, write_json
from nlpkit.modes import evaluating
from nlpkit.pet.head_check import refuse_padding_in_states
from nlpkit.pretrained import open_tokenizer
from nlpkit.probes.room import checked_length
from nlpkit.sources import find_file, find_model
from nlpkit.tasks.linking.knowledge.descriptions import Descriptions
from nlpkit.tasks.linking.knowledge.knowledge_base import KnowledgeBase
from nlpkit.tasks.linking.link import read_links
from nlpkit.tasks.linking.mentions.candidates import Mention
from nlpkit.tasks.linking.mentions.prior import MentionPrior
from nlpkit.tasks.linking.model.collator import LinkingCollator
from nlpkit.tasks.linking.model.modeling import LinkingModel
from nlpkit.tasks.linking.prior_linker import PriorLinker
from nlpkit.tasks.linking.scored_texts import LogProbabilities

logger = logging.getLogger(__name__)

_SETTINGS, _ENTITIES, _PRIOR = "linking.json", "entities.jsonl", "prior.json"


class EntityLinker(PriorLinker):
    """Finds names in texts and decides, by reading, which entity each one stands for, if any.

    Train ``model`` with ``TechniqueTrainer`` (or a plain loop) on ``training_rows``, with ``collator()`` as its
    collator.

    Args:
        model: trained, or to be trained.
        tokenizer: of its encoder; a fast one, or WoBERT's.
        knowledge_base: to link to.
        prior: counted on training texts; says which names are no candidates, and which candidates come first.
        least_prior: names that are linked less often are no candidates.
        most_entities: candidates of a name; ``None`` means all.
        whole_words: as of ``AliasIndex``.
        description_tokens: tokens of a description.
        use_facts: whether descriptions tell facts.
        max_length: tokens of a text and a description together, special tokens included; ``None`` means 128, or as
            many as there is room for. Of longer texts what is around a mention is read.

    Raises:
        TypeError: ``model`` is another one.
        ValueError: the encoder reads padding, or a setting makes no sense.

    Example:
        >>> from nlpkit.tasks.linking import Entry, KnowledgeBase
        >>> _ = torch.manual_seed(0)
        >>> base = KnowledgeBase([Entry("Q1", "苹果", (), "水果"), Entry("Q2", "苹果公司", ("苹果",), "手机公司")])
        >>> linker = EntityLinker.from_pretrained("wobert-mini-zh", base)
        >>> texts = ["苹果很甜", "苹果的新手机"]
        >>> examples = [{"text": text, "links": [[0, 2, id]]} for text, id in zip(texts, ["Q1", "Q2"])]
        >>> batch = linker.collator()(linker.training_rows(examples, counted=False))
        >>> optimizer = torch.optim.AdamW(linker.model.parameters(), lr=3e-4)
        >>> for _ in range(15):
        ...     linker.model(**batch).loss.backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        >>> [link.entity for row in linker.predict(texts) for link in row]
        ['Q1', 'Q2']
    """

    def __init__(
        self,
        model: LinkingModel,
        tokenizer: PreTrainedTokenizerBase,
        knowledge_base: KnowledgeBase,
        prior: MentionPrior | None = None,
        *,
        least_prior: float = 0.0,
        most_entities: int | None = 8,
        whole_words: bool = True,
        description_tokens: int = 32,
        use_facts: bool = True,
        max_length: int | None = None,
    ) -> None:
        super().__init__(
            knowledge_base, prior, least_prior=least_prior, most_entities=most_entities, whole_words=whole_words
        )
        if not isinstance(model, LinkingModel):
            raise TypeError(f"model is a {type(model).__name__}; make a LinkingModel of it with from_pretrained")
        self.model, self.tokenizer = model, tokenizer
        refuse_padding_in_states(model.encoder, tokenizer)
        room = checked_length(max_length, model.encoder, tokenizer)
        self.max_length = min(128, room) if max_length is None else room
        self.descriptions = Descriptions(knowledge_base, tokenizer, description_tokens, use_facts=use_facts)
        self.collator()  # refuses settings that cannot be

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        knowledge_base: KnowledgeBase | None = None,
        prior: MentionPrior | None = None,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> EntityLinker:
        """Load what was saved, or put a new head on an encoder.

        Args:
            source: a folder, the name of a shipped model, or a repository on the Hub.
            knowledge_base: another one than is there; needed where ``source`` is an encoder.
            prior: another one than is there.
            tokenizer: likewise.
            settings: others than are there, of those that the class takes by name.
            **kwargs: as for ``PreTrainedModel.from_pretrained``.

        Returns:
            The linker.

        Raises:
            TypeError: a setting is unknown.
            ValueError: there is no knowledge base, neither there nor given.
        """
        place = find_model(source)
        where = {name: kwargs[name] for name in ("revision", "subfolder", "token", "cache_dir") if name in kwargs}
        kept, entities, counts = (find_file(place, name, **where) for name in (_SETTINGS, _ENTITIES, _PRIOR))
        if knowledge_base is None:
            if entities is None:
                raise ValueError(
                    f"{source} has no knowledge base; give knowledge_base=..., made by KnowledgeBase.read"
                )
            knowledge_base = KnowledgeBase.read(entities)
        if prior is None and counts is not None:
            prior = MentionPrior.read(counts)
        chosen = {**({} if kept is None else read_json(kept)), **_checked_settings(settings or {})}
        own = open_tokenizer(place, **where) if tokenizer is None else tokenizer
        return cls(LinkingModel.from_pretrained(place, **kwargs), own, knowledge_base, prior, **chosen)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Save model, tokenizer, knowledge base, prior and settings, all or nothing; ``from_pretrained`` loads them.

        Args:
            folder: made if it does not exist.
        """
        with whole_folder(Path(folder), replacing=SAVED_MODEL) as draft:
            self.model.save_pretrained(draft)
            self.tokenizer.save_pretrained(draft)
            self.knowledge_base.save(draft / _ENTITIES)
            self.prior.save(draft / _PRIOR)
            write_json(
                draft / _SETTINGS,
                {
                    "least_prior": self.least_prior,
                    "most_entities": self.most_entities,
                    "whole_words": self.index.whole_words,
                    "description_tokens": self.descriptions.budget,
                    "use_facts": self.descriptions.use_facts,
                    "max_length": self.max_length,
                },
            )

    def collator(self) -> LinkingCollator:
        """What makes batches of mentions."""
        return LinkingCollator(self.tokenizer, self.descriptions, self.max_length)

    def training_rows(self, examples: Iterable[Mapping[str, Any]], *, counted: bool = True) -> list[dict[str, Any]]:
        """The mentions of labelled texts, with the entity that each stands for, or NIL.

        Args:
            examples: as ``read_links`` reads them.
            counted: whether the prior was counted on these texts. Then the counts of each text are left out where its
                own mentions are looked for, since they would tell the answer.

        Returns:
            Rows as ``LinkingCollator`` takes them. The right entity is always among the candidates of a mention, in
            the place of the last one if need be. Links that are no name of their entity, or a name that is left out by
            ``least_prior``, give no row; how many is logged.

        Raises:
            TypeError: as of ``read_links``.
            ValueError: likewise, with the number of the example; or there is no row at all.
        """
        rows: list[dict[str, Any]] = []
        wanted = reached = 0
        for number, example in enumerate(examples):
            try:
                links = read_links(example, self.knowledge_base)
            except (TypeError, ValueError) as error:
                raise type(error)(f"example {number}: {error}") from error
            text = example["text"]
            gold = {(link.start, link.end): link.entity for link in links}
            wanted += len(gold)
            for mention in self.mentions(text, known=links if counted else None):
                span = (mention.start, mention.end)
                candidates = list(mention.entities)
                entity = gold.get(span)
                if entity is not None and entity not in candidates:
                    if entity not in self.index.entities(text[slice(*span)]):
                        continue
                    candidates[-1] = entity
                label = 0 if entity is None else 1 + candidates.index(entity)
                reached += label > 0
                rows.append({"text": text, "mention": list(span), "candidates": candidates, "labels": label})
        if not rows:
            raise ValueError("no text holds a name of the knowledge base; there is nothing to learn")
        if reached < wanted:
            logger.warning(
                "%d of %d links are no name of their entity, or a rare one, and not learnt", wanted - reached, wanted
            )
        return rows

    @torch.no_grad()
    def score(
        self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]], *, batch_size: int, show_progress: bool
    ) -> list[LogProbabilities]:
        """Log probabilities of NIL and of each candidate, of each mention of each text, as the model reads them."""
        places = [(text, number) for text, row in enumerate(mentions) for number in range(len(row))]
        lengths = [len(texts[text]) for text, _ in places]
        logs: list[LogProbabilities] = [[[] for _ in row] for row in mentions]
        collate = self.collator()
        with evaluating(self.model):
            for batch in batches_by_length(lengths, batch_size, "linking", show_progress=show_progress):
                chosen = [places[number] for number in batch]
                rows = [_row(texts[text], mentions[text][number]) for text, number in chosen]
                logits = self.model(**collate(rows).to(self.model.device)).logits.float()
                if logits.isnan().any():
                    raise ValueError(
                        "the model gives NaN: its weights are broken, as after training in fp16; train it again"
                    )
                for (text, number), row, values in zip(chosen, rows, logits.log_softmax(-1).tolist(), strict=True):
                    logs[text][number] = values[: 1 + len(row["candidates"])]
        return logs


def _row(text: str, mention: Mention) -> dict[str, Any]:
    return {"text": text, "mention": (mention.start, mention.end), "candidates": mention.entities}


def _checked_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings that ``EntityLinker`` takes by name."""
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings is a {type(settings).__name__}; give a mapping, e.g. {{'most_entities': 4}}")
    taken = inspect.signature(EntityLinker).parameters.values()
    known = [one.name for one in taken if one.kind is inspect.Parameter.KEYWORD_ONLY]
    if unknown := sorted(map(str, settings.keys() - known)):
        raise TypeError(f"settings has {', '.join(unknown)}; known are {', '.join(known)}")
    return settings
