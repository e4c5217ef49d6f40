"""The scores of recipes/perturbed_masking.py by layer: a panel a group of decoders, a line a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from recipes.perturbed_masking_results import Row
from recipes.perturbed_masking_tasks import Task


def plot_layers(task: Task, rows: Sequence[Row], path: str | Path) -> None:
    """Draw what each layer scores on dev with its best setting; twins are dotted, the baseline is dashed.

    Args:
        task: what was evaluated.
        rows: of ``results.jsonl``.
        path: the SVG to write.
    """
    metric = next(iter(task.metrics))
    grid = [row for row in rows if row["stage"] == "grid"]
    baselines = {row["decoder"]: row[metric] for row in rows if (row["stage"], row["data"]) == ("baseline", "dev")}
    models = list(dict.fromkeys(row["model"] for row in grid))
    trained = list(dict.fromkeys(model.partition(", random")[0] for model in models))
    # Without the salt and the date the same scores give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "nlpkit"}):
        figure = Figure(figsize=(3.4 * len(task.floors), 3.8), layout="constrained")
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
        figure.savefig(path, format="svg", metadata={"Date": None})


def best_by_layer(rows: Sequence[Row], metric: str) -> dict[int, float]:
    """The best score of each layer."""
    layers = sorted({row["layer"] for row in rows})
    return {layer: max(row[metric] for row in rows if row["layer"] == layer) for layer in layers}
