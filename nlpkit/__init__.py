"""Su Jianlin's best ideas for pretrained models, on today's Hugging Face stack.

Importing this package is cheap: neither torch nor transformers is loaded until a name that needs them is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nlpkit.auto import register as _register

__version__ = "0.1.0"

#: Where each public name lives. One line a name; the module is imported when the name is first used.
_HOME = {
    "WoBertTokenizer": "nlpkit.wobert.tokenizer",
    "WoBertConfig": "nlpkit.wobert.configuration",
    "WoBertModel": "nlpkit.wobert.modeling",
    "WoBertForMaskedLM": "nlpkit.wobert.modeling",
    "WoBertForSequenceClassification": "nlpkit.wobert.modeling",
    "WoBertForTokenClassification": "nlpkit.wobert.modeling",
    "WoBertCharacterConfig": "nlpkit.wobert.tagging",
    "WoBertForCharacterClassification": "nlpkit.wobert.tagging",
    "build_vocabulary": "nlpkit.wobert.vocabulary",
    "wordify": "nlpkit.wobert.wordify",
    "convert_checkpoint": "nlpkit.wobert.conversion",
    "Pattern": "nlpkit.pet.pattern",
    "Verbalizer": "nlpkit.pet.verbalizer",
    "PetClassifier": "nlpkit.pet.classifier",
    "SentinelClassifier": "nlpkit.pet.sentinels",
    "PetTrainer": "nlpkit.pet.trainer",
    "PetTrainingArguments": "nlpkit.pet.trainer",
    "PerturbedMasking": "nlpkit.perturbed_masking.perturbed_masking",
    "LadderConfig": "nlpkit.ladder_side_tuning.configuration",
    "get_ladder_model": "nlpkit.ladder_side_tuning.building",
    "answer_together": "nlpkit.ladder_side_tuning.answering",
    "load_ladder_model": "nlpkit.ladder_side_tuning.saving",
    "cache_taps": "nlpkit.ladder_side_tuning.caching",
    "model_path": "nlpkit.shipped",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from nlpkit.ladder_side_tuning.answering import answer_together
    from nlpkit.ladder_side_tuning.building import get_ladder_model
    from nlpkit.ladder_side_tuning.caching import cache_taps
    from nlpkit.ladder_side_tuning.configuration import LadderConfig
    from nlpkit.ladder_side_tuning.saving import load_ladder_model
    from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
    from nlpkit.pet.classifier import PetClassifier
    from nlpkit.pet.pattern import Pattern
    from nlpkit.pet.sentinels import SentinelClassifier
    from nlpkit.pet.trainer import PetTrainer, PetTrainingArguments
    from nlpkit.pet.verbalizer import Verbalizer
    from nlpkit.shipped import model_path
    from nlpkit.wobert.configuration import WoBertConfig
    from nlpkit.wobert.conversion import convert_checkpoint
    from nlpkit.wobert.modeling import (
        WoBertForMaskedLM,
        WoBertForSequenceClassification,
        WoBertForTokenClassification,
        WoBertModel,
    )
    from nlpkit.wobert.tagging import WoBertCharacterConfig, WoBertForCharacterClassification
    from nlpkit.wobert.tokenizer import WoBertTokenizer
    from nlpkit.wobert.vocabulary import build_vocabulary
    from nlpkit.wobert.wordify import wordify


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nlpkit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


_register(__getattr__)
