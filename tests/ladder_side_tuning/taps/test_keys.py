"""A row's key holds all that the states depend on, and what it does not hold is never looked up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.taps.cache import TapCache
from nlpkit.ladder_side_tuning.taps.keys import row_keys
from tests.ladder_side_tuning.families_and_heads import FAMILIES, make

Batch = dict[str, Any]
IDS = torch.tensor([[5, 6, 7, 8, 2]])
DECODER_IDS = torch.tensor([[9, 10, 11, 12]])
HOLED, SHORT = torch.tensor([[1, 0, 1, 1, 1]]), torch.tensor([[1, 1, 1, 0, 0]])
#: Inputs of one row that may change its states, each with other ones in its place.
OTHERS: dict[str, Batch] = {
    "nothing else": {},
    "a mask of ones": {"attention_mask": torch.ones_like(IDS)},
    "a mask with a hole": {"attention_mask": HOLED},
    "a shorter mask": {"attention_mask": SHORT},
    "padding before": {"attention_mask": SHORT.flip(1)},
    "other ids as padding before": {"attention_mask": SHORT.flip(1), "input_ids": torch.tensor([[1, 1, 7, 8, 2]])},
    "a mask for each token": {"attention_mask": torch.ones(1, 5, 5).long().tril()},
    "a mask for each head and token": {"attention_mask": torch.zeros(1, 1, 5, 5).double()},
    "kinds of 0": {"token_type_ids": torch.zeros_like(IDS)},
    "kinds of 1": {"token_type_ids": torch.ones_like(IDS)},
    "positions": {"position_ids": torch.arange(5)[None] + 3},
    "positions from the last": {"position_ids": torch.arange(5)[None].flip(1)},
    "a decoder's mask of ones": {"decoder_attention_mask": torch.ones_like(DECODER_IDS)},
    "a decoder's mask with a hole": {"decoder_attention_mask": torch.tensor([[1, 0, 1, 1]])},
    "a decoder's positions": {"decoder_position_ids": torch.arange(4)[None] + 2},
    "tasks": {"task_type_ids": torch.ones_like(IDS)},
}


def the_row(batch: Batch, folder: Path, ladder: Any, **others: Any) -> TapCache:
    cache: TapCache = ladder.cache_taps(
        [batch], folder, lambda _: batch, dtype="float64", show_progress=False, **others
    )
    return cache


def inputs_for(ladder: Any, others: Batch) -> Batch | None:
    """The row with other inputs, or nothing where the model does not name them."""
    known = ladder.forward.__signature__.parameters
    given = {"input_ids": IDS} | ({"decoder_input_ids": DECODER_IDS} if ladder.config.is_encoder_decoder else {})
    return given | others if others.keys() <= known.keys() else None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hit_gives_the_states_of_a_pass_whatever_else_is_given(family: str, tmp_path: Path) -> None:
    ladder = get_ladder_model(make(family, "bare"), LadderConfig(reduction=2)).eval()
    plain = inputs_for(ladder, {})
    assert plain is not None
    cache = the_row({name: value[0] for name, value in plain.items()} | plain, tmp_path, ladder)
    hits = set()
    for what, others in OTHERS.items():
        batch = inputs_for(ladder, others)
        taps = None if batch is None else cache.look_up(ladder, batch)
        if batch is None or taps is None:
            continue
        hits.add(what)
        for stack, live in ladder.tap(**batch).items():
            for layer, tap in live.items():
                torch.testing.assert_close(taps[stack][layer], tap, rtol=0, atol=1e-10, msg=f"{what}, {layer}")
    assert {"nothing else", "a mask of ones"} <= hits


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "BART", "GPT-2"])
def test_all_that_is_kept_is_found_again_and_what_cannot_be_is_refused(family: str, tmp_path: Path) -> None:
    ladder = get_ladder_model(make(family, "bare"), LadderConfig(reduction=2)).eval()
    for number, others in enumerate(OTHERS.values()):
        batch = inputs_for(ladder, others)
        if batch is None:
            continue
        folder = tmp_path / str(number)
        if any("position" in name for name in others) or batch.get("attention_mask", IDS).dim() > 2:
            with pytest.raises(ValueError, match=r"taps are looked up by|by which taps are not"):
                the_row(batch, folder, ladder)
            continue
        taps = the_row(batch, folder, ladder).look_up(ladder, batch)
        assert taps is not None
        for stack, live in ladder.tap(**batch).items():
            for layer, tap in live.items():
                kept = taps[stack][layer].any(-1)  # none where there is padding
                torch.testing.assert_close(taps[stack][layer][kept], tap[kept], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            {"position_ids": torch.arange(5)[None]},
            r"the batch has 'position_ids', on which the backbone's states may depend and by which taps are not l",
        ),
        ({"new_input": torch.ones(1)}, "the batch has 'new_input', on which"),
        ({"inputs_embeds": torch.ones(1, 5, 16)}, "the batch has 'inputs_embeds', on which"),
        (
            {"attention_mask": torch.ones(1, 5, 5)},
            r"attention_mask of shape \(1, 5, 5\); taps are looked up by one value per token, of the shape of input",
        ),
        ({"input_ids": None}, "taps are looked up by token ids; the batch has no input_ids"),
    ],
)
def test_inputs_that_no_key_holds_are_refused_in_caching_and_training_and_run_live_in_evaluation(
    others: Batch, message: str, tmp_path: Path
) -> None:
    ladder = get_ladder_model(make("BERT", "texts"), LadderConfig(reduction=2)).eval()
    plain = {"input_ids": IDS, "labels": torch.tensor([1])}
    cache = the_row({"input_ids": IDS[0]} | plain, tmp_path, ladder)
    with pytest.raises(ValueError, match=message):
        ladder.cache_taps([plain], tmp_path / "more", lambda _: {**plain, **others}, show_progress=False)
    ladder.use_tap_cache(cache)
    assert ladder.find_taps(plain) is not None
    assert ladder.find_taps({**plain, **others}) is None
    with pytest.raises(ValueError, match=message):
        ladder.train().find_taps({**plain, **others})


@pytest.mark.parametrize("family", ["T5", "BART", "mBART"])
def test_what_a_classifiers_decoder_reads_is_told_apart(family: str, tmp_path: Path) -> None:
    """It reads the encoder's inputs shifted, or what it is given, through its own mask."""
    ladder = get_ladder_model(make(family, "texts"), LadderConfig(reduction=2)).eval()
    batch = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    cache = the_row({"input_ids": IDS[0]} | batch, tmp_path, ladder)
    ladder.use_tap_cache(cache)
    assert ladder.find_taps(batch) is not None
    assert ladder.find_taps(batch | {"decoder_input_ids": IDS}) is None
    assert ladder.find_taps(batch | {"decoder_attention_mask": HOLED}) is None
    assert ladder.find_taps(batch | {"decoder_attention_mask": torch.ones_like(IDS)}) is not None
    ladder.config.decoder_start_token_id = 7
    assert ladder.find_taps(batch) is None


