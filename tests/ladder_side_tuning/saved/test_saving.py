from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.modeling import LadderModel
from nlpkit.ladder_side_tuning.saved.fingerprint import backbone_fingerprint
from nlpkit.ladder_side_tuning.tuning import tune_from
from tests.ladder_side_tuning.small_models import BERT, answers, small_batch, small_model

ROOT = Path(__file__).resolve().parents[3]


def trained(model: PreTrainedModel) -> Any:
    """A ladder a step away from where it began."""
    ladder = get_ladder_model(model, LadderConfig(reduction=2, layers=2))
    with torch.no_grad():
        for parameter in ladder.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return ladder.eval()


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Any, Path]:
    ladder = trained(small_model("bert-sequence"))
    ladder.save_pretrained(tmp_path / "ladder")
    return ladder, tmp_path / "ladder"


@pytest.mark.parametrize("name", ["bert-sequence", "bert-mlm", "llama", "t5", "bart"])
def test_a_ladder_comes_back_beside_the_same_backbone(name: str, tmp_path: Path) -> None:
    ladder = trained(small_model(name))
    ladder.save_pretrained(tmp_path)
    found = LadderModel.from_pretrained(small_model(name), tmp_path)
    batch = small_batch(ladder)
    assert torch.equal(answers(found(**batch)), answers(ladder(**batch)))
    assert sorted(p.requires_grad for p in found.parameters()) == sorted(p.requires_grad for p in ladder.parameters())


def test_gates_that_were_saved_as_scalars_are_read(saved: tuple[Any, Path]) -> None:
    ladder, folder = saved
    state = load_file(folder / "adapter_model.safetensors")
    gates = [name for name in state if name.endswith(".alpha")]
    assert gates
    save_file(state | {name: state[name].reshape(()) for name in gates}, folder / "adapter_model.safetensors")
    found = LadderModel.from_pretrained(small_model("bert-sequence"), folder)
    batch = small_batch(ladder)
    assert torch.equal(answers(found(**batch)), answers(ladder(**batch)))


def test_the_folder_holds_the_ladder_and_nothing_of_the_backbone(saved: tuple[Any, Path]) -> None:
    ladder, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    state = load_file(folder / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in state.values()) == ladder.num_ladder_parameters()
    assert {name for name in state if ".block." in name and ".side." not in name} == set()
    assert "classifier.weight" in state
    settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert settings["peft_type"] == "LADDER_SIDE_TUNING"
    assert settings["ladder"]["layers"] == 2


def test_another_backbone_is_refused(saved: tuple[Any, Path]) -> None:
    _, folder = saved
    other = small_model("bert-sequence")
    with torch.no_grad():
        other.bert.encoder.layer[2].output.dense.weight[0, 0] += 0.1
    with pytest.raises(ValueError, match="was trained beside other weights than those of the given BertForSequence"):
        LadderModel.from_pretrained(other, folder)
    assert all(parameter.requires_grad for parameter in other.parameters())


def test_another_shape_of_backbone_or_head_is_refused(saved: tuple[Any, Path]) -> None:
    _, folder = saved
    two_labels = BertForSequenceClassification(small_model("bert-sequence").config.__class__(**BERT, num_labels=2))
    two_labels.bert.load_state_dict(small_model("bert-sequence").bert.state_dict())
    with pytest.raises(
        ValueError, match=r"classifier.weight of shape \(3, 16\), the model \(2, 16\); has its head as"
    ):
        LadderModel.from_pretrained(two_labels, folder)
    with pytest.raises(
        ValueError, match=r"with a BertForSequenceClassification and has its bert\.pooler, which the given"
    ):
        LadderModel.from_pretrained(small_model("bert-mlm"), folder)


def test_the_fingerprint_is_of_the_weights_and_not_of_their_precision() -> None:
    model = small_model("bert-sequence")
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    before = backbone_fingerprint(ladder)
    with torch.no_grad():
        ladder.classifier.weight.add_(1)
        ladder.bert.encoder.side.up.weight.add_(1)
    assert backbone_fingerprint(ladder) == before
    assert backbone_fingerprint(ladder.bfloat16()) == before
    with torch.no_grad():
        ladder.bert.embeddings.word_embeddings.weight[3, 3] += 1
    assert backbone_fingerprint(ladder) != before


