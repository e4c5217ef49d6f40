from __future__ import annotations

import pytest
import torch

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.modeling import LadderModel
from tests.ladder_side_tuning.small_models import answers, narrow, small_batch, small_model


@pytest.mark.parametrize("name", ["bert-sequence", "t5", "llama"])
def test_several_ladders_answer_a_batch_with_one_run_of_the_backbone(name: str) -> None:
    model = small_model(name)
    ladders = {
        str(layers): get_ladder_model(model, LadderConfig(reduction=2, layers=layers)).eval()
        for layers in (None, 1, [0])
    }
    batch = small_batch(model)
    expected = {key: answers(ladder(**batch)) for key, ladder in ladders.items()}
    runs = []
    first = next(iter(ladders.values()))
    for ladder in ladders.values():
        for rung in ladder.stacks[-1].blocks(ladder):
            rung.block.register_forward_hook(lambda *_: runs.append(1))
    found = LadderModel.answer_together(ladders, **batch)
    assert len(runs) == len(first.stacks[-1].blocks(first))
    for key, output in found.items():
        torch.testing.assert_close(answers(output), expected[key], rtol=0, atol=0)


def test_ladders_on_different_backbones_are_not_answered_together() -> None:
    ladders = {"a": narrow("bert-sequence"), "b": narrow("bert-sequence")}
    with pytest.raises(ValueError, match="ladders 'a' and 'b' do not share a backbone; build both on one"):
        LadderModel.answer_together(ladders, **small_batch(ladders["a"]))
    with pytest.raises(ValueError, match="give at least one ladder"):
        LadderModel.answer_together({}, input_ids=torch.tensor([[1]]))
