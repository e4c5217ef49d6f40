"""Impact matrices: the engine against a plain double loop, and its rate of tokens against the model's own best.

    python benchmarks/perturbed_masking.py                     # writes benchmarks/results/perturbed_masking.json

Both loops get the same model, precision and sentences in the same process, in turns (A B A B ...). The plain one is
that of the authors' code: for every sentence one forward pass at a time, of all layers, for every ordered pair of its
tokens, special ones included. The second table sends sentences of one length through the engine, and copies of that
length through the bare model in batches of several sizes; the best of these is the model's own rate. Sentences are
drawn from the model's vocabulary, so nothing beside the checkout is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from nlpkit.files import write_json
from nlpkit.perturbed_masking import PerturbedMasking, count_copies
from nlpkit.training import bf16_is_fast
from nlpkit.wobert.words.word_splitter import is_chinese

ROOT = Path(__file__).resolve().parent.parent


def draw_sentences(tokenizer: Any, lengths: list[int], seed: int) -> list[list[str]]:
    """Sentences of these numbers of words, each of one character, so of one token."""
    words = sorted(word for word in tokenizer.get_vocab() if len(word) == 1 and is_chinese(word))
    generator = np.random.default_rng(seed)
    return [list(map(str, generator.choice(words, length))) for length in lengths]


@torch.no_grad()
def double_loop(masking: PerturbedMasking, sentence: list[str]) -> np.ndarray:
    """The plain way: (n + 2)^2 forward passes for n words of one token."""
    model, mask_id = masking.encoder.encoder, masking.tokenizer.mask_token_id
    ids = torch.tensor(masking.units(sentence).token_ids, device=masking.encoder.device)
    length = len(ids)
    impact = np.zeros((length, length), np.float32)
    for i in range(length):
        alone = None
        for j in [i, *(other for other in range(length) if other != i)]:
            masked = ids.clone()
            masked[[i, j]] = mask_id
            with masking.encoder.autocast():
                state = model(masked[None], output_hidden_states=True).hidden_states[-1][0, i].float()
            alone = state if alone is None else alone
            impact[i, j] = torch.linalg.vector_norm(alone - state).item()
    return impact[1:-1, 1:-1]


def compare_loops(masking: PerturbedMasking, sentences: list[list[str]], rounds: int) -> dict[str, Any]:
    """Seconds of both ways over the same sentences, in turns."""
    seconds: dict[str, list[float]] = {"double loop": [], "engine": []}
    largest = 0.0
    for _ in tqdm(range(rounds), desc="double loop against engine"):
        begin = perf_counter()
        plain = [double_loop(masking, sentence) for sentence in sentences]
        seconds["double loop"].append(perf_counter() - begin)
        begin = perf_counter()
        ours = masking.impact(sentences)
        seconds["engine"].append(perf_counter() - begin)
        largest = max(largest, *(float(np.abs(one - other).max()) for one, other in zip(plain, ours, strict=True)))
    return {
        "words": [len(sentence) for sentence in sentences],
        "seconds": seconds,
        "largest_difference": largest,
        "ratio": median(seconds["double loop"]) / median(seconds["engine"]),
    }


@torch.no_grad()
def forward(masking: PerturbedMasking, batch: torch.Tensor, passes: int) -> float:
    """Seconds of bare passes through the encoder."""
    begin = perf_counter()
    for _ in range(passes):
        with masking.encoder.autocast():
            masking.encoder.encoder(input_ids=batch)
    if batch.is_cuda:
        torch.cuda.synchronize()
    return perf_counter() - begin


def compare_rates(masking: PerturbedMasking, words: int, least: int, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Tokens per second at one length: through the engine, and through the bare model at each size of batch."""
    length = words + 2
    count = -(-least // (count_copies(words) * length))
    sentences = draw_sentences(masking.tokenizer, [words] * count, seed=words)
    copies = count * count_copies(words)
    batches = {
        tokens: torch.randint(5, 1000, (max(1, tokens // length), length), device=masking.encoder.device)
        for tokens in sizes
    }
    bare: dict[int, list[float]] = {tokens: [] for tokens in sizes}
    engine: list[float] = []
    for turn in range(rounds + 1):
        for tokens, batch in batches.items():
            passes = max(1, -(-copies // len(batch)))
            rate = passes * batch.numel() / forward(masking, batch, passes)
            bare[tokens] += [rate] if turn else []  # the first turn warms up
        begin = perf_counter()
        masking.impact(sentences)
        engine += [copies * length / (perf_counter() - begin)] if turn else []
    best = max(bare, key=lambda tokens: median(bare[tokens]))
    return {
        "words": words,
        "sentences": count,
        "engine_tokens_per_second": round(median(engine)),
        "bare_tokens_per_second": {tokens: round(median(rates)) for tokens, rates in bare.items()},
        "best_batch_tokens": best,
        "engine_share_of_best": median(engine) / median(bare[best]),
    }


def main() -> None:
    """Time everything in turns, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="wobert-mini-zh", help="a folder, or the name of a shipped model")
    parser.add_argument("--words", type=int, nargs="+", default=[10, 20, 40], help="lengths of sentences")
    parser.add_argument("--loop_words", type=int, nargs="+", default=[5, 10, 15, 20, 25], help="for the double loop")
    parser.add_argument("--tokens", type=int, default=49_152, help="in copies of each length, for the rates, or more")
    parser.add_argument(
        "--batch_tokens", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192], help="bare batches"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=bf16_is_fast(), help="in both loops")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "perturbed_masking.json")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    masking = PerturbedMasking.from_pretrained(options.model, bf16=options.bf16, show_progress=False)
    masking.impact(draw_sentences(masking.tokenizer, [5], seed=0))
    loops = compare_loops(masking, draw_sentences(masking.tokenizer, options.loop_words, seed=1), options.rounds)
    lengths = tqdm(options.words, desc="rates by length")
    rates = [compare_rates(masking, words, options.tokens, options.batch_tokens, options.rounds) for words in lengths]

    console = Console()
    times = {name: median(values) for name, values in loops["seconds"].items()}
    console.print(
        f"sentences of {loops['words']} words: double loop {times['double loop']:.2f} s, engine "
        f"{times['engine']:.2f} s, {loops['ratio']:.1f} times as fast; "
        f"matrices differ by at most {loops['largest_difference']:.1e}"
    )
    table = Table("words", "engine, tokens/s", "bare model's best", "at batch tokens", "share")
    for row in rates:
        best = row["best_batch_tokens"]
        values = (row["engine_tokens_per_second"], row["bare_tokens_per_second"][best], best)
        table.add_row(str(row["words"]), *map(str, values), f"{row['engine_share_of_best']:.0%}")
    console.print(table)
    report = {
        "model": options.model,
        "bf16": options.bf16,
        "rounds": options.rounds,
        "double_loop": loops,
        "rates": rates,
        "machine": measured_on("bf16 autocast" if options.bf16 else "fp32"),
    }
    write_json(options.output, report)


if __name__ == "__main__":
    main()
