"""Each cell of the page's table: families by heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
from tests.ladder_side_tuning.families_and_heads import CELLS, FAMILIES, GENERATING, HEADS, batch_of, make, rows_of
from tests.ladder_side_tuning.small_models import answers, set_gates

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ladder_side_tuning.md"


def each(cells: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Parametrises over cells; the first of each family belongs to the quick tests."""
    first = dict(reversed(cells))
    marks = {cell: [] if first[cell[0]] == cell[1] else [pytest.mark.slow] for cell in cells}
    return pytest.mark.parametrize(("family", "head"), [pytest.param(*cell, marks=marks[cell]) for cell in cells])


@each(CELLS)
def test_the_backbone_beside_itself_is_the_backbone_and_taps_stand_in_for_it(
    family: str, head: str, tmp_path: Path
) -> None:
    model = make(family, head)
    batch = batch_of(model, head)
    expected = answers(model(**batch))
    ladder = get_ladder_model(model, LadderConfig(reduction=1))
    set_gates(ladder, torch.inf)
    assert torch.equal(answers(ladder(**batch)), expected)

    narrow = get_ladder_model(model, LadderConfig(reduction=2)).eval()
    live = answers(narrow(**batch))
    assert not torch.equal(live, expected)
    narrow.use_tap_cache(
        narrow.cache_taps(rows_of(batch)[:1], tmp_path, lambda _: batch, dtype="float64", show_progress=False)
    )
    for stack in narrow.stacks:
        for rung in narrow.rungs(stack):
            rung.block.forward = lambda *args, **kwargs: pytest.fail("the backbone ran")
    found = answers(narrow(**batch))
    if found.dim() == 3 and "decoder_input_ids" not in batch:  # padding is zeros in the cache
        real = batch["attention_mask"].bool()
        found, live = found[real], live[real]
    assert torch.equal(found, live)


@each(GENERATING)
def test_generation_with_a_cache_of_keys_equals_generation_without(family: str, head: str) -> None:
    model = make(family, head)
    ladder: Any = get_ladder_model(model, LadderConfig(reduction=2, init="random", layers=2)).eval()
    for key, parameter in ladder.named_parameters():
        if key.endswith("side.up.weight"):
            parameter.data.mul_(5)  # so that other tokens win at other places
    batch = {"input_ids": torch.randint(5, 40, (2, 5), generator=torch.Generator().manual_seed(5))}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    settings: dict[str, Any] = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    found = ladder.generate(**batch, **settings, use_cache=True)
    assert torch.equal(found, ladder.generate(**batch, **settings, use_cache=False))
    assert len(found.unique()) > 3


def test_the_page_shows_these_cells() -> None:
    lines = [f"| family | {' | '.join(HEADS)} |", f"| --- |{' :---: |' * len(HEADS)}"]
    lines += [
        f"| {family} | {' | '.join('yes' if (family, head) in CELLS else '' for head in HEADS)} |"
        for family in FAMILIES
    ]
    assert "\n".join(lines) in PAGE.read_text("utf-8")
