"""What every collator does with a batch of nothing, which a broken sampler or an empty list would hand it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

import nlpkit
from nlpkit import WoBertTokenizer
from nlpkit.data import MaskedTokenCollator, SpanCorruptionCollator
from nlpkit.pet import Pattern, Verbalizer
from nlpkit.pet.clozes.cloze import ClozeEncoder
from nlpkit.pet.clozes.cloze_batch import ClozeCollator
from nlpkit.seq2seq import UniLmCollator
from nlpkit.tasks.entities import EntityCollator, EntityConfig
from nlpkit.tasks.linking import Descriptions, Entry, KnowledgeBase, LinkingCollator
from nlpkit.wobert.tagging.collator import CharacterTaggingCollator


def linking(tokenizer: WoBertTokenizer) -> LinkingCollator:
    return LinkingCollator(tokenizer, Descriptions(KnowledgeBase([Entry("a", "酒店")]), tokenizer, 8), 64)


def spans(tokenizer: WoBertTokenizer) -> SpanCorruptionCollator:
    sentinels = [AddedToken(f"<extra_id_{number}>", special=True) for number in range(10)]
    tokenizer.add_special_tokens({"additional_special_tokens": sentinels, "eos_token": "[SEP]"})
    return SpanCorruptionCollator(tokenizer)


def clozes(tokenizer: WoBertTokenizer) -> ClozeCollator:
    return ClozeCollator(ClozeEncoder(Pattern("{text}{mask}"), tokenizer), Verbalizer({"a": "好", "b": "不"}))


COLLATORS: dict[str, Callable[[WoBertTokenizer], Any]] = {
    "CharacterTaggingCollator": lambda tokenizer: CharacterTaggingCollator(tokenizer, {"O": 0}),
    "ClozeCollator": clozes,
    "EntityCollator": lambda tokenizer: EntityCollator(tokenizer, EntityConfig(types=["X"])),
    "LinkingCollator": linking,
    "MaskedTokenCollator": MaskedTokenCollator,
    "SpanCorruptionCollator": spans,
    "UniLmCollator": UniLmCollator,
}


def test_all_collators_are_here() -> None:
    sources = [path.read_text("utf-8") for path in Path(nlpkit.__file__).parent.rglob("*.py")]
    assert {name for source in sources for name in re.findall(r"^class (\w+Collator)\b", source, re.M)} == {*COLLATORS}


@pytest.mark.parametrize("name", COLLATORS)
def test_a_batch_of_nothing_is_named(name: str, small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no rows to make a batch of; give at least one"):
        COLLATORS[name](WoBertTokenizer(small_vocabulary))([])
