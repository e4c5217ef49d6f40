"""Impact matrices: the engine against a plain double loop, and its rate of tokens against the model's own best.

    python benchmarks/perturbed_masking.py                     # writes benchmarks/results/perturbed_masking.json

Both loops get the same model, precision and sentences in the same process, in turns (A B A B ...). The plain one is
that of the authors' code: for every sentence one forward pass at a time, of all layers, for every ordered pair of its
tokens, special ones included. The second table sends sentences of one length through the engine, and copies of that
length through the bare model in batches of several sizes; the best of these is the model's own rate. Sentences are
drawn from the model's vocabulary, so nothing beside the checkout is needed. Those of
``--tokens 49152 --budget 600`` on a processor with AMX are committed as ``perturbed_masking_amx.json``.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns

from nlpkit.perturbed_masking import PerturbedMasking, count_copies
from nlpkit.wobert.words.word_splitter import is_chinese


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


def compare_loops(
    masking: PerturbedMasking, sentences: list[list[str]], rounds: int, budget: Budget
) -> dict[str, Any]:
    """Seconds of both ways over the same sentences, in turns."""
    found: dict[str, list[np.ndarray]] = {}

    def plain() -> None:
        found["double loop"] = [double_loop(masking, sentence) for sentence in sentences]

    def ours() -> None:
        found["engine"] = masking.impact(sentences)

    # A round of the double loop is too long to warm up with: its shortest sentence prepares the same kernels.
    double_loop(masking, min(sentences, key=len))
    masking.impact(sentences)
    calls = {"double loop": plain, "engine": ours}
    turns = take_turns(calls, rounds, budget, "double loop against engine", warm_up=False)
    seconds = turns.medians()
    return {
        "words": [len(sentence) for sentence in sentences],
        **turns.facts(),
        "seconds": {name: turns.clock(name) for name in seconds},
        "largest_difference": max(float(np.abs(a - b).max()) for a, b in zip(*found.values(), strict=True)),
        "ratio": seconds["double loop"] / seconds["engine"],
    }


@torch.no_grad()
def forward(masking: PerturbedMasking, batch: torch.Tensor, passes: int) -> None:
    """Bare passes through the encoder."""
    for _ in range(passes):
        with masking.encoder.autocast():
            masking.encoder.encoder(input_ids=batch)


def compare_rates(
    masking: PerturbedMasking, words: int, least: int, sizes: list[int], rounds: int, budget: Budget
) -> dict[str, Any]:
    """Tokens per second at one length: through the engine, and through the bare model at each size of batch."""
    length = words + 2
    count = -(-least // (count_copies(words) * length))
    sentences = draw_sentences(masking.tokenizer, [words] * count, seed=words)
    copies = count * count_copies(words)
    calls: dict[str, Any] = {"engine": partial(masking.impact, sentences)}
    tokens = {"engine": copies * length}
    for size in sizes:
        batch = torch.randint(5, 1000, (max(1, size // length), length), device=masking.encoder.device)
        passes = max(1, -(-copies // len(batch)))
        calls[str(size)] = partial(forward, masking, batch, passes)
        tokens[str(size)] = passes * batch.numel()
    turns = take_turns(calls, rounds, budget, f"rates at {words} words")
    rates = {name: median(tokens[name] / seconds for seconds in turns.clock(name)) for name in calls}
    engine = rates.pop("engine")
    best = max(rates, key=lambda size: rates[size])
    return {
        "words": words,
        "sentences": count,
        **turns.facts(),
        "engine_tokens_per_second": round(engine),
        "bare_tokens_per_second": {size: round(rate) for size, rate in rates.items()},
        "best_batch_tokens": int(best),
        "engine_share_of_best": engine / rates[best],
    }


def headlines(results: dict[str, Any]) -> list[Headline]:
    loops, shares = results["double_loop"], [row["engine_share_of_best"] for row in results["rates"]]
    lengths = ", ".join(str(row["words"]) for row in results["rates"])
    return [
        Headline(
            f"impact matrices, sentences of {min(loops['words'])} to {max(loops['words'])} words",
            "plain double loop",
            f"{loops['ratio']:.1f}x as fast",
        ),
        Headline(
            f"impact matrices, tokens per second at {lengths} words",
            "bare forward passes at their best size of batch",
            f"{100 * min(shares):.0f} to {100 * max(shares):.0f} %",
        ),
    ]


def main() -> None:
    """Time everything in turns, print the tables, write the JSON."""
    parser = options_of(__doc__, "perturbed_masking.json", rounds=5)
    parser.add_argument("--model", default="wobert-mini-zh", help="a folder, or the name of a shipped model")
    parser.add_argument("--words", type=int, nargs="+", default=[10, 20, 40], help="lengths of sentences")
    parser.add_argument("--loop_words", type=int, nargs="+", default=[5, 10, 15, 20, 25], help="for the double loop")
    parser.add_argument("--tokens", type=int, default=16_384, help="in copies of each length, for the rates, or more")
    parser.add_argument(
        "--batch_tokens", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192], help="bare batches"
    )
    options = parser.parse_args()

    masking = PerturbedMasking.from_pretrained(options.model, bf16=options.bf16, show_progress=False)
    sentences = draw_sentences(masking.tokenizer, options.loop_words, seed=1)
    loops = compare_loops(masking, sentences, options.rounds, Budget(options.budget / 2))
    rates = [
        compare_rates(masking, words, options.tokens, options.batch_tokens, options.rounds, share)
        for words, share in Budget(options.budget).shared(options.words)
    ]

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
        values = (row["engine_tokens_per_second"], row["bare_tokens_per_second"][str(best)], best)
        table.add_row(str(row["words"]), *map(str, values), f"{row['engine_share_of_best']:.0%}")
    console.print(table)
    write_report(options, {"model": options.model, "bf16": options.bf16, "double_loop": loops, "rates": rates})


if __name__ == "__main__":
    main()
