"""The protocol: every method on every split with every seed, one model selected on that split's own dev.

A method is a function of ``RunData``, which holds no test example, to ``RunOutcome``, which predicts with the model
that the method chose. Only then is the test read, and its texts are handed to the prediction without their labels.
"""

from __future__ import annotations

import gc
import hashlib
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nlpkit.fewshot.grid.resources import Resources, measured
from nlpkit.fewshot.grid.results import FACTS, ResultsFile, RunKey, RunResult, differences, read_facts
from nlpkit.fewshot.scoring import Predict, score_predictions
from nlpkit.fewshot.tasks.folders import TaskFolder, check_splits
from nlpkit.fewshot.tasks.task import FewShotTask
from nlpkit.files import only_writer, write_json
from nlpkit.pet import Example
from nlpkit.version import __version__


@dataclass(frozen=True)
class RunData:
    """What a method is given: one split, one seed, and nothing of the test.

    Args:
        task: the task.
        split: the split's number.
        seed: seeds everything random in the run; setting the generators is the method's part.
        train: labelled examples to learn from.
        dev: labelled examples to select a model, a step or a setting on.
        unlabelled: texts without labels; empty where there are none.
        settings: the run's settings, the same in every split.
        folder: the run's own folder. It may hold checkpoints of an attempt that was killed, to go on from.
    """

    task: FewShotTask
    split: int
    seed: int
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    unlabelled: tuple[Example, ...]
    settings: Mapping[str, Any]
    folder: Path

    def dev_score(self, predict: Predict) -> float:
        """The task's score of a candidate model on dev, to select by.

        Raises:
            ValueError: not one label of the task for each example.
        """
        return next(iter(score_predictions(self.task, self.dev, predict)[0].values()))


@dataclass(frozen=True)
class RunOutcome:
    """What a method returns.

    Args:
        predict: predicts with the model that was selected on dev.
        details: anything worth keeping, as JSON values, e.g. the chosen step.
    """

    predict: Predict
    details: Mapping[str, Any] = field(default_factory=dict)


Method = Callable[[RunData], RunOutcome]
#: Names of a method and a task to the settings of those runs.
SettingsOf = Callable[[str, str], Mapping[str, Any]]


def no_settings(method: str, task: str) -> Mapping[str, Any]:
    """The settings of methods that have none."""
    return {}


def run_grid(
    folders: Sequence[TaskFolder],
    methods: Mapping[str, Method],
    output: str | Path,
    splits: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    settings_of: SettingsOf = no_settings,
    score_test: bool = True,
    show_progress: bool = True,
) -> list[RunResult]:
    """Run methods on the splits of tasks; call it again to go on after an interruption, or to add to the grid.

    Args:
        folders: the tasks.
        methods: name to method.
        output: folder for ``results.jsonl`` (one line per run), ``settings.json`` (what the runs were made with) and
            ``runs/``, a folder per run with its predictions and whatever the method writes.
        splits: numbers of splits, by default all that each folder has.
        seeds: seeds to run every split with.
        settings_of: the settings of a method on a task, as JSON values.
        score_test: whether the test is scored, where there is one; leave it out while choosing patterns and settings.
        show_progress: whether a bar counts the runs.

    Returns:
        The results of the grid's runs, in its order; a run that failed tells its error, and is tried again on the
        next call. Runs that ended are not repeated.

    Raises:
        ValueError: a split or a method is missing, or a file of a split is broken; or ``output`` holds runs that ended
            with other settings or other data, which the message names.
        FileNotFoundError: a task's files are missing.
        BlockingIOError: another process runs a grid in ``output``.

    Note:
        Errors of a method are recorded; ``KeyboardInterrupt`` is not an error of a method. A method can read the disk
        and could find the test there: what keeps it honest is that nothing hands it over.
    """
    if not methods or not folders or not seeds:
        raise ValueError(
            f"{len(folders)} tasks, {len(methods)} methods, {len(seeds)} seeds; give at least one of each"
        )
    runs = list(_runs(folders, methods, splits, seeds, settings_of))
    with only_writer(output):
        return _run_grid(runs, Path(output), score_test, show_progress)


