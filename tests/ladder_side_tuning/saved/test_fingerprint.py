"""A backbone is known by everything that its taps depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import EsmConfig, EsmModel

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model, tune_from
from nlpkit.ladder_side_tuning.saved.fingerprint import backbone_fingerprint, frozen_head_fingerprint, tap_fingerprints
from tests.ladder_side_tuning.families_and_heads import FAMILIES, batch_of, make, rows_of
from tests.ladder_side_tuning.small_models import BERT, small_model

Change = Callable[[Any], None]


def add_to(path: str) -> Change:
    def change(model: Any) -> None:
        with torch.no_grad():
            model.get_parameter(path).flatten()[0].add_(0.5)

    return change


def setting(name: str, value: object) -> Change:
    return lambda model: setattr(model.config, name, value)


#: Family, what is changed, and how.
CHANGES: list[tuple[str, str, Change]] = [
    ("BERT", "positions", add_to("embeddings.position_embeddings.weight")),
    ("BERT", "kinds of token", add_to("embeddings.token_type_embeddings.weight")),
    ("BERT", "the embeddings' norm", add_to("embeddings.LayerNorm.bias")),
    ("BERT", "an activation", setting("hidden_act", "relu")),
    ("BERT", "an epsilon", setting("layer_norm_eps", 1e-3)),
    ("ELECTRA", "a projection of embeddings", add_to("embeddings_project.weight")),
    ("MPNet", "relative positions", add_to("encoder.relative_attention_bias.weight")),
    ("DeBERTa-v2", "relative positions", add_to("encoder.rel_embeddings.weight")),
    ("DeBERTa-v2", "the norm of relative positions", add_to("encoder.LayerNorm.weight")),
    ("BART", "a decoder's positions", add_to("decoder.embed_positions.weight")),
    ("BART", "a decoder's norm", add_to("decoder.layernorm_embedding.weight")),
    ("T5", "relative positions", add_to("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")),
    ("GPT-2", "positions", add_to("wpe.weight")),
    ("OPT", "a projection of embeddings", add_to("decoder.project_in.weight")),
    ("ModernBERT", "the embeddings' norm", add_to("embeddings.norm.weight")),
    ("Granite", "a multiplier", setting("embedding_multiplier", 3.0)),
]


@pytest.mark.parametrize(("family", "what", "change"), CHANGES, ids=lambda value: value if type(value) is str else "")
def test_whatever_taps_depend_on_tells_backbones_apart(family: str, what: str, change: Change, tmp_path: Path) -> None:
    """Caches and saved ladders of one are refused beside the other."""
    model = make(family, "bare")
    batch = batch_of(model, "bare")
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    cache = ladder.cache_taps(rows_of(batch)[:1], tmp_path / "taps", lambda _: batch, show_progress=False)
    ladder.save_pretrained(tmp_path / "ladder")
    other = make(family, "bare")
    change(other)
    beside_other = get_ladder_model(other, LadderConfig(reduction=2))
    with pytest.raises(ValueError, match="is stale: it was made with other backbone weights or settings"):
        beside_other.use_tap_cache(cache)
    with pytest.raises(ValueError, match=r"was trained beside other weights than those of the given .* or with other"):
        LadderModel.from_pretrained(other, tmp_path / "ladder")
    get_ladder_model(make(family, "bare"), LadderConfig(reduction=2)).use_tap_cache(cache)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_that_changes_a_tap_changes_its_fingerprint(family: str) -> None:
    model = make(family, "bare")
    batch = batch_of(model, "bare")
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    before, digest = ladder.tap(**batch), backbone_fingerprint(ladder)
    for name, parameter in model.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(torch.rand_like(parameter) + 0.1)
            taps = ladder.tap(**batch)
            same = all(torch.equal(tap, before[s][layer]) for s, found in taps.items() for layer, tap in found.items())
            assert same or backbone_fingerprint(ladder) != digest, name
            parameter.copy_(kept)
    assert backbone_fingerprint(ladder) == digest


def test_padding_counts_where_positions_are_counted_from_it() -> None:
    found = []
    for padding in (1, 3):
        model = make("RoBERTa", "bare")
        model.embeddings.padding_idx = padding
        found.append(backbone_fingerprint(get_ladder_model(model, LadderConfig(reduction=2))))
    assert found[0] != found[1]


@pytest.mark.parametrize(("name", "value"), [("token_dropout", False), ("mask_token_id", 5)])
def test_dropout_that_acts_in_evaluation_tells_backbones_apart(name: str, value: object, tmp_path: Path) -> None:
    """ESM leaves out the embeddings of masked tokens, and scales the others."""

    def esm(**settings: Any) -> Any:
        torch.manual_seed(11)
        sizes = {**BERT, "pad_token_id": 1, "mask_token_id": 7, "token_dropout": True}
        return EsmModel(EsmConfig(**{**sizes, **settings})).double().eval()

    batch = {"input_ids": torch.tensor([[5, 7, 8, 9]])}
    ladder, other = (get_ladder_model(esm(**changes), LadderConfig(reduction=2)) for changes in ({}, {name: value}))
    assert not torch.equal(ladder.tap(**batch)["encoder"][0], other.tap(**batch)["encoder"][0])
    cache = ladder.cache_taps([{"input_ids": [5]}], tmp_path / "taps", lambda _: batch, show_progress=False)
    ladder.save_pretrained(tmp_path / "ladder")
    with pytest.raises(ValueError, match="is stale: it was made with other backbone weights or settings"):
        other.use_tap_cache(cache)
    get_ladder_model(esm(), LadderConfig(reduction=2)).use_tap_cache(cache)
    with pytest.raises(ValueError, match=r"was trained beside other weights than those of the given .* or with other"):
        LadderModel.from_pretrained(esm(**{name: value}), tmp_path / "ladder")


@pytest.mark.parametrize(
    ("family", "head", "name", "value"),
    [
        ("Granite", "causal LM", "logits_scaling", 30.0),
        ("Gemma 2", "causal LM", "final_logit_softcapping", 3.0),
        ("T5", "seq2seq LM", "scale_decoder_outputs", False),
        ("umT5", "seq2seq LM", "tie_word_embeddings", False),
        ("ModernBERT", "texts", "classifier_pooling", "mean"),
    ],
)
def test_settings_that_shape_the_answers_of_a_head_are_known(
    family: str, head: str, name: str, value: object, tmp_path: Path
) -> None:
    get_ladder_model(make(family, head), LadderConfig(reduction=2)).save_pretrained(tmp_path)
    LadderModel.from_pretrained(make(family, head), tmp_path)
    other = make(family, head)
    assert getattr(other.config, name) != value
    setattr(other.config, name, value)
    with pytest.raises(ValueError, match=rf"was trained with {name}=.*, by which its head answers|or with other sett"):
        LadderModel.from_pretrained(other, tmp_path)


def test_a_setting_that_is_not_known_counts() -> None:
    model = small_model("bert-sequence")
    before = backbone_fingerprint(get_ladder_model(model, LadderConfig(reduction=2)))
    model.config.dropout_of_another_kind = 0.3
    assert backbone_fingerprint(get_ladder_model(model, LadderConfig(reduction=2))) != before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_labels", 7),
        ("hidden_dropout_prob", 0.3),
        ("pad_token_id", 3),
        ("use_cache", False),
        ("name_or_path", "x"),
    ],
)
def test_settings_without_effect_change_nothing(name: str, value: object) -> None:
    model = small_model("bert-sequence")
    before = backbone_fingerprint(get_ladder_model(model, LadderConfig(reduction=2)))
    setattr(model.config, name, value)
    assert backbone_fingerprint(get_ladder_model(model, LadderConfig(reduction=2))) == before


def test_heads_share_the_taps_of_their_backbone() -> None:
    found = {
        backbone_fingerprint(get_ladder_model(make("BERT", head), LadderConfig(reduction=2)))
        for head in ("bare", "bare")
    }
    model = make("BERT", "texts")
    beside = [get_ladder_model(part, LadderConfig(reduction=2)) for part in (model, model.bert)]
    assert len({backbone_fingerprint(ladder) for ladder in beside} | found) == 2


def test_a_tap_depends_on_nothing_above_it() -> None:
    model = small_model("bert-sequence")
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    before = tap_fingerprints(ladder)["bert.encoder"]
    assert len(set(before.values())) == 4
    assert tap_fingerprints(tune_from(model, 2))["bert.encoder"] == {1: before[1]}
    with torch.no_grad():
        model.bert.encoder.layer[2].output.dense.weight[0, 0] += 1
    after = tap_fingerprints(ladder)["bert.encoder"]
    assert [before[layer] == after[layer] for layer in range(4)] == [True, True, False, False]


def test_a_frozen_head_is_known_too(tmp_path: Path) -> None:
    ladder = get_ladder_model(small_model("bert-mlm"), LadderConfig(reduction=2))
    ladder.save_pretrained(tmp_path)
    other = small_model("bert-mlm")
    with torch.no_grad():
        other.cls.predictions.transform.dense.weight[0, 0] += 1
    assert frozen_head_fingerprint(ladder) != frozen_head_fingerprint(
        get_ladder_model(other, LadderConfig(reduction=2))
    )
    with pytest.raises(ValueError, match="was trained with another head on the same backbone, which it did not train"):
        LadderModel.from_pretrained(other, tmp_path)
