"""How near a fresh word model is to the encoder it was made from, and what a better beginning saves in pretraining.

    python benchmarks/row_distillation.py                                  # cosines, some minutes per cell
    python benchmarks/row_distillation.py --pretrain 300                   # and masked-LM training from two beginnings

Needs the zh+en encoder and raw Chinese text beside the checkout (``NLPKIT_MODELS``, ``NLPKIT_DATA``). Each finished
cell is a line of benchmarks/results/row_distillation/results.jsonl; called again, the benchmark goes on where it
stopped. Cells of one seed have the same texts, held-out lines, masks and order; nothing is timed.

Cosines are those of the word model's states to the unchanged encoder's on held-out lines: of stretches of text that no
new word touches (context), of stretches with a new word (words), and of mean-pooled sentences.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm
from transformers import AutoTokenizer, BertModel, PreTrainedModel, get_linear_schedule_with_warmup

from nlpkit import model_path
from nlpkit.data import MaskedTokenCollator
from nlpkit.files import write_json
from nlpkit.text_files import read_lines
from nlpkit.training import bf16_is_fast, fast_arithmetic, fast_attention
from nlpkit.wobert import WordModel, build_vocabulary, wordify
from nlpkit.wobert.wordifying.embedding_surgery import find_pieces
from nlpkit.wobert.wordifying.paired_texts import mean_states, read_batches, read_pairs
from nlpkit.wobert.words.vocabulary import base_tokens

ROOT = Path(__file__).resolve().parent.parent
MODEL = Path(os.environ.get("NLPKIT_MODELS") or ROOT.parent / "shared" / "models") / "zh-en-minilm-l12-h384"
TEXTS = Path(os.environ.get("NLPKIT_DATA") or ROOT.parent / "shared" / "data") / "corpus-zh"
OUT = Path(__file__).parent / "results" / "row_distillation"
SIZE, LINE, STRIDE, HELD_OUT = 20_000, 96, 37, 128
#: Steps of distillation in each arm; the two of the donor begin from its combinations.
ARMS = {"random": 0, "mean of pieces": 0, "donor": 0, "distilled": 50, "donor, distilled": 50, "distilled longer": 300}
ROWS, BLOCK, MASKED, RATE, EVERY = 16, 64, 0.25, 6e-4, 10


@cache
def encoder() -> tuple[PreTrainedModel, Any]:
    """The encoder and its tokenizer."""
    model = BertModel.from_pretrained(MODEL, add_pooling_layer=False, dtype="float32").eval()
    return model, AutoTokenizer.from_pretrained(MODEL)


@cache
def lines() -> tuple[list[str], list[str]]:
    """Lines to learn from, and lines held out in runs: an evenly spread sample of every file."""
    parts: tuple[list[str], list[str]] = [], []
    for file in tqdm(sorted(TEXTS.glob("*.txt.xz")), "reading texts", unit=" files"):
        for number, line in enumerate(read_lines(file)):
            if number % STRIDE == 0 and line.strip():
                parts[number // (27 * STRIDE) % 10 == 9].append(line.strip())
    return parts


@cache
def vocabulary() -> dict[str, int]:
    """A word vocabulary counted on the lines to learn from."""
    return build_vocabulary(base_tokens(encoder()[1]), corpus=lines()[0], size=SIZE)


def sample(seed: int, held_out: bool) -> list[str]:
    """The lines of a seed, in its order, cut to the length that all arms see."""
    order = random.Random(f"{seed} {held_out}")
    chosen = lines()[held_out]
    return [line[:LINE] for line in order.sample(chosen, len(chosen))]


def word_model(arm: str, seed: int) -> WordModel:
    """The encoder with words, its new rows begun as the arm says."""
    model, tokenizer = encoder()
    steps = ARMS[arm]
    torch.manual_seed(seed)
    with fast_arithmetic():
        words = wordify(
            model,
            tokenizer,
            vocabulary(),
            donor=model_path("wobert-mini-zh") if "donor" in arm else None,
            distil=sample(seed, held_out=False) if steps else None,
            steps=max(1, steps),
        )
    if arm == "random":
        weight = words.model.get_input_embeddings().weight.detach()
        rows = new_ids(words)
        with torch.no_grad():
            weight[rows] = weight.mean(dim=0) + weight.std(dim=0) * torch.randn(len(rows), weight.shape[1])
    return words


def new_ids(words: WordModel) -> list[int]:
    """The ids whose rows are new."""
    pieces = find_pieces(words.tokenizer.get_vocab(), encoder()[1])
    return [number for number, row in enumerate(pieces) if len(row) > 1]


@torch.no_grad()
def cosines(words: WordModel, texts: list[str]) -> dict[str, float]:
    """Mean cosine of the word model's states to the encoder's."""
    (old, tokenizer), new = encoder(), new_ids(words)
    words.model.eval()
    found: dict[str, list[Tensor]] = {"context": [], "words": [], "sentences": []}
    pairs = islice(read_pairs(texts, words.tokenizer, tokenizer, new, 128), HELD_OUT)
    is_new = torch.zeros(SIZE, dtype=torch.bool)
    is_new[new] = True
    for batch in read_batches(pairs, 32, words.tokenizer, tokenizer, random.Random(0)):
        before, after = old(**batch.old).last_hidden_state, words.model.base_model(**batch.new).last_hidden_state
        numbers = batch.new_stretches[is_new[batch.new["input_ids"]] & (batch.new_stretches >= 0)]
        touched = torch.zeros(batch.number, dtype=torch.bool)
        touched[numbers] = True
        alike = torch.cosine_similarity(
            mean_states(before, batch.old_stretches, batch.number),
            mean_states(after, batch.new_stretches, batch.number),
        )
        found["context"].append(alike[~touched])
        found["words"].append(alike[touched])
        pooled = [
            (states * inputs["attention_mask"][..., None]).sum(1) / inputs["attention_mask"].sum(1, keepdim=True)
            for states, inputs in ((before, batch.old), (after, batch.new))
        ]
        found["sentences"].append(torch.cosine_similarity(*pooled))
    return {name: round(torch.cat(parts).mean().item(), 5) for name, parts in found.items()}


def pretrain(words: WordModel, arm: str, seed: int, steps: int, work: Path) -> list[float]:
    """Held-out loss of masked-LM training, from step 0 on; the head is fresh and the same in all arms."""
    torch.manual_seed(seed)  # the head, after what distillation may have drawn
    for name, parameter in words.model.named_parameters():
        if name.startswith("cls.predictions.transform") and parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.02)
    model = words.model.train()
    model.config.sparse_prediction = True
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    collate = MaskedTokenCollator(words.tokenizer, MASKED)
    torch.manual_seed(seed)
    held_out = [collate(rows) for rows in islice(blocks(words, sample(seed, held_out=True)), 6)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    losses: list[float] = []
    done, state = 0, work / f"{arm} {seed} {steps}.pt"
    if state.exists():
        done, losses, *states = torch.load(state)
        for part, saved in zip((model, optimizer, schedule), states, strict=True):
            part.load_state_dict(saved)
    batches = islice(blocks(words, sample(seed, held_out=False)), done, steps)
    for step in tqdm(range(done, steps + 1), f"{arm}, seed {seed}", unit=" steps", initial=done, total=steps):
        if step % EVERY == 0 and len(losses) <= step // EVERY:
            losses.append(round(evaluate(model, held_out), 4))
            work.mkdir(parents=True, exist_ok=True)
            torch.save((step, losses, model.state_dict(), optimizer.state_dict(), schedule.state_dict()), state)
        if step == steps:
            break
        torch.manual_seed(1_000_003 * seed + step)  # masks are the step's, in all arms and after a stop
        with fast_arithmetic(), fast_attention(model):
            loss = model(**collate(next(batches))).loss
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    state.unlink(missing_ok=True)
    return losses


def blocks(words: WordModel, texts: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows of the same length, again and again."""
    while True:
        stream: list[int] = []
        for text in texts:
            stream += [*words.tokenizer(text, add_special_tokens=False)["input_ids"], words.tokenizer.sep_token_id]
            if len(stream) >= ROWS * BLOCK:
                yield [{"input_ids": stream[start : start + BLOCK]} for start in range(0, ROWS * BLOCK, BLOCK)]
                stream = stream[ROWS * BLOCK :]


