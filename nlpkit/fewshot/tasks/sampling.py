"""Few-shot splits of one's own: k examples per class, drawn once, written to disk in the published layout."""

from __future__ import annotations

import json
import random
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nlpkit.fewshot.tasks.folders import FEWCLUE_LAYOUT
from nlpkit.fewshot.tasks.leaks import normalised_key
from nlpkit.fewshot.tasks.task import FewShotTask, Record
from nlpkit.files import whole_folder


def draw_k_shot(
    keys: Sequence[Hashable], labels: Sequence[str], k: int, dev_k: int, seed: int
) -> tuple[list[int], list[int]]:
    """Draw training and development examples, so many per class, without a text in common.

    Texts that occur several times are drawn once at most, and those that occur with different labels never.

    Args:
        keys: what identifies the text of each example.
        labels: the label of each example.
        k: training examples per class.
        dev_k: development examples per class.
        seed: of the draw; the order of the examples decides, too.

    Returns:
        Numbers of the training examples and of the development examples, each in a random order.

    Raises:
        ValueError: ``k`` or ``dev_k`` is below 1, or a class has fewer than ``k + dev_k`` different texts.

    Example:
        >>> train, dev = draw_k_shot(range(20), ["a", "b"] * 10, k=2, dev_k=3, seed=0)
        >>> len(train), len(dev), set(train) & set(dev)
        (4, 6, set())
    """
    if k < 1 or dev_k < 1:
        raise ValueError(f"k is {k} and dev_k {dev_k}; both must be at least 1, because models are selected on dev")
    labels_of: dict[Hashable, set[str]] = {}
    for key, label in zip(keys, labels, strict=True):
        labels_of.setdefault(key, set()).add(label)
    pools: dict[str, list[int]] = {label: [] for label in dict.fromkeys(labels)}
    seen: set[Hashable] = set()
    for number, (key, label) in enumerate(zip(keys, labels, strict=True)):
        if len(labels_of[key]) == 1 and key not in seen:
            seen.add(key)
            pools[label].append(number)
    train: list[int] = []
    dev: list[int] = []
    generator = random.Random(seed)
    for label, pool in sorted(pools.items()):
        if len(pool) < k + dev_k:
            raise ValueError(
                f"class {label!r} has {len(pool)} different texts; {k} for training and {dev_k} for development "
                "need more. Lower k or dev_k, or leave the class out"
            )
        drawn = generator.sample(pool, k + dev_k)
        train += drawn[:k]
        dev += drawn[k:]
    generator.shuffle(train)
    generator.shuffle(dev)
    return train, dev


def write_k_shot(
    rows: Sequence[Record],
    task: FewShotTask,
    destination: str | Path,
    k: int,
    dev_k: int | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    test: Sequence[Record] | None = None,
    unlabelled: int = 0,
) -> dict[str, Any]:
    """Draw splits of labelled rows and write them in FewCLUE's layout, with a manifest.

    Args:
        rows: labelled records, e.g. a ``datasets.Dataset``.
        task: what the rows hold.
        destination: folder to write: ``train_i.json``, ``dev_i.json``, ``test_public.json``, ``unlabeled.json`` and
            ``manifest.json``; it must hold no splits yet.
        k: training examples per class.
        dev_k: development examples per class, by default as many as for training.
        seeds: one split each; split ``i`` is drawn with the ``i``-th seed.
        test: labelled records to write as the test. Its rows are never drawn, and never written as unlabelled.
        unlabelled: at most so many rows of those that are in no split and not in the test are written without labels.

    Returns:
        The manifest: the settings, the size of every file, and the numbers of the rows drawn.

    Raises:
        FileExistsError: the folder holds splits already.
        ValueError: a class has too few different texts, no seed or one seed twice, or a row is not of the task.

    Example:
        >>> import tempfile
        >>> from nlpkit.fewshot.tasks.folders import TaskFolder
        >>> task = FewShotTask("hotels", ("text",), ("bad", "good"))
        >>> rows = [{"text": f"{label} {number}", "label": label} for label in task.labels for number in range(9)]
        >>> folder = tempfile.mkdtemp()
        >>> _ = write_k_shot(rows, task, folder, k=2, seeds=[7], unlabelled=100)
        >>> splits = TaskFolder(task, Path(folder))
        >>> len(splits.train(0)), len(splits.dev(0)), len(splits.unlabelled()), splits.test()
        (4, 4, 10, None)
    """
    destination = Path(destination)
    if next(destination.glob("train_*"), None) is not None:
        raise FileExistsError(f"{destination} holds splits already; give another folder")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {list(seeds)}; give at least one, each once")
    dev_k = k if dev_k is None else dev_k
    tested = {normalised_key(task.to_example(record)) for record in test or ()}
    examples = [task.to_example(row) for row in tqdm(rows, desc=f"reading {task.name}", unit="row", leave=False)]
    keys = [normalised_key(example) for example in examples]
    allowed = [number for number, key in enumerate(keys) if key not in tested]
    labels = [str(examples[number].label) for number in allowed]

    files: dict[str, list[Record]] = {}
    drawn: dict[str, list[int]] = {}
    for split, seed in enumerate(seeds):
        parts = draw_k_shot([keys[number] for number in allowed], labels, k, dev_k, seed)
        for layout, chosen in zip((FEWCLUE_LAYOUT.train, FEWCLUE_LAYOUT.dev), parts, strict=True):
            name = layout.format(split=split)
            drawn[name] = [allowed[place] for place in chosen]
            files[name] = [rows[number] for number in drawn[name]]
    if test is not None:
        files[FEWCLUE_LAYOUT.test] = list(test)
    if unlabelled:
        files[FEWCLUE_LAYOUT.unlabelled] = _rest_without_labels(rows, task, keys, allowed, drawn, unlabelled, seeds[0])
    manifest = {
        "task": task.name,
        "k": k,
        "dev_k": dev_k,
        "seeds": list(seeds),
        "labels": list(task.labels),
        "label_names": dict(task.label_names),
        "text_fields": list(task.text_fields),
        "label_key": task.label_key,
        "read_by_name": task.read_fields is None and task.read_candidates is None,
        "source_rows": len(rows),
        "rows_left_out_as_in_test": len(rows) - len(allowed),
        "sizes": {name: len(records) for name, records in files.items()},
        "rows": drawn,
    }
    with whole_folder(destination) as draft:
        for name, records in files.items():
            lines = (json.dumps(dict(record), ensure_ascii=False) + "\n" for record in records)
            (draft / name).write_text("".join(lines), encoding="utf-8", newline="\n")
        (draft / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def _rest_without_labels(
    rows: Sequence[Record],
    task: FewShotTask,
    keys: Sequence[Hashable],
    allowed: Sequence[int],
    drawn: Mapping[str, Sequence[int]],
    limit: int,
    seed: int,
) -> list[Record]:
    used = {keys[number] for chosen in drawn.values() for number in chosen}
    rest = list({keys[number]: number for number in allowed if keys[number] not in used}.values())
    chosen = sorted(random.Random(seed).sample(rest, min(limit, len(rest))))
    return [{name: value for name, value in rows[number].items() if name != task.label_key} for number in chosen]
