"""What `accelerate launch` starts in two processes, by DDP and by FSDP, learns what one process does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForTokenClassification, TrainingArguments

from nlpkit.ladder_side_tuning import LadderModel, TapCache
from nlpkit.pet import PetClassifier
from nlpkit.training.frame.refusals import refuse_old_sharding
from nlpkit.wobert import WoBertForMaskedLM
from tests.contract.cases import wobert
from tests.contract.launched_training import MODELS, train

ROOT = Path(__file__).resolve().parents[2]
#: The options of docs/scale.md, behind which there is a program.
LAUNCHES = {
    "ddp": ["--multi_gpu", "--num_processes", "2"],
    "fsdp": "--use_fsdp --fsdp_version 2 --fsdp_cpu_ram_efficient_loading false --num_processes 2".split(),
}
KINDS = ("frame", "tied head", "ladder", "kept taps", "pet")
WEIGHTS = dict.fromkeys(KINDS, "model") | dict.fromkeys(("ladder", "kept taps"), "adapter_model")


def load_beside(folder: str) -> LadderModel:
    """A ladder and its backbone; the folder that that was loaded from went with the process."""
    return LadderModel.from_pretrained(wobert("WoBertForTokenClassification")(), folder)


LOADERS = {
    "frame": BertForTokenClassification.from_pretrained,
    "tied head": WoBertForMaskedLM.from_pretrained,
    "ladder": load_beside,
    "kept taps": load_beside,
    "pet": PetClassifier.from_pretrained,
}
CASES = {
    "frame": "BertForTokenClassification",
    "tied head": "sparse-masked-lm",
    "ladder": "ladder",
    "kept taps": "ladder",
    "pet": "pet",
}


def launch(options: list[str], *program: str) -> subprocess.CompletedProcess[str]:
    """Run a program under `accelerate launch`, on a port that is free."""
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, "--main_process_port", "0", *program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What one process has learnt, and its facts by kind."""
    folder = tmp_path_factory.mktemp("one")
    return folder, {kind: train(kind, folder / kind, 1) for kind in KINDS}


@pytest.fixture(scope="module", params=LAUNCHES)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What two processes have learnt, and by which system."""
    folder = tmp_path_factory.mktemp(request.param)
    done = launch(LAUNCHES[request.param], "-m", "tests.contract.launched_training", str(folder), *KINDS)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one(kind: str, two: tuple[str, Path], one: tuple[Path, dict[str, Any]]) -> None:
    system, folder = two
    facts, expected = json.loads((folder / kind / "facts.json").read_text("utf-8")), one[1][kind]
    if (kind, system) == ("pet", "fsdp"):
        assert "launch it with --multi_gpu" in facts["refused"]
        return
    assert (facts["processes"], facts["sharded"]) == (2, system == "fsdp")
    assert facts["losses"] == pytest.approx(expected["losses"], rel=1e-6)  # logged in fp32
    assert facts["losses after the cut"] == pytest.approx(expected["losses"][2:], rel=1e-6)
    learnt = load_file(one[0] / kind / "model" / f"{WEIGHTS[kind]}.safetensors")
    for name in ("model", "resumed"):
        found = load_file(folder / kind / name / f"{WEIGHTS[kind]}.safetensors")
        assert found.keys() == learnt.keys()
        for key, tensor in learnt.items():
            torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-10, msg=f"{name}: {key}")


@pytest.mark.slow
def test_each_process_keeps_its_share_of_the_taps(two: tuple[str, Path], one: tuple[Path, dict[str, Any]]) -> None:
    caches = [TapCache(folder / "kept taps" / "taps") for folder in (two[1], one[0])]
    assert [len(cache) for cache in caches] == [8, 8]
    files = [sorted(path.name for path in cache.folder.glob("*.safetensors")) for cache in caches]
    assert files == [["taps-00000.safetensors", "taps-00001.safetensors"], ["taps-00000.safetensors"]]
    rows = [len(load_file(caches[0].folder / name)["keys"]) for name in files[0]]
    assert rows == [4, 4]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_two_processes_have_saved_is_loaded_by_one(
    kind: str, two: tuple[str, Path], one: tuple[Path, dict[str, Any]]
) -> None:
    system, folder = two
    if (kind, system) == ("pet", "fsdp"):
        return
    case = MODELS[CASES[kind]]
    batch = {name: tensor for name, tensor in case.collate(case.rows(), None).items() if name != "labels"}
    found, expected = (LOADERS[kind](str(path / kind / "model")).double().eval() for path in (folder, one[0]))
    with torch.no_grad():
        torch.testing.assert_close(found(**batch).logits, expected(**batch).logits, rtol=0, atol=1e-8)


def test_the_page_launches_what_is_launched_here() -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    shown = re.findall(r"^accelerate launch (.* --num_processes 2)[ \n]", page, flags=re.MULTILINE)
    assert {tuple(options.split()) for options in shown} == {tuple(options) for options in LAUNCHES.values()}


def test_sharding_of_version_1_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    refuse_old_sharding(arguments)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="give accelerate launch --fsdp_version 2"):
        refuse_old_sharding(arguments)
    monkeypatch.setenv("FSDP_VERSION", "2")
    refuse_old_sharding(arguments)
    arguments.fsdp_plugin_args = {"fsdp_version": 1}
    with pytest.raises(ValueError, match='leave "version" out of fsdp_config'):
        refuse_old_sharding(arguments)
