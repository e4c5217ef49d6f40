"""Which layer, distance and decoder find words and trees best: chosen on dev, reported on test, against the chains.

Source: perturbed masking (Wu et al., 2020, arXiv 2004.14786; kexue.fm/archives/7476).

    python recipes/perturbed_masking.py recipes/configs/perturbed_masking/english_dependencies.yaml --max_sentences 300

For every model, and its twin with random weights, every setting is scored on the dev file from one pass of the model;
the best one is scored on the test files. Impact matrices are kept in ``output_dir``, so a run that is called again
goes on where it was. ``results.jsonl`` holds a line a score, ``results.md`` the table, and ``layers.svg``, where
matplotlib is installed, what each layer scores on dev.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import AutoModelForMaskedLM, AutoTokenizer, set_seed

from nlpkit.files import whole_folder
from nlpkit.perturbed_masking import ImpactFolder, Measure, PerturbedMasking, corpus_interval
from nlpkit.perturbed_masking.impact.distances import OF_PREDICTIONS
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import Impact
from nlpkit.runs import parse_recipe_arguments, settle_facts
from nlpkit.sources import model_path
from nlpkit.training import bf16_is_fast
from recipes.perturbed_masking_results import Results, Row, results_table
from recipes.perturbed_masking_tasks import TASKS, Counts, Example, Task


@dataclass
class EvaluationArguments:
    """What to evaluate on what."""

    task: str = field(metadata={"help": "what is to be found", "choices": sorted(TASKS)})
    models: list[str] = field(metadata={"help": "name=folder, or names of shipped models"})
    dev_file: str = field(metadata={"help": "where settings are chosen"})
    test_files: list[str] = field(metadata={"help": "name=file, scored with the settings chosen"})
    output_dir: str = "runs/perturbed_masking"
    random_twins: bool = field(default=True, metadata={"help": "also every model with random weights"})
    layers: list[int] = field(default_factory=list, metadata={"help": "from 1; all by default"})
    distances: list[str] = field(default_factory=lambda: ["euclidean", "cosine"])
    merges: list[str] = field(default_factory=lambda: ["vectors", "mean"])
    count_punctuation: bool = field(
        default=True, metadata={"help": "score punctuation; constituents are parsed without it otherwise"}
    )
    max_words: int = field(default=30, metadata={"help": "leave out longer sentences (characters, for segmentation)"})
    max_sentences: int | None = field(default=None, metadata={"help": "at most so many, spread over the file"})
    max_dev_sentences: int | None = field(default=400, metadata={"help": "at most so many of dev, for the whole grid"})
    dev_every: int | None = field(
        default=None,
        metadata={"help": "where dev and test are one file: each so many-th sentence is dev, the others test"},
    )
    batch_tokens: int | None = None
    bf16: bool = field(default=bf16_is_fast(), metadata={"help": "multiply in bf16; by default where it is faster"})
    seed: int = 0


def main(argv: list[str]) -> list[Row]:
    """Run the recipe; the rows of ``results.jsonl``."""
    (settings,) = parse_recipe_arguments([EvaluationArguments], argv)
    task = TASKS[settings.task]
    output = Path(settings.output_dir)
    results = Results(output / "results.jsonl")
    settle_facts(output / "run.json", asdict(settings) | {"models": [], "output_dir": ""}, begins=not results.rows)
    data = {"dev": read_examples(task, settings, settings.dev_file, is_dev=True)}
    for name, file in named(settings.test_files).items():
        data[name] = read_examples(task, settings, file, is_dev=False)
    for name, examples in data.items():
        results.add("baseline", "", name, partial(baseline_rows, task, examples))
    for model, folder in named(settings.models).items():
        for is_twin in (False, True) if settings.random_twins else (False,):
            title = f"{model}, random weights" if is_twin else model
            if not results.has("chosen", title, list(data)[-1]):
                masking = load(folder, is_twin, settings)
                evaluate(task, masking, title, data, results, settings, output / "impact" / title)
    with whole_folder(output) as draft:
        (draft / "results.md").write_text(results_table(task, results.rows, data, settings), "utf-8")
        if find_spec("matplotlib") is not None:
            from recipes.perturbed_masking_plot import plot_layers

            plot_layers(task, results.rows, draft / "layers.svg")
    return results.rows


def named(specifications: Sequence[str]) -> dict[str, str]:
    """``name=path`` as a dictionary; a bare path is called after itself."""
    pairs = (specification.rpartition("=") for specification in specifications)
    return {name or Path(path).name.partition(".")[0]: path for name, _, path in pairs}


def read_examples(task: Task, settings: EvaluationArguments, file: str, is_dev: bool) -> list[Example]:
    """The sentences of a file that are short enough; if they are too many, as many as wanted, spread evenly."""
    examples = [
        example
        for number, example in enumerate(task.read(Path(file), settings.count_punctuation))
        if example.words <= settings.max_words
        and (settings.dev_every is None or (number % settings.dev_every == 0) == is_dev)
    ]
    if not examples:
        raise ValueError(f"{file} has no sentence of at most {settings.max_words} words; raise max_words")
    caps = [settings.max_sentences, settings.max_dev_sentences if is_dev else None]
    most = min([len(examples), *(cap for cap in caps if cap is not None)])
    return [examples[place] for place in np.linspace(0, len(examples) - 1, most).astype(int)]


def load(folder: str, is_twin: bool, settings: EvaluationArguments) -> PerturbedMasking:
    """A model, or one of its configuration with random weights."""
    path = folder if Path(folder).is_dir() else str(model_path(folder))
    options: dict[str, Any] = {"batch_tokens": settings.batch_tokens}
    if not is_twin:
        return PerturbedMasking.from_pretrained(path, bf16=settings.bf16, **options)
    trained = MaskedEncoder.from_pretrained(path)
    set_seed(settings.seed)
    model = AutoModelForMaskedLM.from_config(trained.model.config, dtype=torch.float32)
    twin = MaskedEncoder(model, has_head=trained.has_head, bf16=settings.bf16)
    twin.to("cuda" if torch.cuda.is_available() else "cpu")
    return PerturbedMasking(twin, AutoTokenizer.from_pretrained(path), **options)


def measures_of(masking: PerturbedMasking, settings: EvaluationArguments) -> list[Measure]:
    """Every layer, distance and merging rule that the model has, those of predictions if it has a head."""
    last = masking.encoder.layers
    measures = []
    for distance in settings.distances:
        if distance not in OF_PREDICTIONS:
            layers = settings.layers or list(range(1, last + 1))
        else:
            layers = [last] if masking.encoder.has_head else []
        measures += [Measure(layer, distance, merge) for layer in layers for merge in settings.merges]  # type: ignore[arg-type]
    return measures


def evaluate(
    task: Task,
    masking: PerturbedMasking,
    model: str,
    data: dict[str, list[Example]],
    results: Results,
    settings: EvaluationArguments,
    folder: Path,
) -> None:
    """Score every setting of a model on dev, and the best of each group of decoders on everything."""
    every = measures_of(masking, settings)
    results.add(
        "grid",
        model,
        "dev",
        lambda: grid_rows(task, data["dev"], every, measured(task, masking, every, data["dev"], folder / "grid")),
    )
    metric = next(iter(task.metrics))
    grid = results.select("grid", model, "dev")
    best = {
        group: max((row for row in grid if row["group"] == group), key=lambda row: row[metric])
        for group in task.decoders
    }
    chosen = {group: Measure(row["layer"], row["distance"], row["merge"]) for group, row in best.items()}
    asked = list(dict.fromkeys(chosen.values()))
    tests = [examples for name, examples in data.items() if name != "dev"]
    # What stands in several files goes through the model once; the matrices of dev are there.
    distinct = {example.sentence: example for example in chain.from_iterable(tests)}
    of_test = dict(
        zip(distinct, measured(task, masking, asked, list(distinct.values()), folder / "test"), strict=True)
    )
    for name, examples in data.items():

        def chosen_rows(name: str = name, examples: list[Example] = examples) -> Iterator[Row]:
            if name == "dev":
                impact, places = list(measured(task, masking, every, examples, folder / "grid")), every
            else:
                impact, places = [of_test[example.sentence] for example in examples], asked
            for group, row in best.items():
                number = places.index(chosen[group])
                matrices = [several[number] for several in impact]
                yield scored_row(task, examples, chosen[group], group, row["decoder"], matrices, row["learnt"], True)

        results.add("chosen", model, name, chosen_rows)


def measured(
    task: Task, masking: PerturbedMasking, measures: list[Measure], examples: list[Example], folder: Path
) -> ImpactFolder:
    """The matrices of examples, on disk."""
    impact = ImpactFolder(folder)
    impact.fill(masking, [example.sentence for example in examples], measures, reach=task.reach)
    return impact


def grid_rows(task: Task, examples: list[Example], measures: list[Measure], impact: ImpactFolder) -> Iterator[Row]:
    """A row for every measure and decoder."""
    matrices = list(impact)
    names = [(group, name) for group, decoders in task.decoders.items() for name in decoders]
    settings = list(product(range(len(measures)), names))
    for number, (group, name) in tqdm(settings, desc="decoding", unit=" settings", delay=5):
        of_measure = [several[number] for several in matrices]
        yield scored_row(task, examples, measures[number], group, name, of_measure, {}, intervals=False)


def scored_row(
    task: Task,
    examples: list[Example],
    measure: Measure,
    group: str,
    decoder: str,
    matrices: list[Impact],
    learnt: dict[str, float],
    intervals: bool,
) -> Row:
    """What one setting scores, with all that is needed to repeat it."""
    decoding = task.decoders[group][decoder](examples, matrices, **learnt)
    counts = [task.score(example, guess) for example, guess in zip(examples, decoding.predictions, strict=True)]
    setting = measure._asdict() | {"group": group, "decoder": decoder, "learnt": decoding.learnt}
    return setting | scores(task, examples, counts, intervals)


def baseline_rows(task: Task, examples: list[Example]) -> Iterator[Row]:
    """A row for every baseline."""
    for name, predict in task.baselines.items():
        counts = [task.score(example, predict(example, number)) for number, example in enumerate(examples)]
        yield {"decoder": name} | scores(task, examples, counts, intervals=True)


def scores(task: Task, examples: list[Example], counts: list[Counts], intervals: bool) -> Row:
    """The figures of a corpus, with the ends of their 95 % intervals over sentences."""
    total = type(counts[0])(*np.sum([astuple(count) for count in counts], axis=0).tolist())
    row: Row = {"sentences": len(counts)}
    row |= {name: metric(total) for name, metric in task.metrics.items()}
    row |= {name: summary(examples, counts) for name, summary in task.summaries.items()}
    if intervals:
        row["intervals"] = {name: list(corpus_interval(counts, metric))[1:] for name, metric in task.metrics.items()}
    return row


if __name__ == "__main__":
    main(sys.argv[1:])
