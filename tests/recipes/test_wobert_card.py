"""The model card says what it was given, in the form the hub reads."""

from __future__ import annotations

from importlib.metadata import version

import yaml

from recipes.wobert_pretrain import WoBertArguments, card_of

METRICS = {
    "loss": 2.5,
    "accuracy": 0.45678,
    "targets": 12345,
    "loss_law": 2.0,
    "accuracy_law": 0.5,
    "targets_law": 12000,
    "loss_web": 4.0,
    "accuracy_web": 0.25,
    "targets_web": 345,
}


def card(**changes):
    settings = {"model_name": "tiny", "license": "mit", "notice": "Weights from *elsewhere*."} | changes
    return card_of(
        WoBertArguments(model_path="start", train_files=["texts"], **settings),
        facts={"tokens seen": 1234567, "learning rate": "6e-4, linear", "dropout": 0.1},
        domains={"law": 1 / 3, "web": 2.0},
        metrics=METRICS,
    )


def test_the_header_is_yaml():
    header = yaml.safe_load(card().split("---\n")[1])
    assert header["license"] == "mit"
    assert header["pipeline_tag"] == "fill-mask"
    assert "license" not in yaml.safe_load(card(license=None).split("---\n")[1])


def test_results_stand_by_domain_and_overall():
    table = [line for line in card().split("\n") if line.startswith("| ")]
    assert "| law | 0.333333 | 12,000 | 2.000 | 0.500 |" in table
    assert "| web | 2 | 345 | 4.000 | 0.250 |" in table
    assert "| **all** | | 12,345 | 2.500 | 0.457 |" in table


def test_facts_notice_and_versions_are_told():
    text = card()
    for part in ("| tokens seen | 1,234,567 |", "| learning rate | 6e-4, linear |", "| dropout | 0.1 |"):
        assert part in text
    assert "## Sources and notices\n\nWeights from *elsewhere*." in text
    assert f"torch {version('torch')}" in text
    assert "Sources" not in card(notice=None)