def test_damaged_and_foreign_folders_are_refused(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = saved
    model = small_model("bert-sequence")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nothing"):
        LadderModel.from_pretrained(model, tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"holds no adapter_config\.json; give the folder of a saved ladder"):
        LadderModel.from_pretrained(model, tmp_path)
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors is damaged or cut off"):
        LadderModel.from_pretrained(model, folder)
    state = load_file_of(whole, tmp_path)
    state.pop("bert.encoder.side.up.bias")
    save_file(state, weights)
    with pytest.raises(
        ValueError, match=r"does not fit BertForSequenceClassification: it lacks bert\.encoder\.side\.up"
    ):
        LadderModel.from_pretrained(model, folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no adapter_model\.safetensors; was it copied whole"):
        LadderModel.from_pretrained(model, folder)
    for name in ("dtype", "backbone_fingerprint", "head"):
        settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        del settings[name]
        (tmp_path / "broken").mkdir(exist_ok=True)
        (tmp_path / "broken" / "adapter_config.json").write_text(json.dumps(settings), "utf-8")
        with pytest.raises(ValueError, match=f"adapter_config.json lacks '{name}'"):
            LadderModel.from_pretrained(model, tmp_path / "broken")


def load_file_of(content: bytes, folder: Path) -> dict[str, torch.Tensor]:
    (folder / "whole.safetensors").write_bytes(content)
    return dict(load_file(folder / "whole.safetensors"))


@pytest.mark.slow
def test_another_process_finds_the_backbone_by_itself(tmp_path: Path) -> None:
    small_model("wobert-sequence").save_pretrained(tmp_path / "backbone")
    from nlpkit.wobert.modeling import WoBertForSequenceClassification

    ladder = trained(WoBertForSequenceClassification.from_pretrained(tmp_path / "backbone"))
    ladder.save_pretrained(tmp_path / "ladder")
    batch = small_batch(ladder)
    save_file(batch, tmp_path / "batch.safetensors")
    script = (
        "import sys; from nlpkit.ladder_side_tuning import LadderModel;"
        "from safetensors.torch import load_file, save_file;"
        "ladder = LadderModel.from_pretrained(None, sys.argv[1] + '/ladder');"
        "answer = ladder(**load_file(sys.argv[1] + '/batch.safetensors')).logits;"
        "save_file({'logits': answer.detach()}, sys.argv[1] + '/answer.safetensors')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment, capture_output=True)
    assert torch.equal(load_file(tmp_path / "answer.safetensors")["logits"], ladder(**batch).logits)


def test_a_ladder_of_a_backbone_from_nowhere_asks_for_it(saved: tuple[Any, Path]) -> None:
    with pytest.raises(ValueError, match="backbone was not loaded from anywhere; give the backbone"):
        LadderModel.from_pretrained(saved[1])


def test_who_saves_a_ladder_beside_a_model_from_nowhere_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small_model("bert-sequence").save_pretrained(tmp_path / "model")
    kept = type(small_model("bert-sequence")).from_pretrained(tmp_path / "model")
    logging.Logger.warning_once.cache_clear()
    trained(kept).save_pretrained(tmp_path / "ladder")
    assert "loaded from nowhere" not in caplog.text
    for place in ("first", "second"):
        trained(small_model("bert-sequence")).save_pretrained(tmp_path / place)
    assert caplog.text.count("loaded from nowhere") == 1


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Any, Path]:
    """What the Hub's client keeps of a ladder ``someone/ladder`` at revision ``v2`` beside ``someone/backbone``."""

    def snapshot(name: str, revision: str) -> Path:
        folder = tmp_path / "cache" / f"models--someone--{name}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / revision).write_text("0" * 40)
        return folder / "snapshots" / ("0" * 40)

    small_model("bert-sequence").save_pretrained(snapshot("backbone", "main"))
    ladder = trained(small_model("bert-sequence"))
    ladder.config.name_or_path = "someone/backbone"
    ladder.save_pretrained(snapshot("ladder", "v2") / "first")
    return ladder, tmp_path / "cache"


def test_a_ladder_and_its_backbone_are_loaded_from_repositories_of_the_hub(repository: tuple[Any, Path]) -> None:
    ladder, cache = repository
    hub: dict[str, Any] = {"cache_dir": cache, "local_files_only": True, "revision": "v2", "subfolder": "first"}
    expected = ladder(**small_batch(ladder)).logits
    for found in (
        LadderModel.from_pretrained("someone/ladder", **hub),
        LadderModel.from_pretrained(None, "someone/ladder", **hub),
        LadderModel.from_pretrained(small_model("bert-sequence"), "someone/ladder", **hub),
    ):
        assert torch.equal(found(**small_batch(ladder)).logits, expected)
    assert LadderConfig.from_pretrained("someone/ladder", **hub).layers == 2
    with pytest.raises(FileNotFoundError, match="'someone/ladder' is no folder here and none of the models by name"):
        LadderModel.from_pretrained("someone/ladder", **{**hub, "revision": "v3"})
    with pytest.raises(FileNotFoundError, match=r"someone/ladder holds no adapter_config\.json"):
        LadderModel.from_pretrained("someone/ladder", **{**hub, "subfolder": "second"})


def test_wrong_arguments_of_loading_are_named(saved: tuple[Any, Path]) -> None:
    model = small_model("bert-sequence")
    with pytest.raises(TypeError, match=r"say where the ladder is: LadderModel\.from_pretrained\(backbone, folder\)"):
        LadderModel.from_pretrained(model)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="the backbone is a model; load it first, or leave it out"):
        LadderModel.from_pretrained("bert-base-chinese", saved[1])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="unknown argument 'device_map'; known are revision, subfolder"):
        LadderModel.from_pretrained(model, saved[1], device_map="auto")