def test_keys_tell_apart_what_the_states_depend_on() -> None:
    ids, mask = torch.tensor([[5, 6, 0]]), torch.tensor([[1, 1, 0]])

    def key(stacks: int = 1, **inputs: Any) -> bytes:
        return row_keys({"input_ids": ids, "attention_mask": mask, **inputs}, stacks, 0)[0].digest

    def read(*numbers: int) -> dict[str, Tensor]:
        found = torch.tensor([numbers])
        return {"decoder_input_ids": found.clamp(min=0), "labels": found}

    assert key() == key(input_ids=torch.tensor([[5, 6, 7]]))
    different: list[Mapping[str, Any]] = [
        {},
        {"input_ids": torch.tensor([[5, 7, 0]])},
        {"attention_mask": torch.tensor([[1, 0, 0]])},
        {"attention_mask": torch.tensor([[1.0, 0.5, 0.0]])},
        {"attention_mask": torch.zeros(1, 3).long()},
        {"token_type_ids": torch.tensor([[0, 1, 0]])},
        {"token_type_ids": torch.tensor([[0, 0, 0]])},
        {"input_ids": torch.tensor([[0, 5, 6]]), "attention_mask": torch.tensor([[0, 1, 1]])},
        {"input_ids": torch.tensor([[5, 9, 6]]), "attention_mask": torch.tensor([[1, 0, 1]])},
        {"stacks": 2, **read(8, 9)},
        {"stacks": 2, **read(8, 8)},
        {"stacks": 2, **read(8, 8), "decoder_attention_mask": torch.tensor([[0, 1]])},
    ]
    assert len({key(**inputs) for inputs in different}) == len(different)
    assert key(2, **read(8, 9)) == key(2, **read(8, 9, -100))
    with pytest.raises(ValueError, match="taps are looked up by token ids; the batch has no input_ids"):
        row_keys({}, 1, 0)
    with pytest.raises(ValueError, match="taps of a decoder are looked up by what it reads; the batch has no labels"):
        row_keys({"input_ids": ids}, 2, 0)
