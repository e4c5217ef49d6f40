"""Which layer, distance and decoder find words and trees best: chosen on dev, reported on test, beside the chains.

Source: perturbed masking (Wu et al., 2020, arXiv 2004.14786; kexue.fm/archives/7476).

    python recipes/perturbed_masking.py recipes/configs/perturbed_masking/english_dependencies.yaml --max_sentences 300

For every model, and its twin with random weights, every setting is scored on the dev file from one pass of the model;
the best one of each group of decoders is scored on the test files, and so is the vote of all layers, for which nothing
is chosen. With ``distortion`` trained models also find constituents by contextual distortion. What is measured is kept
in ``output_dir``, so that a run that is called again goes on where it was. ``results.jsonl`` holds one line per score,
``results.md`` the table, and ``layers.svg``, where matplotlib is installed, what each layer scores on dev.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import AutoModelForMaskedLM, AutoTokenizer, set_seed

import nlpkit.perturbed_masking as pm
from nlpkit.files import only_writer, whole_file, write_text
from nlpkit.perturbed_masking.tasks import (
    Constituents,
    Decoder,
    Dependencies,
    Example,
    Segmentation,
    Task,
    total,
    tune_on_dev,
)
from nlpkit.pictures import picture
from nlpkit.runs import parse_recipe_arguments, run_recipe, settle_facts
from nlpkit.sources import find_model
from nlpkit.text_files import read_records
from nlpkit.training import bf16_is_fast

Row = dict[str, Any]
AnyTask = Task[Any, Any, Any]
Examples = list[Example[Any]]
TASKS: dict[str, AnyTask] = {
    "constituents": Constituents(),
    "dependencies": Dependencies(),
    "segmentation": Segmentation(),
}


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
        default=True, metadata={"help": "score punctuation; otherwise constituents are parsed without it"}
    )
    max_words: int = field(default=30, metadata={"help": "leave out longer sentences (characters, for segmentation)"})
    max_sentences: int | None = field(default=None, metadata={"help": "at most this many per file, spread over it"})
    max_dev_sentences: int | None = field(default=400, metadata={"help": "at most this many of dev"})
    dev_every: int | None = field(
        default=None, metadata={"help": "where dev and test are one file: one sentence in this many is dev"}
    )
    distortion: bool = field(
        default=False, metadata={"help": "constituents also by contextual distortion; four times the work of impact"}
    )
    batch_tokens: int | None = None
    bf16: bool = field(default=bf16_is_fast(), metadata={"help": "multiply in bf16; by default where it is faster"})
    seed: int = 0


def main(argv: list[str]) -> list[Row]:
    """Run the recipe; the rows of ``results.jsonl``."""
    (settings,) = parse_recipe_arguments([EvaluationArguments], argv)
    with only_writer(settings.output_dir):
        return run(TASKS[settings.task], settings, Path(settings.output_dir))


def run(task: AnyTask, settings: EvaluationArguments, output: Path) -> list[Row]:
    """Score the baselines and every model, then write table and picture."""
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
            if not results.select("chosen", title, list(data)[-1]):
                asked = replace(settings, distortion=settings.distortion and not is_twin)  # it costs most of all
                evaluate(task, load(folder, is_twin, settings), title, data, results, asked)
    write_text(output / "results.md", results_table(task, results.rows, data, settings))
    if find_spec("matplotlib") is not None:
        plot_layers(task, results.rows, output / "layers.svg")
    return results.rows


class Results:
    """Rows of ``results.jsonl``, added a stage at a time: all rows of a stage are there, or none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = [row for _, row in read_records(path)] if path.is_file() else []

    def select(self, stage: str, model: str, data: str) -> list[Row]:
        """The rows of a stage; none before it has run."""
        wanted = (stage, model, data)
        return [row for row in self.rows if (row["stage"], row["model"], row["data"]) == wanted]

    def add(self, stage: str, model: str, data: str, make: Callable[[], Iterable[Row]]) -> None:
        """Make the rows of a stage, unless they are there, and write them down."""
        if not self.select(stage, model, data):
            self.rows += [{"stage": stage, "model": model, "data": data, **row} for row in make()]
            write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows))


def named(specifications: Sequence[str]) -> dict[str, str]:
    """``name=path`` as a dictionary; a bare path is named after itself."""
    pairs = (specification.rpartition("=") for specification in specifications)
    return {name or Path(path).name.partition(".")[0]: path for name, _, path in pairs}


