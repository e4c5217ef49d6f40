"""How well texts of other kinds are told from reviews by the density of their embeddings, beside simple rivals.

    python benchmarks/embedding_density.py    # writes benchmarks/results/probes/density-wobert-mini-zh.json
    python benchmarks/embedding_density.py --model $NLPKIT_MODELS/zh-en-minilm-l12-h384

Each seed fits to other 1,500 reviews and asks about 500 more beside 300 texts of each other part of ``corpus-zh``, all
cut to 64 characters, so that none is told by its length. The score is the area under the curve: how often a text of
another kind stands out more than a review. Embeddings are means of last states. Nothing was tuned. A round is a seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns
from sklearn.metrics import roc_auc_score
from torch import Tensor

from nlpkit.probes import EmbeddingDensity
from nlpkit.sources import find_model
from nlpkit.tasks.similarity import sentence_encoder
from nlpkit.text_files import read_lines

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("NLPKIT_DATA", ROOT.parent / "shared" / "data")) / "corpus-zh"
OTHERS = ("web", "literature", "reading", "news", "tech", "history", "science", "law")
LENGTH = 64


def texts_of(part: str, count: int) -> list[str]:
    """Every seventh line of a part from its beginning on, long enough, cut to one length."""
    long_enough = (line for line in read_lines(DATA / f"{part}.txt.xz") if len(line) >= LENGTH)
    return [line[:LENGTH] for line in islice(long_enough, 0, 7 * count, 7)]


def farthest(known: Tensor, asked: Tensor, k: int = 5) -> Tensor:
    """Minus the distance to the k-th nearest known text."""
    return -torch.cdist(asked, known).kthvalue(k, dim=1).values


def from_centre(known: Tensor, asked: Tensor) -> Tensor:
    """The cosine with the mean of all known texts."""
    return torch.cosine_similarity(asked, known.mean(dim=0, keepdim=True))


def density(hidden: int, seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The density, with a network or without."""

    def score(known: Tensor, asked: Tensor) -> Tensor:
        fitted = EmbeddingDensity(known.shape[1], hidden=hidden).fit(known, steps=500, seed=seed)
        return fitted.log_density(asked)

    return score


def summary(parts: dict[str, list[float]]) -> str:
    """Mean over the other kinds, and the deviation over seeds."""
    means = [100 * mean(one) for one in zip(*parts.values(), strict=True)]
    return f"{mean(means):.1f} ± {stdev(means) if len(means) > 1 else 0.0:.1f}"


def headlines(results: dict[str, Any]) -> list[Headline]:
    what = f"texts of eight other kinds told from reviews, area under the curve, {results['model']}"
    network, *rivals = reversed(results["auc"])
    return [
        Headline(f"{what}: {network}", way, f"{summary(results['auc'][network])} / {summary(results['auc'][way])}")
        for way in rivals
    ]


def main() -> None:
    parser = options_of(__doc__, "probes/density-wobert-mini-zh.json", rounds=5, bf16=False)
    parser.add_argument("--model", default="wobert-mini-zh")
    options = parser.parse_args()
    if options.out == parser.get_default("out"):
        options.out = options.out.with_name(f"density-{Path(options.model).name}.json")
    encoder = sentence_encoder(find_model(options.model), max_length=LENGTH, device="cpu")
    reviews = torch.as_tensor(encoder.encode(texts_of("reviews", 4000), show_progress_bar=True)).double()
    others = {part: torch.as_tensor(encoder.encode(texts_of(part, 300))).double() for part in OTHERS}
    scores: dict[str, dict[str, list[float]]] = {}
    seeds = iter(range(options.rounds))

    def fit() -> None:
        seed = next(seeds)
        order = torch.randperm(len(reviews), generator=torch.Generator().manual_seed(seed))
        known, own = reviews[order[:1500]], reviews[order[1500:2000]]
        ways = {"cosine with the mean": from_centre, "distance to the 5th nearest": farthest,
                "Gaussian with noise": density(0, seed), "Gaussian and network": density(256, seed)}  # fmt: skip
        for way, score in ways.items():
            asked = score(known, torch.cat([own, *others.values()]))
            begin = len(own)
            for part, embeddings in others.items():
                numbers = torch.cat([asked[: len(own)], asked[begin : begin + len(embeddings)]])
                stands_out = [0] * len(own) + [1] * len(embeddings)
                scores.setdefault(way, {}).setdefault(part, []).append(roc_auc_score(stands_out, -numbers))
                begin += len(embeddings)

    turns = take_turns({"fit": fit}, options.rounds, Budget(options.budget), "fitting", warm_up=False)
    table = Table("way", *OTHERS, "mean")
    for way, parts in scores.items():
        table.add_row(way, *(f"{100 * mean(parts[part]):.1f}" for part in OTHERS), summary(parts))
    Console(width=140).print(table)
    found = {"model": Path(options.model).name, "seeds": list(range(turns.rounds)), "auc": scores}
    write_report(options, found, "fp32", "sentence-transformers")


if __name__ == "__main__":
    main()
