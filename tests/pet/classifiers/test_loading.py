"""Everything that trains is saved, and answers the same in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from nlpkit.pet import (
    DemonstratedClassifier,
    Ensemble,
    Fitting,
    HeadClassifier,
    MultiLabelClassifier,
    PetClassifier,
    load_classifier,
    mean_states,
)
from nlpkit.pet.training.trainer import PetTrainer
from tests.pet.classifiers.test_estimator import KINDS, LABELS, TEXTS, demonstrated, head, prompted
from tests.pet.classifiers.test_multi_label import by_pairs, by_words
from tests.pet.models import small_model
from tests.pet.training.test_trainer import settings

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, sys
from pathlib import Path
from nlpkit.pet import load_classifier
texts = json.loads(sys.argv[2])
for folder in sorted(Path(sys.argv[1]).iterdir()):
    made = load_classifier(folder)
    found = {"kind": type(made).__name__, "shares": made.predict_proba(texts).tolist(), "said": made.predict(texts)}
    (folder / "answers.json").write_text(json.dumps(found))
"""


def test_every_kind_answers_the_same_in_a_new_process(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    numbers = [int(label == "good") for label in LABELS]
    kinds = {name: make(small_vocabulary).set_params(fitting=Fitting(max_steps=2)) for name, make in KINDS.items()}
    made = {name: one.fit(TEXTS, LABELS) for name, one in kinds.items()}
    made["numbers"] = prompted(small_vocabulary, words={1: "很", 0: "不"}).set_params(fitting__max_steps=1)
    made["numbers"].fit(TEXTS, numbers)
    made["calibrated"] = HeadClassifier(*head(small_vocabulary), [1, 0]).calibrate([""])
    made["similar"] = demonstrated(small_vocabulary).set_params(
        text_encoder=mean_states(small_model(len(small_vocabulary)).bert.float(), kinds["words"].tokenizer, 12),
        fitting__max_steps=1,
    )
    made["similar"].fit(TEXTS, LABELS)
    made["pairs"] = by_pairs(small_vocabulary, thresholds=[0.1, 0.2, 0.3]).float()
    made["several"] = by_words(small_vocabulary, thresholds=[-4.0, -3.0, -2.0]).float()
    for name, one in made.items():
        one.save_pretrained(tmp_path / name)  # type: ignore[attr-defined]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(TEXTS[:4])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, one in made.items():
        found = json.loads((tmp_path / name / "answers.json").read_text())
        assert found["kind"] == type(one).__name__
        np.testing.assert_allclose(found["shares"], one.predict_proba(TEXTS[:4]), rtol=0, atol=1e-6, err_msg=name)
        assert found["said"] == one.predict(TEXTS[:4]), name


def test_the_trainer_saves_every_kind(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    from nlpkit.pet import LabelLoss

    made = HeadClassifier(*head(small_vocabulary), ["good", "bad"])
    trainer = PetTrainer(LabelLoss(made), settings(tmp_path / "run", max_steps=1), {"text": TEXTS, "label": LABELS})
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    again = HeadClassifier.from_pretrained(tmp_path / "saved")
    assert (again.labels, again.fields) == (made.labels, made.fields)
    np.testing.assert_allclose(again.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-6)
    with pytest.raises(ValueError, match=r"describes a HeadClassifier, not a PetClassifier; load it with nlpkit\.pet"):
        PetClassifier.from_pretrained(tmp_path / "saved")


def test_an_encoder_that_cannot_be_saved_is_asked_for(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    import torch

    def by_length(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[1.0, len(text)] for text in texts])

    support = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    made = demonstrated(small_vocabulary).set_params(support=support, text_encoder=by_length)
    made.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"a text encoder of its user's; give it again: text_encoder=\.\.\."):
        DemonstratedClassifier.from_pretrained(tmp_path)
    again = DemonstratedClassifier.from_pretrained(tmp_path, text_encoder=by_length)
    np.testing.assert_allclose(again.predict_proba(TEXTS[:3]), made.predict_proba(TEXTS[:3]), atol=1e-6)


def test_what_was_not_saved_by_a_classifier_is_refused(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    prompted(small_vocabulary).model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no saved classifier; construct one with its from_pretrained"):
        load_classifier(tmp_path)
    with pytest.raises(ValueError, match="holds no Ensemble"):
        Ensemble.from_pretrained(tmp_path)
    (tmp_path / "pet.json").write_text('{"kind": "Guess"}')
    with pytest.raises(ValueError, match="holds a 'Guess', which is no classifier of nlpkit"):
        load_classifier(tmp_path)
    (tmp_path / "pet.json").write_text('{"kind": "MultiLabelClassifier", "pattern": "{text}{mask}"}')
    with pytest.raises(ValueError, match=r"pet\.json does not describe a saved classifier: words is missing"):
        MultiLabelClassifier.from_pretrained(tmp_path)


def test_a_decoder_is_no_masked_lm(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds a GPT2LMHeadModel, which fills no masks; a masked language model is"):
        PetClassifier.from_pretrained(tmp_path, "{text}{mask}", {"good": "好", "bad": "差"})


@pytest.mark.parametrize("kind", [PetClassifier, HeadClassifier])
def test_a_folder_without_a_tokenizer_is_told(kind: Any, tmp_path: Path) -> None:
    """``AutoTokenizer`` would make one of it that knows no word."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(vocab_size=9, **sizes)).save_pretrained(tmp_path)
    settings = [["good", "bad"]] if kind is HeadClassifier else ["{text}{mask}", {"good": "好", "bad": "差"}]
    with pytest.raises(ValueError, match=r"holds no tokenizer; save one there with tokenizer\.save_pretrained"):
        kind.from_pretrained(tmp_path, *settings)


@pytest.mark.parametrize("kind", ["words", "head", "choice", "demonstrated", "multi_label"])
def test_classifiers_with_a_ladder_are_loaded_again(
    kind: str, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model

    made: Any = (KINDS | {"multi_label": by_words})[kind](small_vocabulary).set_params(fitting=Fitting(max_steps=3))
    made.float().model.save_pretrained(tmp_path / "backbone")
    made.model = get_ladder_model(type(made.model).from_pretrained(tmp_path / "backbone"), LadderConfig(reduction=4))
    if kind == "multi_label":
        made.set_params(model=made.model).fit(TEXTS, [[("酒店", "天气")[label == "bad"]] for label in LABELS])
    else:
        made.fit(TEXTS, LABELS)
    made.save_pretrained(tmp_path / "saved")
    again = load_classifier(tmp_path / "saved")
    assert type(again) is type(made)
    np.testing.assert_allclose(again.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-6)
    assert again.predict(TEXTS) == made.predict(TEXTS)