def read_examples(task: AnyTask, settings: EvaluationArguments, file: str, is_dev: bool) -> Examples:
    """The sentences of a file that are short enough; if they are too many, as many as wanted, spread evenly."""
    examples = [
        example
        for number, example in enumerate(task.read(Path(file), settings.count_punctuation))
        if len(example.sentence) <= settings.max_words
        and (settings.dev_every is None or (number % settings.dev_every == 0) == is_dev)
    ]
    if not examples:
        raise ValueError(f"{file} has no sentence of at most {settings.max_words} words; raise max_words")
    caps = [settings.max_sentences, settings.max_dev_sentences if is_dev else None]
    most = min([len(examples), *(cap for cap in caps if cap is not None)])
    return [examples[place] for place in np.linspace(0, len(examples) - 1, most).astype(int)]


def load(name: str, is_twin: bool, settings: EvaluationArguments) -> pm.PerturbedMasking:
    """A model, or one of its configuration with random weights."""
    if not is_twin:
        return pm.PerturbedMasking.from_pretrained(name, bf16=settings.bf16, batch_tokens=settings.batch_tokens)
    path = find_model(name)
    trained = pm.MaskedEncoder.from_pretrained(path)
    set_seed(settings.seed)
    model = AutoModelForMaskedLM.from_config(trained.model.config, dtype=torch.float32)
    twin = pm.MaskedEncoder(model, has_head=trained.has_head, bf16=settings.bf16)
    twin.to("cuda" if torch.cuda.is_available() else "cpu")
    return pm.PerturbedMasking(twin, AutoTokenizer.from_pretrained(path), batch_tokens=settings.batch_tokens)


def measures_of(masking: pm.PerturbedMasking, settings: EvaluationArguments) -> list[pm.Measure]:
    """Every layer, distance and merging rule that the model has; those of predictions if it has a head."""
    last = masking.encoder.layers
    measures = []
    for distance in settings.distances:
        if distance not in pm.OF_PREDICTIONS:
            layers = settings.layers or list(range(1, last + 1))
        else:
            layers = [last] if masking.encoder.has_head else []
        measures += [pm.Measure(layer, distance, merge) for layer in layers for merge in settings.merges]  # type: ignore[arg-type]
    return measures


def evaluate(
    task: AnyTask,
    masking: pm.PerturbedMasking,
    model: str,
    data: dict[str, Examples],
    results: Results,
    settings: EvaluationArguments,
) -> None:
    """Score every setting of a model on dev, and the best of each group of decoders on everything."""

    def measured(part: str, sentences: Sequence[Any], measures: list[pm.Measure]) -> pm.ImpactFolder:
        impact = pm.ImpactFolder(Path(settings.output_dir, "impact", model, part))
        impact.fill(masking, sentences, measures, reach=task.reach)
        return impact

    every = measures_of(masking, settings)
    of_dev = list(measured("grid", [example.sentence for example in data["dev"]], every))
    results.add("grid", model, "dev", lambda: grid_rows(task, data["dev"], every, of_dev))
    metric = next(iter(task.metrics))
    best: dict[str, Row] = {}
    for row in results.select("grid", model, "dev"):
        if row["group"] not in best or row[metric] > best[row["group"]][metric]:
            best[row["group"]] = row
    chosen = {group: pm.Measure(row["layer"], row["distance"], row["merge"]) for group, row in best.items()}
    by_layer = [pm.Measure(layer) for layer in range(1, masking.encoder.layers + 1)]
    voters = by_layer if task.votes([], []) and set(by_layer) <= set(every) else []
    asked = list(dict.fromkeys([*chosen.values(), *voters]))
    # A sentence of several test files goes through the model once; the matrices of dev are there.
    tests = [example.sentence for name in data if name != "dev" for example in data[name]]
    distinct = list(dict.fromkeys(tests))
    of_test = dict(zip(distinct, measured("test", distinct, asked), strict=True))
    if settings.distortion:
        score_distortion(masking, model, data, results, Path(settings.output_dir, "distortion", model))
    for name, examples in data.items():
        of_data = of_dev if name == "dev" else [of_test[example.sentence] for example in examples]
        places = every if name == "dev" else asked

        def chosen_rows(
            examples: Examples = examples, of_data: list[Any] = of_data, places: list[pm.Measure] = places
        ) -> Iterator[Row]:
            for decoder in task.decoders():
                row = best[decoder.group]
                if row["decoder"] == decoder.name:
                    measure = chosen[decoder.group]
                    matrices = [several[places.index(measure)] for several in of_data]
                    yield scored_row(task, examples, measure, decoder, matrices, row["learnt"], intervals=True)

        if voters:
            seats = [places.index(measure) for measure in voters]
            results.add("vote", model, name, partial(vote_rows, task, examples, [one[seats] for one in of_data]))
        results.add("chosen", model, name, chosen_rows)


