"""Verbs give the same lines whoever does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

Call = Callable[..., str]

TEXTS = ["酒店的服务态度很好", "", "今天天气不错，我们去公园散步。", '{"text": "他在北京"}', "房间\u2028很脏"] * 300
VERBS = {
    "tokenize": [],
    "segment": ["--json"],
    "segment both": ["--source", "both", "--sample", "20"],
    "segment length": ["--mean-length", "1.5", "--absolute"],
    "classify": ["--calibrate", "-p", "{text}总之很{mask}。", "-l", "good=好,满意", "-l", "bad=坏,失望"],
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), "utf-8")
    return path


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[scale]'")
    yield
    import ray

    ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_several_processes_answer_as_one(call: Call, file: Path, verb: str) -> None:
    command = [verb.split()[0], *VERBS[verb], "--file", str(file)]
    assert call(*command, "--workers", "2") == call(*command)


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("verb", VERBS)
def test_ray_answers_as_one_process(call: Call, file: Path, verb: str) -> None:
    command = [verb.split()[0], *VERBS[verb], "--file", str(file)]
    assert call(*command, "--engine", "ray", "--workers", "2") == call(*command)


def test_what_an_engine_cannot_do_is_one_line(refuse: Call) -> None:
    assert "--engine dask is unknown; give here or ray" in refuse("tokenize", "--engine", "dask", "好")
    assert "several processes read a file" in refuse("segment", "--workers", "2", "好")
    if find_spec("ray"):
        assert "--engine ray reads a file wherever there is room; give it with --file" in refuse(
            "tokenize", "--engine", "ray", "好"
        )
    else:
        assert "install the extra 'scale'" in refuse("tokenize", "--engine", "ray", "好")
