"""What a model reads of an entity, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from nlpkit.tasks.linking.knowledge.entry import Entry
from nlpkit.tasks.linking.knowledge.knowledge_base import KnowledgeBase


class Descriptions:
    """Describes the entities of a knowledge base: name, description, facts, as far as the budget goes.

    Source: kexue.fm/archives/6919, which joins predicates and objects and cuts the end off.

    Args:
        knowledge_base: what is known.
        tokenizer: counts tokens.
        budget: tokens a description may have, without special ones. What does not fit as a whole is left out, facts
            from the last one on; only what stands first, the name, is cut where it is too long by itself.
        use_facts: whether facts are told.

    Raises:
        ValueError: the budget is below 1.

    Note:
        Where facts come from the questions that a model is trained on, they tell the answers: leave them out.

    Example:
        >>> from nlpkit import WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "苹果", "公司", "总部", "。", "：", "，"]
        >>> tokenizer = WoBertTokenizer({word: number for number, word in enumerate(words)})
        >>> base = KnowledgeBase([Entry("Q1", "苹果", description="公司", facts=(("总部", "公司总部"), ("公司", "")))])
        >>> [Descriptions(base, tokenizer, budget)("Q1") for budget in (1, 3, 20)]
        ['苹果', '苹果，公司', '苹果，公司。总部：公司总部。公司']
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        tokenizer: PreTrainedTokenizerBase,
        budget: int = 64,
        *,
        use_facts: bool = True,
    ) -> None:
        if budget < 1:
            raise ValueError(f"budget={budget} leaves no token for a description; give at least 1")
        self.knowledge_base, self.tokenizer = knowledge_base, tokenizer
        self.budget, self.use_facts = budget, use_facts
        self._described: dict[str, str] = {}

    def __call__(self, id: str) -> str:  # noqa: A002
        """The description of an entity, or of the one that an entry is the same as.

        Raises:
            ValueError: there is no such id.
        """
        id = self.knowledge_base.resolve(id)  # noqa: A001
        if id not in self._described:
            self._described[id] = self._fitting(parts_of(self.knowledge_base[id], self.use_facts))
        return self._described[id]

    def _fitting(self, parts: Sequence[str]) -> str:
        ends = self._ends("".join(parts))
        kept, text = 0, ""
        while kept < len(parts) and (len(ends) <= self.budget or len(text + parts[kept]) <= ends[self.budget - 1]):
            text += parts[kept]
            kept += 1
        while kept and len(self._ends(text)) > self.budget:  # by itself a part may have another token than within
            kept -= 1
            text = "".join(parts[:kept])
        return text or self.shortened(parts[0])

    def shortened(self, name: str) -> str:
        """As much of a name, from its beginning, as the budget has room for."""
        ends = self._ends(name)
        while len(ends) > self.budget:
            name = name[: ends[self.budget - 1]] if ends[self.budget - 1] < len(name) else name[:-1]
            ends = self._ends(name)
        return name

    def _ends(self, text: str) -> list[int]:
        """The character behind each token."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [end for _, end in encoded["offset_mapping"]]


def parts_of(entry: Entry, use_facts: bool = True) -> list[str]:
    """The parts of a description, which joined are all of it.

    Example:
        >>> parts_of(Entry("Q1", "苹果", description="水果", facts=(("颜色", "红"),)))
        ['苹果', '，水果', '。颜色：红']
    """
    facts = entry.facts if use_facts else ()
    return [
        entry.name,
        *([f"，{entry.description}"] if entry.description.strip() else []),
        *(f"。{predicate}：{value}" if value else f"。{predicate}" for predicate, value in facts),
    ]
