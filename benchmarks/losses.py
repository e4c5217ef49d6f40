"""Each loss against the formula that one would write in torch, and against peers: time, memory, and who is right.

    python benchmarks/losses.py                            # writes benchmarks/results/losses.json
    python benchmarks/losses.py --only zlpr --out zlpr.json             # some of them
    python benchmarks/losses.py --shrink 16 --out small.json            # at a 16th of the size

Time is that of a forward and a backward pass in fp32, peak memory that of the tensors they make
(`nlpkit.probes.peak_bytes`); ways take turns (A B A B ...), and figures are medians and ratios. Errors are the worst
ones of value and gradient at logits whose label is ahead of the rest, or behind them, by up to 20, in fp32 and bf16;
of a gradient the largest difference within a row, over its largest entry. They are against a plain formula in fp64 on
the same rounded inputs, which at these gaps is right to 1e-7 itself. Peers that are not installed have a row that says
so. The committed figures are of ``--budget 600``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import loss_inputs as drawn
import plain_losses as plain
import torch
from loss_inputs import TAU, Inputs
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nlpkit.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    DiceLoss,
    ExactLoss,
    F1WeightedLoss,
    FlatNCELoss,
    FocalLoss,
    HardTruncationLoss,
    InfoNCELoss,
    LogBalancedLoss,
    LogitAdjustedLoss,
    NonContrastiveLoss,
    SoftF1Loss,
    SoftTruncationLoss,
    SparseZLPRLoss,
    SupervisedContrastiveLoss,
    ZLPRLoss,
    chunked_cross_entropy,
)
from nlpkit.losses.embeddings.center import center_distances
from nlpkit.probes import peak_bytes

GAPS = (-20.0, -15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
BEHIND = GAPS[:4]  # for losses that are 0 ahead, or at 0
#: The loss of inputs; ``None`` is a peer that is not installed.
Way = Callable[..., Tensor] | None

#: Libraries that are measured beside ours, where they are installed.
PEERS = ("timm", "torchvision", "pytorch-metric-learning", "sentence-transformers")


@dataclass(frozen=True)
class Case:
    """A loss, the ways to compute it, and inputs to compute it of."""

    name: str
    #: Ours first, then the plain formula; and peers.
    ways: dict[str, Way]
    #: At a real size divided by a number.
    real: Callable[[int], Inputs]
    #: In fp64, with the label ahead by a number.
    extreme: Callable[[float], Inputs]
    #: What is right, in fp64; ``None`` is the plain formula.
    truth: Callable[..., Tensor] | None = None
    gaps: tuple[float, ...] = GAPS


def peer(module: str, name: str, **settings: Any) -> Any:
    """A class of another library, made with these settings, or a function; ``None`` if it is not installed."""
    if find_spec(module.partition(".")[0]) is None:
        return None
    found = getattr(import_module(module), name)
    return found(**settings) if isinstance(found, type) else found


def torchvision_focal() -> Way:
    theirs = peer("torchvision.ops", "sigmoid_focal_loss")
    return theirs and (lambda logits, labels: theirs(logits, labels, alpha=-1, gamma=2, reduction="mean"))


def timm_zlpr() -> Way:
    return peer("timm.loss", "ZlprLoss")


def metric_learning(name: str) -> Way:
    theirs = peer("pytorch_metric_learning.losses", name, temperature=TAU)
    return theirs and (lambda embeddings, labels: theirs(embeddings, labels[:, 0] if labels.dim() == 2 else labels))


def ranking_loss() -> Way:
    module = "sentence_transformers.sentence_transformer.losses"
    theirs = peer(module, "MultipleNegativesRankingLoss", model=None, scale=1 / TAU)
    return theirs and (lambda embeddings, labels: theirs.compute_loss_from_embeddings(embeddings.chunk(2), None))


def cases() -> list[Case]:
    """All losses; those with several ways to be written stand for their relations."""
    by_classes = {classes: LogitAdjustedLoss(drawn.prior(classes)) for classes in (12, 1000)}
    one_way, every, flat = InfoNCELoss(TAU, symmetric=False), InfoNCELoss(TAU), FlatNCELoss(TAU)
    supervised, f1 = SupervisedContrastiveLoss(TAU), SoftF1Loss("micro")
    dice = DiceLoss(absent="count")

    def of_all(loss: InfoNCELoss | FlatNCELoss | NonContrastiveLoss) -> Callable[..., Tensor]:
        return lambda embeddings, labels: loss(embeddings, labels[:, 0])

    def adjusted(logits: Tensor, labels: Tensor) -> Tensor:
        return by_classes[logits.shape[-1]](logits, labels)

    def f1_weighted(logits: Tensor, labels: Tensor) -> Tensor:
        return F1WeightedLoss()(logits, labels)  # a new one, of which F is 1, since F moves with each call

    def center(features: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
        return center_distances(features, centers, labels).mean()

    def chunked(states: Tensor, head: Tensor, labels: Tensor) -> Tensor:
        return chunked_cross_entropy(states, head, labels) / len(labels)

    return [
        Case("ZLPR, 256 x 10,000", {"ours": ZLPRLoss(), "plain": plain.zlpr, "timm ZlprLoss": timm_zlpr()},
             lambda n: drawn.multi_hot(256 // n, 10_000), drawn.some_ahead),
        Case("sparse ZLPR, 4 x 10 x 256 x 256", {"ours": SparseZLPRLoss(), "plain": plain.sparse_zlpr},
             lambda n: drawn.spans(256 // n), drawn.spans_ahead, truth=plain.dense_zlpr_of_lists),
        Case("cross-entropy, 4,096 x 1,000", {"ours": CrossEntropyLoss(), "plain": F.cross_entropy},
             lambda n: drawn.class_indices(4096 // n, 1000), drawn.one_ahead),
        Case("binary cross-entropy, 4,096 x 1,000",
             {"ours": BinaryCrossEntropyLoss(), "plain": F.binary_cross_entropy_with_logits},
             lambda n: drawn.multi_hot(4096 // n, 1000), drawn.cells_ahead),
        Case("focal, 4,096 x 1,000", {"ours": FocalLoss(2.0), "plain": plain.focal},
             lambda n: drawn.class_indices(4096 // n, 1000), drawn.one_ahead),
        Case("binary focal, 4,096 x 1,000",
             {"ours": FocalLoss(2.0, multi_label=True), "plain": plain.binary_focal,
              "torchvision sigmoid_focal_loss": torchvision_focal()},
             lambda n: drawn.multi_hot(4096 // n, 1000), drawn.cells_ahead),
        Case("soft truncation, 4,096 x 1,000", {"ours": SoftTruncationLoss(), "plain": plain.soft_truncation},
             lambda n: drawn.class_indices(4096 // n, 1000), drawn.one_ahead),
        Case("hard truncation, 4,096 x 1,000", {"ours": HardTruncationLoss(), "plain": plain.hard_truncation},
             lambda n: drawn.class_indices(4096 // n, 1000), drawn.one_ahead, gaps=BEHIND),
        Case("log-balanced, 32 x 512 x 20", {"ours": LogBalancedLoss(), "plain": plain.log_balanced},
             lambda n: drawn.tags(512 // n), drawn.tags_ahead),
        Case("logit adjustment, 4,096 x 1,000", {"ours": adjusted, "plain": plain.logit_adjustment},
             lambda n: drawn.class_indices(4096 // n, 1000), drawn.one_ahead),
        Case("Dice, 4,096 x 1,000", {"ours": dice, "plain": plain.dice},
             lambda n: drawn.class_indices(4096 // n, 1000), drawn.one_ahead),
        Case("soft F1, 4,096 x 1,000", {"ours": f1, "plain": plain.f1},
             lambda n: drawn.class_indices(4096 // n, 1000), drawn.one_ahead),
        Case("F1-weighted, 4,096 x 1,000", {"ours": f1_weighted, "plain": plain.f1_weighted},
             lambda n: drawn.multi_hot(4096 // n, 1000), drawn.cells_ahead),
        Case("EXACT, 1,024 x 200", {"ours": ExactLoss(), "1,000 samples": plain.sampled_exact},
             lambda n: drawn.class_indices(1024 // n, 200), drawn.one_ahead, truth=plain.integrated_exact,
             gaps=(-5.0, 0.0, 5.0)),  # beyond, the share of errors is 0 or 1 to all digits of fp32
        Case("InfoNCE of 2,048 pairs x 768",
             {"ours": one_way, "plain": plain.info_nce, "sentence-transformers ranking loss": ranking_loss()},
             lambda n: drawn.texts(4096 // n), drawn.texts_ahead),
        Case("InfoNCE of 4,096 texts x 768", {"ours": of_all(every), "plain": plain.nt_xent},
             lambda n: drawn.texts(4096 // n), drawn.texts_ahead),
        Case("FlatNCE of 4,096 texts x 768", {"ours": of_all(flat), "plain": plain.flat_nce},
             lambda n: drawn.texts(4096 // n), drawn.texts_ahead),
        # Theirs makes a matrix of positive by negative pairs, which at 4,096 texts has 7e10 cells.
        Case("InfoNCE of 256 texts x 768",
             {"ours": of_all(every), "plain": plain.nt_xent,
              "pytorch-metric-learning NTXentLoss": metric_learning("NTXentLoss")},
             lambda n: drawn.texts(256 // n), drawn.texts_ahead),
        Case("supervised contrastive, 4,096 x 768",
             {"ours": supervised, "plain": plain.supervised,
              "pytorch-metric-learning SupConLoss": metric_learning("SupConLoss")},
             lambda n: drawn.texts(4096 // n, views=False), lambda gap: drawn.texts_ahead(gap, views=False)),
        Case("SimSiam of 256 texts x 768", {"ours": of_all(NonContrastiveLoss(nn.Identity())), "plain": plain.simsiam},
             lambda n: drawn.texts(256 // n), drawn.texts_ahead),
        Case("center, 4,096 x 768 of 1,000 classes", {"ours": center, "plain": plain.center},
             lambda n: drawn.features(4096 // n, 768, 1000), drawn.features_ahead, gaps=BEHIND),
        Case("cross-entropy of 2,048 x 120,000 words", {"ours, in chunks": chunked, "plain": plain.cross_entropy},
             lambda n: drawn.tokens(2048 // n, 120_000 // n), drawn.tokens_ahead),
    ]  # fmt: skip


def run(way: Callable[..., Tensor], inputs: Inputs, dtype: torch.dtype) -> tuple[float, list[Tensor]]:
    """Value and gradients of leaves in a dtype; labels that are numbers go along."""
    leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in inputs[0]]
    labels = inputs[1].to(dtype) if inputs[1].is_floating_point() else inputs[1]
    value = way(*leaves, labels)
    value.backward()
    return value.item(), [leaf.grad for leaf in leaves if leaf.grad is not None]


def errors(case: Case, way: Callable[..., Tensor], dtype: torch.dtype) -> dict[str, float | None]:
    """The worst relative errors of value and gradient over all gaps; ``None`` where one is no number."""
    worst = {"value": 0.0, "gradient": 0.0}
    for gap in case.gaps:
        torch.manual_seed(int(gap) + 100)
        leaves, labels = case.extreme(gap)
        rounded = tuple(leaf.to(dtype).double() for leaf in leaves), labels
        right, slopes = run(case.truth or case.ways["plain"], rounded, torch.float64)  # type: ignore[arg-type]
        value, found = run(way, rounded, dtype)
        worst["value"] = nan_max(worst["value"], torch.tensor(value - right).abs() / abs(right))
        for slope, expected in zip(found, slopes, strict=True):
            size = expected.abs().amax(-1)
            error = (slope.double() - expected).abs().amax(-1) / size.clamp(min=1e-300)
            worst["gradient"] = nan_max(worst["gradient"], error.max())
    return {name: None if math.isnan(error) else float(f"{error:.1e}") for name, error in worst.items()}


def shown_error(error: float | None) -> str:
    return "no number" if error is None else f"{error:.0e}"


def nan_max(first: float, second: Tensor) -> float:
    return torch.tensor(first, dtype=torch.float64).maximum(second.double()).item()  # NaN where either is


def measure(case: Case, rounds: int, shrink: int, budget: Budget) -> dict[str, Any]:
    """Seconds, peak bytes and errors of each way."""
    torch.manual_seed(0)
    inputs, ways = case.real(shrink), {name: way for name, way in case.ways.items() if way is not None}
    found: dict[str, Any] = dict.fromkeys(case.ways)
    for name, way in ways.items():
        peak = peak_bytes(lambda way=way: run(way, inputs, torch.float32), torch.device("cpu"))  # type: ignore[misc]
        found[name] = {"peak_bytes": peak}
        for dtype in (torch.float32, torch.bfloat16):
            found[name][str(dtype).removeprefix("torch.")] = errors(case, way, dtype)
    turns = take_turns({name: partial(run, way, inputs, torch.float32) for name, way in ways.items()}, rounds, budget)
    for name, seconds in turns.medians().items():
        found[name] |= {"seconds": round(seconds, 5), "all_seconds": [round(time, 5) for time in turns.clock(name)]}
        found[name] |= turns.facts()
    return found


def add_rows(table: Table, case: Case, found: dict[str, Any]) -> None:
    """One row a way, beside ours."""
    ours = next(iter(found.values()))
    for name, way in found.items():
        if way is None:
            table.add_row("", name, "not installed")
            continue
        shown = (", ".join(map(shown_error, way[dtype].values())) for dtype in ("float32", "bfloat16"))
        times = f"{way['seconds'] * 1e3:.1f} ms ({way['seconds'] / ours['seconds']:.2f})"
        peak = f"{way['peak_bytes'] / 2**20:.1f} MiB ({way['peak_bytes'] / ours['peak_bytes']:.2f})"
        table.add_row(case.name if way is ours else "", name, times, peak, *shown)


def headlines(results: dict[str, Any]) -> list[Headline]:
    rows = []
    for name, ways in results["losses"].items():
        ours = next(iter(ways.values()))
        for other, theirs in ways.items():
            if theirs is not None and theirs is not ours:
                time, memory = ours["seconds"] / theirs["seconds"], ours["peak_bytes"] / theirs["peak_bytes"]
                against = "plain formula" if other == "plain" else other
                rows.append(Headline(f"loss: {name}", against, f"{time:.2f}x the time, {memory:.2f}x the memory"))
    return rows


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = options_of(__doc__, "losses.json", rounds=9, bf16=False)
    parser.add_argument("--only", default="", help="losses whose name holds this")
    parser.add_argument("--shrink", type=int, default=1, help="divides rows (and words, and lengths of drawn.spans)")
    options = parser.parse_args()

    table = Table("loss", "way", "time (/ ours)", "peak (/ ours)", "errors in fp32", "errors in bf16")
    results = {}
    chosen = [case for case in cases() if options.only.lower() in case.name.lower()]
    for case, budget in tqdm(Budget(options.budget).shared(chosen), total=len(chosen), unit="loss"):
        results[case.name] = measure(case, options.rounds, options.shrink, budget)
        add_rows(table, case, results[case.name])
    Console(width=150).print(table)
    write_report(options, {"shrink": options.shrink, "losses": results}, "fp32, and bf16 for errors", *PEERS)


if __name__ == "__main__":
    main()
