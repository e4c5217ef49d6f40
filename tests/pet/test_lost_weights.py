"""What a classifier's folder answers is what was saved last, whole, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
from nlpkit.pet import HeadClassifier, PetClassifier, load_classifier

SHIPPED = "wobert-mini-zh"
TEXTS = ["房间又大又干净", "空调坏了没人修"]


def made(kind: str) -> Any:
    if kind == "pet":
        return PetClassifier.from_pretrained(SHIPPED, "{text}总之，我很{mask}。", {"good": "满意", "bad": "失望"})
    torch.manual_seed(0)
    return HeadClassifier.from_pretrained(SHIPPED, ["good", "bad"])


def disturb(module: torch.nn.Module) -> None:
    """In place of training."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)


@pytest.mark.parametrize("older", ["ladder", "lora"])
@pytest.mark.parametrize("kind", ["pet", "head"])
def test_the_last_save_is_what_is_loaded(kind: str, older: str, tmp_path: Path) -> None:
    before = made(kind)
    if older == "ladder":
        before.model = get_ladder_model(before.model, LadderConfig(reduction=8))
    else:
        heads = {} if kind == "pet" else {"modules_to_save": ["classifier", "pooler"]}
        before.model.add_adapter(LoraConfig(r=4, target_modules=["query"], init_lora_weights=False, **heads))
    disturb(before.model)
    before.save_pretrained(tmp_path)
    after = made(kind)
    assert np.abs(after.predict_proba(TEXTS) - before.predict_proba(TEXTS)).max() > 1e-3
    after.save_pretrained(tmp_path)
    loaded = load_classifier(tmp_path).predict_proba(TEXTS)
    np.testing.assert_allclose(loaded, after.predict_proba(TEXTS), atol=1e-6)
    before.save_pretrained(tmp_path)  # and the other way round
    loaded = load_classifier(tmp_path).predict_proba(TEXTS)
    np.testing.assert_allclose(loaded, before.predict_proba(TEXTS), atol=1e-6)


@pytest.mark.parametrize("by", ["peft", "transformers"])
def test_an_adapter_without_the_new_head_is_refused_when_it_is_saved(by: str, tmp_path: Path) -> None:
    classifier = made("head")
    settings: dict[str, Any] = {"r": 4, "target_modules": ["query"], "task_type": "SEQ_CLS"}
    if by == "peft":
        classifier.model = get_peft_model(classifier.model, LoraConfig(**settings))
    else:
        classifier.model.add_adapter(LoraConfig(**settings))
    lost = r"without bert\.pooler\.dense\.bias \(and \d more\).*modules_to_save=\['bert\.pooler\.dense'"
    with pytest.raises(ValueError, match=lost):
        classifier.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    if by == "peft":
        classifier.model = classifier.model.merge_and_unload()
        classifier.save_pretrained(tmp_path / "saved")
        loaded = load_classifier(tmp_path / "saved").predict_proba(TEXTS)
        np.testing.assert_allclose(loaded, classifier.predict_proba(TEXTS), atol=1e-6)


def test_a_saved_classifier_that_lacks_its_head_is_refused(tmp_path: Path) -> None:
    made("head").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if "classifier" not in name},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ValueError, match=r"lacks classifier\.bias \(and 1 more\), which would be random"):
        load_classifier(tmp_path)