def grid_rows(task: AnyTask, examples: Examples, measures: list[pm.Measure], matrices: Sequence[Any]) -> Iterator[Row]:
    """A row for every measure and decoder."""
    settings = [(number, decoder) for number in range(len(measures)) for decoder in task.decoders()]
    for number, decoder in tqdm(settings, desc="decoding", unit=" settings", delay=5):
        of_measure = [several[number] for several in matrices]
        learnt = tune_on_dev(task, decoder, examples, of_measure)
        yield scored_row(task, examples, measures[number], decoder, of_measure, learnt, intervals=False)


def scored_row(
    task: AnyTask,
    examples: Examples,
    measure: pm.Measure,
    decoder: Decoder[Any, Any],
    matrices: list[Any],
    learnt: dict[str, float],
    intervals: bool,
) -> Row:
    """What one setting scores, with all that is needed to repeat it."""
    predictions = task.predict(decoder, examples, task.prepare(decoder, examples, matrices), learnt)
    setting = measure._asdict() | {"group": decoder.group, "decoder": decoder.name, "learnt": learnt}
    return setting | scores(task, examples, predictions, intervals)


def vote_rows(task: AnyTask, examples: Examples, of_layers: list[Any]) -> Iterator[Row]:
    """A row for every way in which all layers vote."""
    for vote in task.votes(examples, of_layers):
        row = {"layer": "all", "distance": "euclidean", "merge": "vectors", "group": "vote", "decoder": vote.name}
        yield row | {"learnt": {}, "floor": vote.floor} | scores(task, examples, vote.answers, intervals=True)


def score_distortion(
    masking: pm.PerturbedMasking, model: str, data: dict[str, Examples], results: Results, folder: Path
) -> None:
    """Score contextual distortion: the layer that is best on dev, also with the best bonus, and the layers' vote."""
    task = TASKS["constituents"]
    tables = {
        name: distortion_tables(masking, [example.sentence for example in examples], folder / name)
        for name, examples in data.items()
    }
    layers = range(masking.encoder.layers)
    options = [{"right_bonus": bonus} for bonus in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)]

    def answers(name: str, layer: int, option: dict[str, float]) -> list[pm.Tree]:
        return [pm.least_distorted(of_layers[layer], **option) for of_layers in tables[name]]

    def dev_score(choice: tuple[int, dict[str, float]]) -> float:
        return task.main_score(data["dev"], answers("dev", *choice))

    published = max(((layer, options[0]) for layer in layers), key=dev_score)
    leaning = max(((layer, option) for layer in layers for option in options), key=dev_score)

    def rows(name: str) -> Iterator[Row]:
        for title, (layer, option) in (("distortion", published), ("distortion, leaning", leaning)):
            row = {"layer": layer + 1, "decoder": title, "learnt": option}
            yield row | scores(task, data[name], answers(name, layer, option), intervals=True)
        for title, option in (
            ("distortion, every layer votes", published[1]),
            ("leaning, every layer votes", leaning[1]),
        ):
            trees = zip(*(answers(name, layer, option) for layer in layers), strict=True)
            row = {"layer": "all", "decoder": title, "learnt": option}
            yield row | scores(task, data[name], list(map(pm.vote_on_constituents, trees)), intervals=True)

    shared = {"distance": "squared euclidean", "merge": "vectors", "group": "distortion", "floor": "right branching"}
    for name in data:
        results.add("distortion", model, name, lambda name=name: (shared | row for row in rows(name)))  # type: ignore[misc]


def distortion_tables(masking: pm.PerturbedMasking, sentences: Sequence[Any], folder: Path) -> list[Any]:
    """The distortion tables of sentences, kept in files of a few sentences each, so that a killed run goes on."""
    tables: list[Any] = []
    for begin in range(0, len(sentences), 32):
        part = sentences[begin : begin + 32]
        path = folder / f"{begin:06}.npz"
        if not path.is_file():
            found = [one.tables for one in masking.iter_distortions(part)]
            with whole_file(path) as draft, draft.open("wb") as file:
                np.savez(file, *found)
        with np.load(path) as kept:
            tables += [kept[f"arr_{number}"] for number in range(len(part))]
    return tables


def baseline_rows(task: AnyTask, examples: Examples) -> Iterator[Row]:
    """A row for every baseline."""
    for name, predictions in task.baselines(examples).items():
        yield {"decoder": name} | scores(task, examples, predictions, intervals=True)


