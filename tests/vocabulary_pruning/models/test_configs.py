from __future__ import annotations

from typing import Any

from transformers import BertConfig, GenerationConfig, XLMConfig

from nlpkit.vocabulary_pruning.models.configs import named_ids, set_new_ids, with_new_ids

#: Every kind of setting that names ids; those of another part have another vocabulary.
SETTINGS: dict[str, Any] = {
    "vocab_size": 9,
    "pad_token_id": 0,
    "eos_token_id": [1, 7],
    "bos_token_id": None,
    "sep_token_id": -1,
    "image_token_index": 5,
    "forced_decoder_ids": [[1, 3], [2, 5]],
    "lang_to_id": {"<|zh|>": 3},
    "force_words_ids": [[[3, 5]]],
    "suppress_tokens": [2, 7],
    "bad_words_ids": [[3, 4], [5, 7]],
    "sequence_bias": [[[3], 1.0], [[4], 2.0]],
    "text_config": {"vocab_size": 9, "bos_token_id": 8},
    "audio_config": {"vocab_size": 4, "bos_token_id": 8},
    "task_specific_params": {"summary": {"decoder_start_token_id": 8, "length": 4}},
    "id2label": {0: "a", 4: "b"},
    "max_length": 4,
}


def test_every_id_is_found_and_follows() -> None:
    kept = sorted(named_ids(SETTINGS, 9))
    assert kept == [0, 1, 3, 5, 7, 8]
    new = with_new_ids(SETTINGS, {old: place for place, old in enumerate(kept)}, 9, 6)
    assert new == SETTINGS | {
        "vocab_size": 6,
        "eos_token_id": [1, 4],
        "image_token_index": 3,
        "forced_decoder_ids": [[1, 2], [2, 3]],
        "lang_to_id": {"<|zh|>": 2},
        "force_words_ids": [[[2, 3]]],
        "suppress_tokens": [4],
        "bad_words_ids": [[3, 4]],
        "sequence_bias": [[[2], 1.0]],
        "text_config": {"vocab_size": 6, "bos_token_id": 5},
        "task_specific_params": {"summary": {"decoder_start_token_id": 5, "length": 4}},
    }


def test_objects_follow_in_place() -> None:
    config = BertConfig(vocab_size=9, pad_token_id=3, eos_token_id=5)
    set_new_ids(config, {3: 0, 5: 1}, 9, 2)
    assert (config.vocab_size, config.pad_token_id, config.eos_token_id) == (2, 0, 1)
    xlm = XLMConfig(vocab_size=9, pad_token_id=3)
    set_new_ids(xlm, {3: 0, 0: 1, 1: 2, 2: 3, 5: 4, 4: 5}, 9, 6)
    assert (xlm.n_words, xlm.pad_token_id) == (6, 0)
    generation = GenerationConfig(eos_token_id=[3, 5], suppress_tokens=[4, 5], bad_words_ids=[[4]])
    set_new_ids(generation, {3: 0, 5: 1}, 9, 2)
    assert (generation.eos_token_id, generation.suppress_tokens, generation.bad_words_ids) == ([0, 1], [1], None)
