"""Fixtures every test may use: a small vocabulary, the public data beside the checkout, text written for the tests."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Time limits make tests fail on a busy machine; what is timed belongs to benchmarks/.
settings.register_profile("nlpkit", deadline=None)
settings.load_profile("nlpkit")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """No test reaches the network or leaves anything in the home folder, nor do the processes that tests start.

    This comes before any import of what reads these variables; workers of pytest-xdist inherit the folder.
    """
    place = os.environ.get("NLPKIT_TEST_HOME")
    if place is None:
        place = os.environ["NLPKIT_TEST_HOME"] = tempfile.mkdtemp(prefix="nlpkit-tests-")
        config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("HF_HOME", "HF_DATASETS_CACHE", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCH_HOME", "TMPDIR"):
        folder = Path(place, name.lower())
        folder.mkdir(exist_ok=True)
        os.environ[name] = str(folder)
    tempfile.tempdir = None  # jieba keeps its cache where temporary files go


_modules = 0


@pytest.fixture(autouse=True)
def imports_spared_by_the_collector_of_garbage() -> None:
    """Freeze what imports have made: Trainer collects garbage in each training, a third of the time of these tests."""
    global _modules
    if len(sys.modules) > _modules:
        gc.collect()
        gc.freeze()
        _modules = len(sys.modules)


@pytest.fixture(autouse=True)
def no_graph_of_another_test() -> Iterator[None]:
    """Forget compiled graphs: torch keeps eight of a function for the whole process, and refuses the ninth."""
    yield
    if "torch._dynamo" in sys.modules:
        sys.modules["torch"].compiler.reset()


def _beside(variable: str, folder: str) -> Path | None:
    path = Path(os.environ.get(variable) or ROOT.parent / "shared" / folder)
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public data sets; the test is skipped where they are absent."""
    path = _beside("NLPKIT_DATA", "data")
    if path is None:
        pytest.skip("public data sets not found: set NLPKIT_DATA")
    return path


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Real vocabularies and encoders; the test is skipped where they are absent."""
    path = _beside("NLPKIT_MODELS", "models")
    if path is None:
        pytest.skip("real models not found: set NLPKIT_MODELS")
    return path


@pytest.fixture(scope="session")
def wobert_vocabulary(shared_models: Path) -> Path:
    """The released vocabulary of WoBERT."""
    return shared_models / "vocab" / "wobert-base.vocab.txt"


@pytest.fixture(scope="session")
def small_vocabulary() -> dict[str, int]:
    """A vocabulary with words, characters, Latin pieces and a piece of decomposed Hangul."""
    tokens = (
        "[PAD] [UNK] [CLS] [SEP] [MASK] 今天 天气 不错 酒店 服务 态度 很 好 满意 随时 随地 时随 房间 干净 推荐 朋友"
        " 服 务 态 度 今 天 气 不 错 酒 店 的 我 们 随 时 地 好 一 了 是 人 ， 。 ！ ？ “ ” ( ) . , - ! 3 ##."
        " ##14 14 hello world ##s ##er lower cafe a b c d e f g h i n t ##a ##b ##c ##d ##e ##f ##g ##n ##t"
        " σ ##ς ᄒ ##ᅡ ##ᆫ ü u あ ##い"
    ).split()
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}