def _run_grid(runs: Sequence[_Run], output: Path, score_test: bool, show_progress: bool) -> list[RunResult]:
    results = ResultsFile(output / "results.jsonl")
    ended = {key: result for key, result in results.latest().items() if result.error is None}
    facts = {run.key: run.facts(score_test) for run in runs}
    _check_same_facts(output, facts, ended)
    write_json(output / FACTS, read_facts(output) | {_hash(each): each for each in facts.values()})
    waiting = [run for run in runs if run.key not in ended]
    bar = tqdm(waiting, desc="runs", unit="run", disable=None if show_progress else True)
    for run in bar:
        bar.set_postfix_str(str(run.key))
        result = run.execute(output / "runs", _hash(facts[run.key]), score_test)
        results.append(result)
        if result.error is not None:
            bar.write(f"{run.key} failed: {result.error}")
    latest = results.latest()
    return [latest[key] for key in facts]


@dataclass(frozen=True)
class _Run:
    """One cell of the grid."""

    key: RunKey
    folder: TaskFolder
    method: Method
    settings: Mapping[str, Any]

    def facts(self, score_test: bool) -> dict[str, Any]:
        return {"settings": self.settings, "data": self.folder.fingerprint(self.key.split, score_test)}

    def execute(self, runs: Path, settings_hash: str, score_test: bool) -> RunResult:
        key = self.key
        own = runs / key.task / key.method / f"split{key.split}-seed{key.seed}-{settings_hash}"
        own.mkdir(parents=True, exist_ok=True)
        data = self._data(own)
        sizes = {part: len(getattr(data, part)) for part in ("train", "dev", "unlabelled")}
        result = RunResult(*key, settings_hash, sizes=sizes, version=__version__)
        learning, predicting = Resources(), Resources()
        gc.collect()  # models of earlier runs, which often hold themselves, are no part of this run's memory
        try:
            with measured() as learning:
                outcome = self.method(data)
            # The parts to score are read here and not before: while a method learns, no test text is in memory.
            parts = {
                "dev": self.folder.dev(key.split),
                "other_dev": self.folder.other_dev(key.split),
                "test": self.folder.test() if score_test else None,
            }
            with measured() as predicting:
                scored = {
                    part: score_predictions(data.task, examples, outcome.predict)
                    for part, examples in parts.items()
                    if examples
                }
            write_json(own / "predictions.json", {part: labels for part, (_, labels) in scored.items()})
            result = replace(
                result,
                dev=scored["dev"][0],
                other_dev=scored["other_dev"][0] if "other_dev" in scored else None,
                test=scored["test"][0] if "test" in scored else None,
                test_state="scored" if "test" in scored else "absent" if score_test else "left out",
                sizes=sizes | {part: len(labels) for part, (_, labels) in scored.items()},
                details=_as_json(outcome.details),
            )
        except Exception as problem:  # whatever a method raises must not end the grid
            error = f"{type(problem).__name__}: {problem}"
            result = replace(result, error=error, details={"traceback": traceback.format_exc()})
        return replace(
            result,
            seconds=round(learning.seconds, 3),
            predict_seconds=round(predicting.seconds, 3),
            peak_rss_mb=round(max(learning.peak_rss_mb, predicting.peak_rss_mb), 1),
        )

    def _data(self, own: Path) -> RunData:
        return RunData(
            task=self.folder.task,
            split=self.key.split,
            seed=self.key.seed,
            train=tuple(self.folder.train(self.key.split)),
            dev=tuple(self.folder.dev(self.key.split)),
            unlabelled=tuple(self.folder.unlabelled() or ()),
            settings=_as_json(self.settings),
            folder=own,
        )


def _runs(
    folders: Sequence[TaskFolder],
    methods: Mapping[str, Method],
    splits: Sequence[int] | None,
    seeds: Sequence[int],
    settings_of: SettingsOf,
) -> Iterator[_Run]:
    for folder, (name, method) in product(folders, methods.items()):
        there = folder.splits() if splits is None else splits
        check_splits(folder, there)
        settings = _as_json(settings_of(name, folder.task.name))
        for split, seed in product(there, seeds):
            yield _Run(RunKey(folder.task.name, name, split, seed), folder, method, settings)


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that is what a file would give back, so that what is hashed and kept is what a method sees."""
    try:
        return dict(json.loads(json.dumps(dict(values), ensure_ascii=False)))
    except TypeError as error:
        raise ValueError(f"settings and details must be JSON values: {error}; got {values!r}") from error


def _hash(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _check_same_facts(
    output: Path, facts: Mapping[RunKey, Mapping[str, Any]], ended: Mapping[RunKey, RunResult]
) -> None:
    kept = read_facts(output)
    for key, now in facts.items():
        if key in ended and ended[key].settings_hash != _hash(now):
            changed = differences(kept.get(ended[key].settings_hash, {}), now)
            raise ValueError(
                f"{output} holds {key} of other settings: {'; '.join(changed)}. Restore them, or give another folder"
            )