@torch.no_grad()
def evaluate(model: PreTrainedModel, batches: list[Any]) -> float:
    """Mean loss of held-out batches."""
    model.eval()
    with fast_arithmetic():
        loss = mean(model(**batch).loss.item() for batch in batches)
    model.train()
    return loss


def steps_saved(mean_losses: list[float], losses: list[float]) -> float:
    """By how many steps, on average over the second half of training, the other arm reaches the same loss earlier."""
    saved = []
    for place in range(len(mean_losses) // 2, len(mean_losses)):
        reached = next((k for k, loss in enumerate(losses) if loss <= mean_losses[place]), None)
        if reached is None:
            saved.append(0.0)
            continue
        before, after = losses[max(0, reached - 1)], losses[reached]
        inside = (before - mean_losses[place]) / (before - after) if before > after else 1.0
        saved.append((place - (reached - 1 + inside if reached else 0)) * EVERY)
    return round(mean(saved), 1)


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and deviations by arm."""
    summary: dict[str, Any] = {"cosines": {}, "pretraining": {}}
    for arm in ARMS:
        cells = [cell["cosines"] for cell in results if cell["arm"] == arm and "cosines" in cell]
        if cells:
            summary["cosines"][arm] = {"seeds": len(cells)} | {
                name: [
                    round(mean(c[name] for c in cells), 4),
                    round(stdev([c[name] for c in cells]), 4) if cells[1:] else 0,
                ]
                for name in cells[0]
            }
    trained = {(cell["arm"], cell["seed"], cell["steps"]): cell["losses"] for cell in results if "losses" in cell}
    for (arm, seed, steps), losses in trained.items():
        base = trained.get(("mean of pieces", seed, steps))
        if arm != "mean of pieces" and base is not None:
            entry = summary["pretraining"].setdefault(
                f"{arm}, of {steps} steps", {"saved": [], "losses": [], "from mean": []}
            )
            entry["saved"].append(steps_saved(base, losses))
            entry["losses"].append(losses[-1])
            entry["from mean"].append(base[-1])
    return summary


def main() -> None:
    """Measure what is not measured yet, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--pretrain", type=int, default=0, help="steps of masked-LM training, 0 for none")
    parser.add_argument("--pretrain_arms", nargs="+", default=["mean of pieces", "distilled"])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--work", type=Path, default=Path("runs/row_distillation"), help="folder of checkpoints")
    arguments = parser.parse_args()
    file = arguments.out / "results.jsonl"
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    done = {(cell["arm"], cell["seed"], cell.get("steps", 0)) for cell in results}

    facts = measured_on("bf16 autocast" if bf16_is_fast() else "fp32")

    def keep(cell: dict[str, Any]) -> None:
        cell["measured_on"] = facts
        results.append(cell)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(cell, ensure_ascii=False) + "\n")

    for seed, arm in itertools.product(arguments.seeds, arguments.arms):
        steps = arguments.pretrain if arm in arguments.pretrain_arms else 0
        wanted = [number for number in {0, steps} if (arm, seed, number) not in done]
        if not wanted:
            continue
        words = word_model(arm, seed)
        if 0 in wanted:
            keep({"arm": arm, "seed": seed, "cosines": cosines(words, sample(seed, held_out=True))})
        if steps in wanted and steps:
            losses = pretrain(words, arm, seed, steps, arguments.work)
            keep({"arm": arm, "seed": seed, "steps": steps, "losses": losses})
    summary = summarise(results)
    write_json(arguments.out / "summary.json", summary)
    table = Table("new rows", "seeds", "context", "words", "sentences", title="cosine to the unchanged encoder")
    for arm, figures in summary["cosines"].items():
        spread = [f"{figures[name][0]:.4f} ± {figures[name][1]:.4f}" for name in ("context", "words", "sentences")]
        table.add_row(arm, str(figures["seeds"]), *spread)
    Console().print(table)
    for arm, figures in summary["pretraining"].items():
        Console().print(f"{arm}: {figures}", markup=False)


if __name__ == "__main__":
    main()
