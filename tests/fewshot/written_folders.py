"""Small tasks written for the tests."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nlpkit.fewshot.tasks.folders import TaskFolder
from nlpkit.fewshot.tasks.task import FewShotTask

HOTELS = FewShotTask("hotels", ("review",), ("bad", "good"))


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())
    return path


def reviews(part: str, labels: Iterable[str]) -> list[dict[str, Any]]:
    return [{"id": n, "review": f"{part} 第{n}条", "label": label} for n, label in enumerate(labels)]


def write_hotels(folder: Path, splits: int = 2, test: bool = True) -> TaskFolder:
    """Training sets with more good than bad reviews; tests with three bad ones in four."""
    for split in range(splits):
        write_lines(folder / f"train_{split}.json", reviews(f"train{split}", ["good", "bad", "good"]))
        write_lines(folder / f"dev_{split}.json.xz", reviews(f"dev{split}", ["good", "bad"]))
    write_lines(folder / "train_few_all.json", reviews("all", ["good", "bad"]))
    write_lines(folder / "unlabeled.json", [{"review": "一条没有标签的"}])
    if test:
        write_lines(folder / "test_public.json.xz", reviews("test", ["bad", "bad", "good", "bad"]))
    return TaskFolder(HOTELS, folder)
