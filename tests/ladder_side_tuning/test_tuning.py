"""Tuning from a tap: what is frozen, what is trained, and that keeping the tap changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertForSequenceClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, TapCache, get_ladder_model, tune_from
from tests.ladder_side_tuning.families_and_heads import make
from tests.ladder_side_tuning.small_models import answers, small_batch, small_labels, small_model

Row = dict[str, Any]
each_family = pytest.mark.parametrize(
    "family", ["BERT", "ELECTRA", "RoFormer", "MPNet", "DeBERTa-v2", "ModernBERT", "T5", "BART", "GPT-2", "Gemma 3"]
)


def rows(count: int = 8) -> list[Row]:
    """Of one length, each ending a text, so that batches of four are the same whatever order they come in."""
    generator = torch.Generator().manual_seed(6)
    ids = torch.randint(5, 40, (count, 6), generator=generator)
    ids[:, -1] = 2
    return [{"input_ids": row, "labels": torch.tensor(number % 2)} for number, row in enumerate(ids)]


def collate(chosen: list[Row]) -> dict[str, Tensor]:
    batch = {name: torch.stack([row[name] for row in chosen]) for name in ("input_ids", "labels")}
    return batch | {"attention_mask": torch.ones_like(batch["input_ids"])}


@torch.no_grad()
def answer(model: Any) -> Tensor:
    """Without gradients, which decide between kernels that round differently."""
    return answers(model(**collate(rows())))


def frozen_by_hand(model: Any, layers: Any, others: list[Any]) -> None:
    """The lower part of a plain model, frozen and without dropout."""
    model.train()
    for module in [*layers, *others]:
        module.eval().requires_grad_(False)


def train(model: Any, batches: list[dict[str, Tensor]]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Losses and final weights of a few steps, dropout included."""
    torch.manual_seed(7)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    losses = []
    for batch in batches:
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, dict(model.state_dict())


def test_training_from_a_kept_tap_is_training_with_lower_layers_frozen_bit_for_bit(tmp_path: Path) -> None:
    model = small_model("bert-sequence").double()
    batches = [collate(rows()[start : start + 4]) for start in (0, 4, 0, 4)]
    tuned = tune_from(model, 2)
    cache = tuned.cache_taps(rows(), tmp_path, collate, dtype="float64", batch_size=4, show_progress=False)
    with_cache = tune_from(model, 2, cache).train()
    for rung in with_cache.rungs(with_cache.stacks[0]):
        rung.block.forward = lambda *args, **kwargs: pytest.fail("a frozen layer ran")
    found, trained = train(with_cache, batches)

    live, trained_live = train(tuned.train(), batches)
    by_hand: Any = small_model("bert-sequence").double()
    frozen_by_hand(by_hand, by_hand.bert.encoder.layer[:2], [by_hand.bert.embeddings])
    expected, trained_by_hand = train(by_hand, batches)

    assert found == live == expected
    assert len(set(map(float, expected))) == 4
    for name, tensor in trained_by_hand.items():
        rung_name = name.replace("layer.0.", "layer.0.block.").replace("layer.1.", "layer.1.block.")
        assert torch.equal(trained[rung_name], tensor), name
        assert torch.equal(trained_live[rung_name], tensor), name


@each_family
def test_kept_taps_and_running_layers_give_the_same_in_every_family(family: str, tmp_path: Path) -> None:
    model = make(family, "texts")
    expected = answer(model)
    tuned = tune_from(model, 1)
    assert torch.equal(answer(tuned), expected)
    tuned.use_tap_cache(
        tuned.cache_taps(rows(), tmp_path, collate, dtype="float64", batch_size=8, show_progress=False)
    )
    assert torch.equal(answer(tuned), expected)
    tuned.train()(**collate(rows())).loss.backward()
    read = {".".join(filter(None, place)) for place in tuned.reading.places}
    for name, parameter in tuned.named_parameters():
        assert (parameter.grad is None) or name not in read, name
        assert parameter.requires_grad == any(name.startswith(f"{part}.") for part in tuned.saved_modules), name
    upper = tuned.stacks[0].blocks(tuned)[1]
    assert all(parameter.grad is not None for parameter in upper.parameters())


