"""Draw the pictures of the home page and the gallery, by the library itself, on the shipped model.

    make pictures

What is measured comes from ``benchmarks/results``; nothing is measured here.
"""

from __future__ import annotations

import json
from pathlib import Path

from nlpkit import PerturbedMasking
from nlpkit.fewshot import ResultsFile, plot_scores
from nlpkit.files import write_text
from nlpkit.perturbed_masking import arcs_svg, eisner, save_heat_map
from nlpkit.pictures import picture

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "benchmarks" / "results"
WORDS = {"老师": "teacher", "给": "to", "学生": "pupils", "讲": "tells", "历史": "history", "故事": "stories"}


def main() -> None:
    """Draw all of them."""
    draw_parse()
    draw_few_shot()
    draw_ladder_memory()


def draw_parse() -> None:
    """The impact of words on one another, and the tree that it gives."""
    words = list(WORDS)
    masking = PerturbedMasking.from_pretrained("wobert-mini-zh", show_progress=False)
    (impact,) = masking.impact([words])
    save_heat_map(impact, words, HERE / "impact.svg")
    write_text(HERE / "parse.svg", arcs_svg(words, eisner(impact), tags=list(WORDS.values())))


def draw_few_shot() -> None:
    """Of the tasks and methods of FewCLUE that are measured, those that a glance can take in."""
    tasks, methods = ("eprstmt", "tnews", "iflytek"), ("zero-shot-calibrated", "fine-tuning", "pet")
    found = ResultsFile(RESULTS / "fewclue" / "results.jsonl").read()
    shown = [run for task in tasks for method in methods for run in found if (run.task, run.method) == (task, method)]
    plot_scores(shown, HERE / "few_shot.svg", part="other_dev")


def draw_ladder_memory() -> None:
    """What ways of fine-tuning keep in memory, and how long a step takes."""
    steps = json.loads((RESULTS / "ladder_side_tuning.json").read_text("utf-8"))["steps"]
    ways = [step["way"] for step in steps]
    with picture(HERE / "ladder_memory.svg", ways) as figure:
        figure.set_size_inches(7.2, 2.4)
        memory, time = figure.subplots(1, 2, sharey=True)
        for axes, values, title in (
            (memory, [step["activation_bytes"] / 2**20 for step in steps], "activations kept, MiB"),
            (time, [step["step_seconds"] for step in steps], "a step, seconds on two cores"),
        ):
            bars = axes.barh(range(len(ways)), values, color=["C0" if "ladder" in way else "0.7" for way in ways])
            axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
            axes.set_title(title, fontsize=9, loc="left")
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(x=0.15)
        memory.set_yticks(range(len(ways)), ways, fontsize=9)
        memory.invert_yaxis()


if __name__ == "__main__":
    main()
