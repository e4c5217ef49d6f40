"""What a prompt costs: label scores at the masks only, against full logits, and against a classification head.

    python benchmarks/pet_scoring.py                       # writes benchmarks/results/pet_scoring.json

One process, one model, the same batches, in turns (A B C A B C ...); medians and ratios. Peak memory is that of the
tensors allocated within the call, from torch's profiler, model and optimizer states left out. Two shapes: the shipped
model, and a 12-layer BERT-base with random weights over 21,128 tokens. Those of
``--batch 16`` on a processor with AMX are committed as ``pet_scoring_amx.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from machine import arithmetic
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nlpkit import PetClassifier, WoBertConfig, WoBertForMaskedLM, WoBertForSequenceClassification, model_path
from nlpkit.losses import cross_entropy
from nlpkit.pet import Example, HeadClassifier

PATTERN = "总之，我很{mask}。{text}"
WORDS = {"good": "满意", "bad": "失望"}
TEXT = "前台的服务态度很好，房间又大又干净，早餐也丰富，离地铁站很近，就是隔音差一点，晚上有些吵。"
LENGTH = 128
KINDS = ("prediction", "training step")
Step = Callable[[], Any]


def classifiers(shape: str, length: int) -> tuple[PetClassifier, HeadClassifier]:
    """The same encoder behind a cloze and behind a classification head."""
    folder = model_path("wobert-mini-zh")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if shape == "wobert-mini-zh":
        prompted = PetClassifier.from_pretrained(folder, PATTERN, WORDS, max_length=length)
        head = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype="float32")
    else:
        config = WoBertConfig(vocab_size=21_128)
        prompted = PetClassifier(WoBertForMaskedLM(config), tokenizer, PATTERN, WORDS, max_length=length)
        head = WoBertForSequenceClassification(WoBertConfig(vocab_size=21_128, num_labels=2))
    for model in (prompted.model, head):
        model.set_attn_implementation("eager")
        model.eval()  # no dropout in either shape, so that ways of scoring can be compared
    return prompted, HeadClassifier(head, tokenizer, list(WORDS), max_length=length)


def through_full_logits(prompted: PetClassifier, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Label scores as they are usually made: all logits of all positions, then a few of them."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    logits = prompted.model(**inputs).logits  # (batch, length, vocab)
    rows = torch.arange(len(logits))
    return logits[rows, batch["slots"][:, 0]][:, batch["tokens"]]


def steps(shape: str, batch_size: int, length: int, bf16: bool) -> dict[str, tuple[Step, Step]]:
    """For each way of classifying, a prediction and a training step without the optimizer."""
    prompted, head = classifiers(shape, length)
    examples = [Example({"text": TEXT * 9}, ("good", "bad")[number % 2]) for number in range(batch_size)]
    clozes, plain = prompted.collate(examples), head.collate(examples)
    labels = clozes["labels"]
    inputs = {name: tensor for name, tensor in clozes.items() if name != "labels"}
    texts = {name: tensor for name, tensor in plain.items() if name != "labels"}
    scores: dict[str, Callable[[], torch.Tensor]] = {
        "masks only": lambda: prompted.label_scores(**inputs),
        "full logits": lambda: through_full_logits(prompted, clozes),
        "classification head": lambda: head(**texts).logits,
    }

    def predict(score: Callable[[], torch.Tensor]) -> None:
        with torch.inference_mode(), arithmetic(bf16):
            score()

    def train(score: Callable[[], torch.Tensor]) -> None:
        with arithmetic(bf16):
            loss = cross_entropy(score(), labels)
        loss.backward()
        prompted.zero_grad(set_to_none=False)
        head.zero_grad(set_to_none=False)

    reference, ours = scores["full logits"](), scores["masks only"]()
    torch.testing.assert_close(ours.softmax(-1), reference.softmax(-1), rtol=0, atol=1e-4)
    return {
        name: (lambda score=score: predict(score), lambda score=score: train(score)) for name, score in scores.items()
    }


def peak_megabytes(step: Step) -> float:
    """Highest sum of what the call has allocated and not yet freed, in MB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    held = peak = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 1e6


def measure(shape: str, options: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """Medians of interleaved rounds, peaks, and ratios to the full logits and to the head."""
    made = steps(shape, options.batch, LENGTH, options.bf16)
    result: dict[str, Any] = {"shape": shape, "batch": options.batch, "length": LENGTH}
    for (place, kind), share in budget.shared(enumerate(KINDS)):
        ways = {name: each[place] for name, each in made.items()}
        peaks = {name: peak_megabytes(way) for name, way in ways.items()}
        turns = take_turns(ways, options.rounds, share, f"{shape}, {kind}")
        result |= turns.facts()
        result[kind] = {
            name: {"seconds": seconds, "peak_mb": peaks[name]} for name, seconds in turns.medians().items()
        }
    return result


def headlines(results: dict[str, Any]) -> list[Headline]:
    def row(result: dict[str, Any], kind: str, other: str) -> Headline:
        ours, theirs = result[kind]["masks only"], result[kind][other]
        faster, smaller = theirs["seconds"] / ours["seconds"], ours["peak_mb"] / theirs["peak_mb"]
        what = f"{kind} at the mask alone, {result['shape']}, {result['batch']} texts of {result['length']} tokens"
        return Headline(what, other, f"{faster:.2f}x as fast, {smaller:.2f}x the memory")

    others = ("full logits", "classification head")
    return [row(result, kind, other) for result in results["results"] for kind in KINDS for other in others]


def main() -> None:
    parser = options_of(__doc__, "pet_scoring.json", rounds=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--shapes", nargs="+", default=["wobert-mini-zh", "bert-base"])
    options = parser.parse_args()
    results = [measure(shape, options, budget) for shape, budget in Budget(options.budget).shared(options.shapes)]
    console = Console(width=120)
    for result in results:
        for kind in KINDS:
            table = Table("way", "seconds", "x masks only", "peak MB", "x masks only", "texts/s")
            table.title = f"{result['shape']}, {kind}, {result['batch']} texts of {result['length']} tokens"
            ours = result[kind]["masks only"]
            for name, row in result[kind].items():
                table.add_row(
                    name,
                    f"{row['seconds']:.4f}",
                    f"{row['seconds'] / ours['seconds']:.2f}",
                    f"{row['peak_mb']:.0f}",
                    f"{row['peak_mb'] / ours['peak_mb']:.2f}",
                    f"{result['batch'] / row['seconds']:.0f}",
                )
            console.print(table)
    write_report(options, {"results": results})


if __name__ == "__main__":
    main()