def test_what_lower_layers_read_is_frozen_wherever_it_is_used() -> None:
    tuned: Any = tune_from(small_model("bert-mlm"), 2)
    assert tuned.cls.predictions.decoder.weight is tuned.bert.embeddings.word_embeddings.weight
    assert not tuned.cls.predictions.decoder.weight.requires_grad
    assert tuned.cls.predictions.transform.dense.weight.requires_grad
    relative: Any = tune_from(make("DeBERTa-v2", "bare"), 2)
    assert not relative.encoder.rel_embeddings.weight.requires_grad
    assert not relative.encoder.LayerNorm.weight.requires_grad


def test_the_given_model_stays_as_it_is() -> None:
    model: Any = small_model("bert-sequence")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = tune_from(model, 2).train(), tune_from(model, 3)
    train(first, [collate(rows())])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    frozen = model.bert.encoder.layer[0].output.dense.weight
    assert second.get_submodule("bert.encoder.layer.0.block").output.dense.weight is frozen


def test_dropout_of_frozen_layers_is_off_and_of_trained_ones_on() -> None:
    tuned: Any = tune_from(small_model("bert-sequence"), 2).train()
    assert not any(module.training for module in tuned.bert.embeddings.modules())
    assert not any(module.training for module in tuned.bert.encoder.layer[1].block.modules())
    assert all(module.training for module in tuned.bert.encoder.layer[2].modules())
    assert not torch.equal(tuned(**collate(rows())).logits, tuned(**collate(rows())).logits)


def test_a_ladders_taps_serve_where_they_hold_the_layer(tmp_path: Path) -> None:
    model = small_model("bert-sequence")
    ladder = get_ladder_model(model, LadderConfig(reduction=2, layers=[1, 3]))
    ladder.cache_taps(rows(), tmp_path, collate, show_progress=False)
    assert tune_from(model, 2, tmp_path).tap_cache is not None
    with pytest.raises(ValueError, match=r"holds layers \[1, 3\] of 'bert.encoder', the ladder also taps \[2\]"):
        tune_from(model, 3, TapCache(tmp_path))
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight[0, 0] += 1
    with pytest.raises(ValueError, match="is stale"):
        tune_from(model, 2, tmp_path)


@pytest.mark.parametrize("layer", [None, 1.0, "1", True])
def test_a_layer_that_is_no_number_is_refused(layer: Any) -> None:
    with pytest.raises(TypeError, match=r"layer=.*: give a whole number at least 1; the first layer that is trained"):
        tune_from(small_model("bert-sequence"), layer)


@pytest.mark.parametrize("layer", [0, 4, 9, -1])
def test_a_layer_that_is_not_between_is_refused(layer: int) -> None:
    with pytest.raises(ValueError, match=r"layer=.* at least 1|training whole from layer \d of 4: use 1 to 3"):
        tune_from(small_model("bert-sequence"), layer)


@each_family
def test_a_ladder_below_begins_with_what_whole_layers_were_taught(family: str, tmp_path: Path) -> None:
    model = make(family, "texts")
    expected = answer(model)
    both = get_ladder_model(model, LadderConfig(reduction=2, whole_from=2, dropout=0.0)).eval()
    assert torch.equal(answer(both), expected)
    landing = both.landing(both.stacks[0])
    assert landing is not None and landing.up is not None
    torch.nn.init.normal_(landing.up.weight)
    changed = answer(both)
    assert not torch.equal(changed, expected)
    cache = both.cache_taps(rows(), tmp_path, collate, dtype="float64", batch_size=8, show_progress=False)
    both.use_tap_cache(cache)
    assert torch.equal(answer(both), changed)
    both.train()(**collate(rows())).loss.backward()
    assert all(p.grad is not None for p in [*both.stacks[0].blocks(both)[2].parameters(), *landing.parameters()])
    assert all(
        p.grad is None for p in both.get_submodule(f"{both.stacks[0].name}").parameters() if not p.requires_grad
    )


