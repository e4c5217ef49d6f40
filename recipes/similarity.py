"""How well sentence encoders compare Chinese texts: as they are, whitened, and with hubs made up for.

Source: kexue.fm/archives/8069 and 8348 (whitening), 9147 (hubness).

    python recipes/similarity.py recipes/configs/similarity/zh.yaml

No labels are used but to score. A whitening is fitted on the very texts that are scored, as in the posts. Writes
``results.json``, ``table.md`` and for each set and encoder ``occurrences-*.svg``. Called again after an interruption,
it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import spearmanr
from tqdm.auto import tqdm

from nlpkit.files import only_writer, read_json, whole_file, write_json, write_text
from nlpkit.runs import parse_recipe_arguments, run_recipe, settle_facts
from nlpkit.tasks.similarity import (
    CSLS,
    HubnessReport,
    InvertedSoftmax,
    LocalScaling,
    MutualProximity,
    Reranker,
    Retriever,
    TextPair,
    Whitening,
    hubness_of,
    index_texts,
    k_occurrences,
    likenesses,
    plot_occurrences,
    read_pairs,
    sentence_encoder,
)

Embedded = dict[str, np.ndarray]
#: Texts that are encoded before they are put on disk.
_PART = 512
RERANKERS: dict[str, type[Reranker]] = {
    "CSLS": CSLS,
    "local scaling": LocalScaling,
    "mutual proximity": MutualProximity,
    "inverted softmax": InvertedSoftmax,
}
#: Spearman x 100, unsupervised, pooling P1 (cls) and P3 (mean): plain, whitened, SimCSE. kexue.fm/archives/8348.
BLOG: dict[tuple[str, str], dict[str, tuple[float | None, ...]]] = {
    ("BERT base, the post", "cls"): {
        "atec": (16.59, 20.61, 33.14),
        "bq": (29.35, 25.76, 50.67),
        "lcqmc": (41.71, 48.92, 69.99),
        "pawsx": (15.15, 17.03, 12.95),
        "stsb": (34.65, 61.19, 69.04),
    },
    ("BERT base, the post", "mean"): {
        "atec": (20.79, 18.27, 32.89),
        "bq": (33.08, 22.58, 49.58),
        "lcqmc": (59.22, 60.12, 71.83),
        "pawsx": (16.68, 18.37, 14.47),
        "stsb": (57.48, 63.97, 70.08),
    },
    ("WoBERT, the post", "cls"): {
        "atec": (23.88, 22.45, 32.66),
        "bq": (43.08, 32.52, 49.13),
        "lcqmc": (68.56, 67.89, 72.99),
        "pawsx": (18.15, 19.92, 12.36),
        "stsb": (64.12, 66.53, None),
    },
}


@dataclass
class SimilarityArguments:
    """Which encoders to measure on what."""

    models: list[str] = field(metadata={"help": "name=folder or repository, or the name of a shipped model"})
    sets: list[str] = field(metadata={"help": "name=file of pairs with a likeness each"})
    output_dir: str = "runs/similarity"
    prompts: list[str] = field(default_factory=list, metadata={"help": "name=what goes before every text of a model"})
    poolings: list[str] = field(default_factory=lambda: ["mean", "cls"], metadata={"help": "mean, cls or both"})
    dimensions: list[int] = field(default_factory=lambda: [0, 256], metadata={"help": "of whitenings; 0 keeps all"})
    k: int = field(default=10, metadata={"help": "neighbours"})
    max_pairs: int = field(default=10_000, metadata={"help": "the first so many of each set"})
    max_length: int = field(default=128, metadata={"help": "tokens; longer texts are cut"})
    batch_size: int = 64


def main(argv: list[str]) -> dict[str, Any]:
    """Run the recipe and return what ``results.json`` holds."""
    (settings,) = parse_recipe_arguments([SimilarityArguments], argv)
    output = Path(settings.output_dir)
    models, sets = named(settings.models), named(settings.sets)
    with only_writer(output):
        facts = asdict(settings) | {"models": "", "sets": "", "output_dir": "", "batch_size": 0}
        settle_facts(output / "run.json", facts, begins=not any(output.glob("results/*.json")))
        results: dict[str, Any] = {}
        for name, file in sets.items():
            pairs = read_pairs(file)[: settings.max_pairs]
            for model, source in models.items():
                path = output / "results" / f"{name}-{model}.json"
                if not path.is_file():
                    write_json(path, {"source": [source, file]} | measure(name, pairs, model, source, settings))
                result = read_json(path)
                if result["source"] != [source, file]:
                    raise ValueError(
                        f"{path} is of {result['source']}, not of {[source, file]}; give another output_dir"
                    )
                results[f"{name} {model}"] = result
                write_json(output / "results.json", results)
                write_text(output / "table.md", table(results, settings))
    print((output / "table.md").read_text("utf-8"))
    return results


def named(options: list[str]) -> dict[str, str]:
    """``name=value`` by names; a bare name is its own value."""
    found = {name: value or name for name, _, value in (option.partition("=") for option in options)}
    if len(found) < len(options):
        raise ValueError(f"two of {', '.join(options)} have the same name")
    return found


def measure(
    name: str, pairs: list[TextPair], model: str, source: str, settings: SimilarityArguments
) -> dict[str, Any]:
    """All figures of an encoder on a set."""
    texts, places = index_texts(pairs)
    judged = likenesses(pairs)
    result: dict[str, Any] = {"pairs": len(pairs), "texts": len(texts)}
    for pooling, embeddings in embed(
        f"{name}-{model}", texts, source, named(settings.prompts).get(model), settings
    ).items():
        reports: dict[str, HubnessReport] = {}
        figures: dict[str, Any] = {}
        for way, retriever in ways(embeddings, settings):
            found = retriever.search(k=settings.k)
            reports[way] = hubness_of(k_occurrences(found.places, len(texts)), settings.k)
            figures[way] = {
                "spearman": float(spearmanr(retriever.score_pairs(places), judged).statistic),
                "partner_first": partner_first(found.places, places[judged == judged.max()]),
            } | {measure: getattr(reports[way], measure) for measure in ("skewness", "antihubs", "hubs", "gini")}
        result[pooling] = figures
        drawn = {way: report for way, report in reports.items() if way in ("cosine", "white", "CSLS", "local scaling")}
        plot_occurrences(drawn, Path(settings.output_dir) / f"occurrences-{name}-{model}-{pooling}.svg")
    return result


def embed(name: str, texts: list[str], source: str, prompt: str | None, settings: SimilarityArguments) -> Embedded:
    """The embeddings of texts by each pooling, computed or read, part by part."""
    folder = Path(settings.output_dir) / "embeddings" / name
    encoder = None
    parts: list[Embedded] = []
    for start in tqdm(range(0, len(texts), _PART), desc=name, unit=f"{_PART} texts", disable=None):
        path = folder / f"{start // _PART:05}.safetensors"
        if not path.is_file():
            if encoder is None:
                pools: Any = settings.poolings
                encoder = sentence_encoder(source, pools, max_length=settings.max_length, prompt=prompt)
            found = encoder.encode(
                texts[start : start + _PART], batch_size=settings.batch_size, show_progress_bar=False
            )
            columns = np.split(found, len(settings.poolings), axis=1)
            part = {pool: np.ascontiguousarray(one) for pool, one in zip(settings.poolings, columns, strict=True)}
            with whole_file(path) as draft:
                save_file(part, draft)
        parts.append(load_file(path))
    joined = {pool: np.concatenate([part[pool] for part in parts]) for pool in settings.poolings}
    if any(len(one) != len(texts) for one in joined.values()):
        raise ValueError(f"{folder} holds embeddings of other texts; remove it, or give another output_dir")
    return joined


def ways(embeddings: np.ndarray, settings: SimilarityArguments) -> list[tuple[str, Retriever]]:
    """The ways to compare texts, by name."""
    found = [("cosine", Retriever(embeddings))]
    found += [(name, Retriever(embeddings, reranker())) for name, reranker in RERANKERS.items()]
    for dimensions in settings.dimensions:
        name = f"white, {dimensions}" if dimensions else "white"
        white = Whitening.fit(embeddings, dimensions or None).transform(embeddings)
        found += [(name, Retriever(white)), (f"{name}, CSLS", Retriever(white, CSLS()))]
    return found


def partner_first(places: torch.Tensor, pairs: np.ndarray) -> float:
    """Of pairs, the share of which the second text is the nearest of the first among all texts."""
    return float((places[pairs[:, 0], 0].numpy() == pairs[:, 1]).mean())


def table(results: Mapping[str, Any], settings: SimilarityArguments) -> str:
    """What was measured as Markdown: correlations beside the post's, then neighbours."""
    sets = {key.partition(" ")[0]: result for key, result in results.items()}
    models = dict.fromkeys(key.partition(" ")[2] for key in results)
    lines = [
        "Spearman x 100; pairs: " + ", ".join(f"{name} {result['pairs']:,}" for name, result in sets.items()),
        "",
        f"| encoder | pooling | way | {' | '.join(sets)} |",
        f"| --- | --- | --- |{' ---: |' * len(sets)}",
    ]
    for model in models:
        for pooling in settings.poolings:
            of_sets = {name: results.get(f"{name} {model}", {}).get(pooling, {}) for name in sets}
            for way in next(figures for figures in of_sets.values() if figures):
                cells = [f"{100 * one[way]['spearman']:.2f}" if one else "" for one in of_sets.values()]
                lines.append(f"| {model} | {pooling} | {way} | {' | '.join(cells)} |")
    for (model, pooling), figures in BLOG.items():
        for place, way in enumerate(("cosine", "white", "SimCSE")):
            values = [figures[name][place] if name in figures else None for name in sets]
            cells = ["" if value is None else f"{value:.2f}" for value in values]
            lines.append(f"| {model} | {pooling} | {way} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Neighbours of each text among those of its set, k = {settings.k}; partner: pairs of the highest likeness "
        "whose second text is the nearest of the first",
        "",
        "| set | encoder | pooling | way | skewness | antihubs, % | hubs, % | Gini | partner, % |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, result in results.items():
        name, _, model = key.partition(" ")
        for pooling in settings.poolings:
            for way, one in result[pooling].items():
                lines.append(
                    f"| {name} | {model} | {pooling} | {way} | {one['skewness']:.2f} | {100 * one['antihubs']:.1f} | "
                    f"{100 * one['hubs']:.1f} | {one['gini']:.3f} | {100 * one['partner_first']:.1f} |"
                )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_recipe(main)
