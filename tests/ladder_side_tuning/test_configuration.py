from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model
from tests.ladder_side_tuning.small_models import small_model


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduction": 0}, r"reduction=0 must be a whole number from 1; the paper uses 8"),
        ({"reduction": 1.5}, r"reduction=1.5 must be a whole number"),
        ({"merge": "sum"}, r"merge='sum' is unknown; use one of 'gate', 'add'"),
        ({"init": "svd"}, r"init='svd' is unknown; use one of 'random', 'magnitude', 'fisher', 'distill'"),
        ({"temperature": 0.0}, r"temperature=0.0 must be above 0"),
        ({"attention_dropout": -0.1}, r"attention_dropout=-0.1 must lie in \[0, 1\)"),
        ({"dropout": 1.0}, r"dropout=1.0 must lie in \[0, 1\)"),
        ({"modules_to_save": "classifier"}, r"modules_to_save='classifier' must be a list of names"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LadderConfig(**settings)


def test_settings_survive_json() -> None:
    config = LadderConfig(
        reduction=4, layers={"encoder": 2, "decoder": [0, 1]}, merge="add", modules_to_save=["score"]
    )
    assert LadderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown setting 'rank' of a ladder"):
        LadderConfig.from_dict({"rank": 8})


def test_layers_by_role() -> None:
    config = LadderConfig(layers={"decoder": [1]})
    assert config.layers_of("decoder") == [1]
    assert LadderConfig(layers=3).layers_of("encoder") == 3
    with pytest.raises(ValueError, match="says nothing about the encoder; add it"):
        config.layers_of("encoder")


def test_a_configuration_is_saved_and_loaded_by_itself(tmp_path: Path) -> None:
    config = LadderConfig(reduction=4, layers=[0, 2], init="random")
    config.save_pretrained(tmp_path / "settings")
    assert LadderConfig.from_pretrained(tmp_path / "settings") == config
    LadderConfig(reduction=2).save_pretrained(tmp_path / "settings")
    assert LadderConfig.from_pretrained(tmp_path / "settings").reduction == 2
    with pytest.raises(ValueError, match="lacks 'base_model_name_or_path': it is a configuration, not a saved ladder"):
        LadderModel.from_pretrained(None, tmp_path / "settings")


def test_the_configuration_of_a_saved_ladder_is_read_and_never_written_over(tmp_path: Path) -> None:
    ladder = get_ladder_model(small_model("bert-sequence"), LadderConfig(reduction=2, layers=2))
    ladder.save_pretrained(tmp_path)
    found = LadderConfig.from_pretrained(tmp_path)
    assert found == LadderConfig(reduction=2, layers=2, modules_to_save=["bert.pooler", "classifier"])
    with pytest.raises(FileExistsError, match=r"adapter_config\.json belongs to a saved adapter"):
        found.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"peft_type": ', r"adapter_config\.json is damaged or cut off"),
        ("[]", r"adapter_config\.json must hold a JSON object"),
        ('{"peft_type": "LORA"}', "holds a LORA adapter, not a ladder; load it with peft"),
        ('{"peft_type": "LADDER_SIDE_TUNING"}', r"adapter_config\.json lacks the settings of its ladder"),
        ('{"peft_type": "LADDER_SIDE_TUNING", "ladder": {"rank": 1}}', "unknown setting 'rank' of a ladder"),
    ],
)
def test_a_broken_configuration_is_one_error_that_names_it(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(content, "utf-8")
    for load in (LadderConfig.from_pretrained, LadderModel.from_pretrained):
        with pytest.raises(ValueError, match=message):
            load(tmp_path)