def test_a_ladder_whose_backbone_is_gone_asks_for_it(tmp_path: Path) -> None:
    small_model("bert-sequence").save_pretrained(tmp_path / "backbone")
    ladder = trained(BertForSequenceClassification.from_pretrained(tmp_path / "backbone"))
    ladder.save_pretrained(tmp_path / "ladder")
    (tmp_path / "backbone").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"the backbone of the ladder in .*ladder is gone: .*; give the"):
        LadderModel.from_pretrained(tmp_path / "ladder")


def test_given_weights_are_saved_in_place_of_the_models_own(tmp_path: Path) -> None:
    ladder = trained(small_model("bert-sequence"))
    given = {name: tensor + 1 for name, tensor in ladder.state_dict().items()}
    ladder.save_pretrained(tmp_path, state_dict=given)
    state = load_file(tmp_path / "adapter_model.safetensors")
    assert state.keys() == ladder.ladder_state_dict().keys()
    assert all(torch.equal(tensor, given[name]) for name, tensor in state.items())
    given.pop("classifier.bias")
    with pytest.raises(ValueError, match=r"state_dict lacks 'classifier\.bias' of the ladder"):
        ladder.save_pretrained(tmp_path, state_dict=given)


@pytest.mark.parametrize("what", ["a ladder", "a tuned model's upper part", "settings"])
def test_a_ladder_does_not_go_into_the_folder_of_a_whole_model(what: str, tmp_path: Path) -> None:
    small_model("bert-sequence").save_pretrained(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    model = BertForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(FileExistsError, match="holds a whole model, which would not load any more beside a ladder's"):
        if what == "a ladder":
            trained(model).save_pretrained(tmp_path)
        elif what == "settings":
            LadderConfig().save_pretrained(tmp_path)
        else:
            tune_from(model, 2).save_pretrained(tmp_path, whole=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path).num_labels == 3


def test_pushing_to_the_hub_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    ladder = trained(small_model("bert-sequence"))
    with pytest.raises(OSError, match="offline"):
        ladder.save_pretrained(tmp_path / "ladder", push_to_hub=True, token="hf_none")
    assert (tmp_path / "ladder" / "adapter_model.safetensors").is_file()


def test_older_weights_in_other_files_do_not_stay(tmp_path: Path) -> None:
    for name in ("adapter_model.bin", "adapter_model-00001-of-00002.safetensors", "notes.txt"):
        (tmp_path / name).write_text("old")
    trained(small_model("bert-sequence")).save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "notes.txt",
    ]


def arguments(folder: Path, **settings: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        **settings,
    )


def rows() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(2)
    return [
        {"input_ids": torch.randint(5, 40, (6,), generator=generator), "labels": number % 3} for number in range(12)
    ]


def test_the_trainer_trains_saves_resumes_and_keeps_the_best(tmp_path: Path) -> None:
    """Interrupted after four of six steps and resumed, a run ends where an uninterrupted one does."""

    def trainer(folder: str, **settings: Any) -> Trainer:
        torch.manual_seed(3)
        ladder = get_ladder_model(small_model("bert-sequence"), LadderConfig(reduction=2))
        return Trainer(ladder, arguments(tmp_path / folder, **settings), train_dataset=rows(), eval_dataset=rows()[:4])

    whole = trainer("whole", max_steps=6, save_strategy="no")
    whole.train()
    first = trainer("parts", max_steps=6, save_steps=2)
    first.train()
    second = trainer(
        "parts",
        max_steps=6,
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
    )
    second.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-4"))
    expected = whole.model.ladder_state_dict()
    found = load_file(tmp_path / "parts" / "checkpoint-6" / "adapter_model.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
    best = load_file(Path(second.state.best_model_checkpoint) / "adapter_model.safetensors")
    assert all(torch.equal(tensor, best[name]) for name, tensor in second.model.ladder_state_dict().items())
    second.save_model(str(tmp_path / "final"))
    assert not (tmp_path / "final" / "model.safetensors").exists()
