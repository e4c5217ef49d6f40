"""Losses after a model's own tokens, against what ``generate`` writes and a pass on it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertLMHeadModel, BertModel, EncoderDecoderModel, XLNetConfig, XLNetLMHeadModel

from nlpkit.teaforn import Exposure, gains_by_beam, measure_exposure, plot_exposure, plot_gain_by_beam
from tests.teaforn.models import PROMPT, WRITERS, batch_for


def slow(model: Any, batch: Any, row: int, end: int) -> list[tuple[float, float, bool]]:
    """Losses after both, and agreement, of one row, by stock ``generate`` and stock forward passes."""
    labels = [token for token in batch["labels"][row].tolist() if token != -100]
    one = {name: value[row : row + 1] for name, value in batch.items() if name != "labels"}
    generation = {"max_new_tokens": len(labels), "do_sample": False, "num_beams": 1}
    if model.config.is_encoder_decoder:
        own = model.generate(**one, **generation)[0, 1:].tolist()
        start = [model.config.decoder_start_token_id]
        read = [torch.tensor([start + tokens[:-1]]) for tokens in (labels, own + [0] * (len(labels) - len(own)))]
        after = [model(**one, decoder_input_ids=ids).logits[0] for ids in read]
    else:
        prompt = one["input_ids"][:, :PROMPT]
        own = model.generate(prompt, attention_mask=torch.ones_like(prompt), **generation)[0, PROMPT:].tolist()
        padded = own + [0] * (len(labels) - len(own))
        read = [torch.cat([prompt, torch.tensor([tokens])], 1) for tokens in (labels, padded)]
        after = [model(ids).logits[0, PROMPT - 1 : -1] for ids in read]
    found = []
    for place, label in enumerate(labels):
        gold, ours = (F.cross_entropy(logits[place], torch.tensor(label)).item() for logits in after)
        found.append((gold, ours, own[place] == label))
        if own[place] == end:
            break
    return found


@pytest.mark.parametrize("name", ["T5", "BART", "Llama", "Qwen 3", "OPT", "CTRL"])
def test_it_is_what_generate_and_a_pass_on_its_tokens_say(name: str) -> None:
    model = WRITERS[name]().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # texts that say something
    batch = batch_for(model)
    # A token that some row writes in the middle.
    own = measure_exposure(model, [batch], end=99, show_progress=False)
    assert own.rows.tolist() == [3, 3, 2, 2, 2, 1, 1]
    for end in (99, *range(1, 40)):
        model.generation_config.eos_token_id = model.config.eos_token_id = end
        model.generation_config.pad_token_id, model.generation_config.forced_eos_token_id = 0, None
        rows = [slow(model, batch, row, end) for row in range(3)]
        found = measure_exposure(model, [batch], show_progress=False)
        assert found.rows.tolist() == [count for place in range(7) if (count := sum(len(row) > place for row in rows))]
        for place in range(len(found.rows)):
            there = [row[place] for row in rows if len(row) > place]
            expected = np.mean(there, axis=0)
            np.testing.assert_allclose(
                [found.gold[place], found.own[place], found.agreement[place]], expected, rtol=1e-9
            )
        if sum(map(len, rows)) < 7 + 5 + 2:
            break
    else:
        pytest.fail("no row ends early, so that nothing was seen of ends")


def test_batches_add_up_and_the_model_is_left_as_it_was() -> None:
    model = WRITERS["T5"]().double().train()
    first, second = batch_for(model, 3, seed=1), batch_for(model, 2, seed=2)
    both = measure_exposure(model, [first, second], show_progress=False)
    assert model.training
    one, other = (measure_exposure(model, [batch], show_progress=False) for batch in (first, second))
    for place, rows in enumerate(both.rows):
        total = sum(part.own[place] * part.rows[place] for part in (one, other) if place < len(part.rows))
        assert both.own[place] == pytest.approx(total / rows)
    assert both.gap == pytest.approx(((both.own - both.gold) * both.rows).sum() / both.rows.sum())


def test_a_model_that_reads_what_comes_later_is_refused() -> None:
    torch.manual_seed(0)
    model = XLNetLMHeadModel(XLNetConfig(vocab_size=40, d_model=16, n_layer=1, n_head=2, d_inner=16))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10.0)  # of the first weights all answers are nearly the same
    with pytest.raises(ValueError, match="XLNetLMHeadModel foresees its first token otherwise when later ones change"):
        measure_exposure(model, [batch_for(model)], show_progress=False)


def test_pairs_of_models_are_measured() -> None:
    """Whose settings as a pair name no end."""
    small = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**small, intermediate_size=16, is_decoder=True, add_cross_attention=True)
    model = EncoderDecoderModel(encoder=BertModel(BertConfig(**small)), decoder=BertLMHeadModel(config))
    model.config.decoder_start_token_id, model.config.pad_token_id = 2, 0
    found = measure_exposure(model, [batch_for(model)], show_progress=False)
    assert found.rows.tolist() == [3, 3, 2, 2, 2, 1, 1]
    assert found.gold[0] == pytest.approx(found.own[0])


def test_a_batch_without_targets_is_refused() -> None:
    model = WRITERS["T5"]()
    batch = batch_for(model)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    for batches in ([batch], []):
        with pytest.raises(ValueError, match=r"no batch has a label, so that there is no target to compare with"):
            measure_exposure(model, batches, show_progress=False)


def test_pictures_name_all_ways_and_are_the_same_again(tmp_path: Path) -> None:
    one = Exposure(np.array([1.0, 1.1]), np.array([1.0, 1.9]), np.array([0.5, 0.2]), np.array([4, 4]))
    scores = {"base": {1: [10.0, 11.0], 3: [12.0, 12.5]}, "TeaForN 2": {1: [10.5, 11.5], 3: [13.0, 14.0]}}
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        plot_exposure({"base": one, "TeaForN 2": one}, tmp_path / name / "exposure.svg")
        plot_gain_by_beam(scores, tmp_path / name / "beams.svg")
        files.append([(tmp_path / name / file).read_text("utf-8") for file in ("exposure.svg", "beams.svg")])
    assert files[0] == files[1]
    assert "gap 0.40" in files[0][0] and "TeaForN 2" in files[0][0] and "TeaForN 2" in files[0][1]
    with pytest.raises(ValueError, match=r"found is empty"):
        plot_exposure({}, tmp_path / "none.svg")


def test_gains_want_the_same_seeds_and_beams() -> None:
    with pytest.raises(ValueError, match=r"scores are of TeaForN: give 'base', and others beside it"):
        gains_by_beam({"TeaForN": {1: [1.0]}})
    with pytest.raises(ValueError, match=r"'TeaForN' has not the beams and seeds of 'base'"):
        gains_by_beam({"base": {1: [1.0]}, "TeaForN": {1: [1.0, 2.0]}})