def scores(task: AnyTask, examples: Examples, predictions: list[Any], intervals: bool) -> Row:
    """The figures of a corpus, with the ends of their 95 % intervals over sentences."""
    counts = task.counts(examples, predictions)
    row: Row = {"sentences": len(counts)}
    row |= {name: metric(total(counts)) for name, metric in task.metrics.items()}
    row |= {name: summary(examples, counts) for name, summary in task.summaries.items()}
    if intervals:
        ends = {name: list(pm.corpus_interval(counts, metric))[1:] for name, metric in task.metrics.items()}
        row["intervals"] = ends
    return row


def results_table(task: AnyTask, rows: list[Row], data: dict[str, Examples], settings: EvaluationArguments) -> str:
    """What was chosen on dev and what it scores, below the baselines, in Markdown."""
    figures = [*task.metrics, *task.summaries]
    cap = "" if settings.max_sentences is None else f", at most {settings.max_sentences} per file"
    parts = [
        f"# {settings.task}: {settings.dev_file}\n",
        f"Sentences of at most {settings.max_words} words{cap}; punctuation "
        f"{'counts' if settings.count_punctuation else 'does not count'}. Settings are chosen on dev by {figures[0]}, "
        "for each model and group of decoders. In brackets the 95 % interval over sentences. The last column compares "
        f"with {', '.join(dict.fromkeys(task.floors.values()))}, whichever knows as much as the group.\n",
    ]
    for name, examples in data.items():
        header = ["model", "layer", "distance", "merge", "decoder", *figures, f"{figures[0]} - baseline"]
        parts += [f"## {name}: {len(examples)} sentences\n", "| " + " | ".join(header) + " |"]
        parts.append("| " + " | ".join(["---"] * 5 + ["---:"] * (len(header) - 5)) + " |")
        shown = [row for row in rows if row["data"] == name and row["stage"] != "grid"]
        floors = {row["decoder"]: row[figures[0]] for row in shown if row["stage"] == "baseline"}
        for row in shown:
            cells, gain = ["none", "", "", "", row["decoder"]], ""
            if row["stage"] != "baseline":
                learnt = "".join(f" ({option} {value:.4g})" for option, value in row["learnt"].items())
                cells = [row["model"], str(row["layer"]), row["distance"], row["merge"]]
                cells.append(f"{row['decoder']}, {row['group']}{learnt}")
                floor = row.get("floor") or task.floors[row["group"]]
                gain = f"{100 * (row[figures[0]] - floors[floor]):+.2f}"
            for figure in figures:
                ends = [f"{100 * end:.1f}" for end in row["intervals"].get(figure, ())]
                cells.append(f"{100 * row[figure]:.2f}" + (f" [{', '.join(ends)}]" if ends else ""))
            parts.append("| " + " | ".join([*cells, gain]) + " |")
        parts.append("")
    return "\n".join(parts)


def plot_layers(task: AnyTask, rows: list[Row], path: Path) -> None:
    """Draw what each layer scores on dev with its best setting; twins are dotted, the baseline is dashed."""
    metric = next(iter(task.metrics))
    grid = [row for row in rows if row["stage"] == "grid"]
    baselines = {row["decoder"]: row[metric] for row in rows if (row["stage"], row["data"]) == ("baseline", "dev")}
    models = list(dict.fromkeys(row["model"] for row in grid))
    trained = list(dict.fromkeys(model.partition(", random")[0] for model in models))
    with picture(path, models) as figure:
        figure.set_size_inches(3.4 * len(task.floors), 3.8)
        panels = figure.subplots(1, len(task.floors), sharey=True, squeeze=False)[0]
        for panel, (group, floor) in zip(panels, task.floors.items(), strict=True):
            panel.axhline(100 * baselines[floor], color="black", linestyle="--", linewidth=1, label="baseline")
            for model in models:
                best = best_by_layer([row for row in grid if (row["model"], row["group"]) == (model, group)], metric)
                colour = f"C{trained.index(model.partition(', random')[0])}"
                style = ":o" if ", random" in model else "-o"
                values = [100 * score for score in best.values()]
                panel.plot(list(best), values, style, color=colour, markersize=3, label=model)
            panel.set_title(group.replace(", ", ",\n"), fontsize=9)
            panel.set_xlabel("layer", fontsize=9)
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(alpha=0.3)
        panels[0].set_ylabel(f"{metric} on dev, %", fontsize=9)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), len(panels) + 1), fontsize=8)


def best_by_layer(rows: list[Row], metric: str) -> dict[int, float]:
    """The best score of each layer."""
    layers = sorted({row["layer"] for row in rows})
    return {layer: max(row[metric] for row in rows if row["layer"] == layer) for layer in layers}


if __name__ == "__main__":
    run_recipe(main)
