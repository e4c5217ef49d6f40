"""Ladder side-tuning: fine-tune beside the model, not through it."""

from nlpkit.ladder_side_tuning.answering import answer_together
from nlpkit.ladder_side_tuning.building import get_ladder_model, head_modules
from nlpkit.ladder_side_tuning.caching import cache_taps
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.saving import load_ladder_model
from nlpkit.ladder_side_tuning.tap_cache import TapCache

__all__ = [
    "LadderConfig",
    "TapCache",
    "answer_together",
    "cache_taps",
    "get_ladder_model",
    "head_modules",
    "load_ladder_model",
]