def test_whole_models_and_trained_parts_come_back(tmp_path: Path) -> None:
    small_model("bert-sequence").save_pretrained(tmp_path / "base")
    base = BertForSequenceClassification.from_pretrained(tmp_path / "base")
    tuned = tune_from(base, 2).train()
    train(tuned, [collate(rows())])
    expected = tuned.eval()(**collate(rows())).logits
    tuned.save_pretrained(tmp_path / "whole")
    tuned.save_pretrained(tmp_path / "part", whole=False)
    whole = BertForSequenceClassification.from_pretrained(tmp_path / "whole")
    assert type(whole) is BertForSequenceClassification
    assert all(parameter.requires_grad for parameter in whole.parameters())
    again = [
        whole,
        LadderModel.from_pretrained(base, tmp_path / "part"),
        LadderModel.from_pretrained(tmp_path / "part"),
    ]
    again.append(AutoModelForSequenceClassification.from_pretrained(tmp_path / "part"))
    for found in again:
        assert torch.equal(found.eval()(**collate(rows())).logits, expected)
    small, large = ((tmp_path / name).glob("*.safetensors") for name in ("part", "whole"))
    assert next(small).stat().st_size < 0.75 * next(large).stat().st_size
    both = get_ladder_model(base, LadderConfig(reduction=2, whole_from=2))
    with pytest.raises(
        ValueError, match="a side network is no part of the plain model; save the ladder with whole=Fa"
    ):
        both.save_pretrained(tmp_path / "both", whole=True)
    both.eval().save_pretrained(tmp_path / "both")
    loaded = LadderModel.from_pretrained(base, tmp_path / "both")
    assert torch.equal(loaded(**collate(rows())).logits, both(**collate(rows())).logits)


def test_a_whole_model_takes_the_place_of_the_ladder_in_its_folder(tmp_path: Path) -> None:
    small_model("bert-sequence").save_pretrained(tmp_path / "base")
    base = BertForSequenceClassification.from_pretrained(tmp_path / "base")
    tuned = tune_from(base, 2).train()
    tuned.save_pretrained(tmp_path / "tuned", whole=False)
    train(tuned, [collate(rows())])
    tuned.save_pretrained(tmp_path / "tuned")
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned")
    assert torch.equal(found.eval()(**collate(rows())).logits, tuned.eval()(**collate(rows())).logits)


@pytest.mark.parametrize("family", ["T5", "GPT-2", "DeBERTa-v2"])
def test_whole_models_of_every_shape_are_plain(family: str, tmp_path: Path) -> None:
    tuned = tune_from(make(family, "texts"), 1)
    tuned.save_pretrained(tmp_path)
    found: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(answer(found), answer(tuned))


def test_the_trainer_resumes_from_its_own_checkpoints(tmp_path: Path) -> None:
    def trainer(folder: str) -> Any:
        torch.manual_seed(3)
        arguments = TrainingArguments(
            output_dir=str(tmp_path / folder),
            per_device_train_batch_size=2,
            learning_rate=0.05,
            lr_scheduler_type="constant",
            max_steps=6,
            save_steps=2,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
        )
        return Trainer(tune_from(small_model("bert-sequence"), 2), arguments, train_dataset=rows(12))

    whole = trainer("whole")
    whole.train()
    again = trainer("again")
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], tensor)
    plain = BertForSequenceClassification.from_pretrained(tmp_path / "whole" / "checkpoint-6").eval()
    assert torch.equal(plain(**collate(rows())).logits, whole.model.eval()(**collate(rows())).logits)


def test_generation_from_a_layer_is_the_models_own() -> None:
    model = make("Gemma 3", "causal LM")
    ids = rows()[0]["input_ids"][None]
    settings: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(tune_from(model, 2).generate(ids, **settings), model.generate(ids, **settings))


def test_tagging_from_a_layer_with_padding(tmp_path: Path) -> None:
    """States of padding are zeros in the cache; nothing that counts reads them."""
    model = AutoModelForTokenClassification.from_config(make("BERT", "tokens").config).double().eval()
    tuned, batch = tune_from(model, 2), small_batch(model)
    labels = torch.where(batch["attention_mask"].bool(), small_labels(model, batch)["labels"], -100)
    live = tuned(**batch, labels=labels).loss
    chosen = [{"input_ids": row[mask.bool()]} for row, mask in zip(*batch.values(), strict=True)]
    tuned.use_tap_cache(tuned.cache_taps(chosen, tmp_path, lambda _: batch, dtype="float64", show_progress=False))
    torch.testing.assert_close(tuned(**batch, labels=labels).loss, live, rtol=0, atol=1e-12)
