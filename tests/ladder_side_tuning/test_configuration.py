from __future__ import annotations

import json
from typing import Any

import pytest

from nlpkit.ladder_side_tuning.configuration import LadderConfig


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
    with pytest.raises(ValueError, match="a ladder has no setting 'rank'"):
        LadderConfig.from_dict({"rank": 8})


def test_layers_by_role() -> None:
    config = LadderConfig(layers={"decoder": [1]})
    assert config.layers_of("decoder") == [1]
    assert LadderConfig(layers=3).layers_of("encoder") == 3
    with pytest.raises(ValueError, match="says nothing about the encoder; add it"):
        config.layers_of("encoder")
