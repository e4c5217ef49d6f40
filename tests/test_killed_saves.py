"""Killed at any moment of saving over one another, two versions of a model leave one of them, whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from nlpkit import LadderConfig, LadderModel, PetClassifier, WoBertForMaskedLM, WoBertTokenizer, get_ladder_model
from nlpkit.files import WEIGHTS, whole_folder
from nlpkit.wobert import WoBertConfig

ROOT = Path(__file__).resolve().parent.parent
KILLS = 40
VERSIONS = (0, 1)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# What tells the two versions apart, beside their weights: each number of version 1 is 1, and 0 of version 0.
VOCABULARIES = [[*SPECIAL, "很", "不", "好"], [*SPECIAL, "很", "不", "好", "天气", "酒店"]]
SHARDS = ["8KB", "16KB"]
PATTERNS = ["{mask}好。{text}", "{text}，{mask}好"]
REDUCTIONS = [2, 4]


def language_model(version: int) -> WoBertForMaskedLM:
    config = WoBertConfig(
        vocab_size=len(VOCABULARIES[version]), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    return filled(WoBertForMaskedLM(config), version)


def filled(model: Any, version: int) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(version)
    return model


def version_of(model: Any) -> int:
    numbers = torch.cat([one.flatten() for one in model.parameters() if one.requires_grad]).unique()
    assert numbers.tolist() in ([0.0], [1.0])
    return int(numbers)


def words(version: int) -> WoBertTokenizer:
    return WoBertTokenizer({token: number for number, token in enumerate(VOCABULARIES[version])})


def save_model(parts: Any, folder: Path) -> None:
    version, model, tokenizer = parts
    with whole_folder(folder, replacing=WEIGHTS) as draft:
        model.save_pretrained(draft, max_shard_size=SHARDS[version])
        tokenizer.save_pretrained(draft)


def read_model(folder: Path) -> list[int]:
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    sizes = [len(tokens) for tokens in VOCABULARIES]
    return [version_of(model), sizes.index(model.config.vocab_size), sizes.index(len(tokenizer))]


def make_classifier(version: int) -> PetClassifier:
    return PetClassifier(language_model(version), words(version), PATTERNS[version], {"good": "很", "bad": "不"})


def read_classifier(folder: Path) -> list[int]:
    classifier = PetClassifier.from_pretrained(folder)
    return [*read_model(folder), version_of(classifier.model), PATTERNS.index(classifier.settings()["pattern"])]


def make_ladder(version: int) -> LadderModel:
    return filled(get_ladder_model(language_model(0), LadderConfig(reduction=REDUCTIONS[version])), version)


def read_ladder(folder: Path) -> list[int]:
    ladder = LadderModel.from_pretrained(language_model(0), folder)
    return [version_of(ladder), REDUCTIONS.index(LadderConfig.from_pretrained(folder).reduction)]


class Kind(NamedTuple):
    """What is saved: how a version is made and saved, and of which versions the parts of a saved folder are."""

    make: Callable[[int], Any]
    save: Callable[[Any, Path], None]
    read: Callable[[Path], list[int]]


KINDS = {
    "model": Kind(lambda version: (version, language_model(version), words(version)), save_model, read_model),
    "classifier": Kind(
        make_classifier,
        lambda classifier, folder: classifier.save_pretrained(folder, max_shard_size="8KB"),
        read_classifier,
    ),
    "ladder": Kind(make_ladder, lambda ladder, folder: ladder.save_pretrained(folder), read_ladder),
}


def serve(name: str, folder: Path) -> None:
    """Save and say how long it takes; then, for each line read, start a process that saves the versions in turns."""
    kind = KINDS[name]
    versions = [kind.make(version) for version in VERSIONS]
    kind.save(versions[1], folder)
    began = time.monotonic()
    kind.save(versions[0], folder)
    print(time.monotonic() - began, flush=True)
    for _ in sys.stdin:
        versions.reverse()  # or a slow machine would never come to the second
        writer = os.fork()  # where a new Python would first load torch for seconds
        while not writer:
            for version in versions:
                kind.save(version, folder)
        print(writer, flush=True)
        os.waitpid(writer, 0)
        print("killed", flush=True)


SERVE = """
import sys
from pathlib import Path
from tests.test_killed_saves import serve
serve(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork, and folders that change places")
@pytest.mark.parametrize("name", KINDS)
def test_kills_at_any_moment_leave_one_version_whole(name: str, tmp_path: Path) -> None:
    kind, folder, chance = KINDS[name], tmp_path / "out", random.Random(0)
    found, left = set[int](), 0
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, name, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        turn = 2 * float(server.stdout.readline())  # seconds in which both versions are saved
        for kill in range(10 * KILLS):
            if kill >= KILLS and found == set(VERSIONS) and left:
                break
            print(file=server.stdin, flush=True)
            writer = int(server.stdout.readline())
            time.sleep(chance.random() * turn * (1 + kill / KILLS))  # on a busy machine a save takes longer
            os.kill(writer, signal.SIGKILL)
            assert server.stdout.readline() == "killed\n"
            left += any(".draft-" in path.name for path in tmp_path.iterdir())
            versions = kind.read(folder)
            assert len(set(versions)) == 1, versions
            found.add(versions[0])
        server.stdin.close()
    assert found == set(VERSIONS)
    assert left > 0, "no kill fell into a save"
    kind.save(kind.make(1), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert set(kind.read(folder)) == {1}
