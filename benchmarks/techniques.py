"""One table and one picture of what recipes/techniques.py has found on all sets.

    python recipes/techniques.py recipes/configs/techniques/tnews.yaml    # and those beside it
    python benchmarks/techniques.py --runs runs/techniques

Copies each set's results.jsonl to benchmarks/results/techniques/SET.jsonl, and writes table.md and effects.svg there.
Without --runs, it makes these two of what has been copied.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import yaml

from nlpkit.files import write_text
from nlpkit.runs import arm_table, effects, plot_effects

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "techniques"
CONFIGS = ROOT / "recipes" / "configs" / "techniques"


def main() -> None:
    """Copy, and write both."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="output folders of the recipe, by set")
    options = parser.parse_args()
    tables, effects_by_set = [], {}
    for config in sorted(CONFIGS.glob("*.yaml")):
        copied = RESULTS / f"{config.stem}.jsonl"
        if options.runs is not None and (made := options.runs / config.stem / "results.jsonl").is_file():
            write_text(copied, made.read_text("utf-8"))
        if not copied.is_file():
            continue
        results: list[dict[str, Any]] = [json.loads(line) for line in copied.read_text("utf-8").splitlines()]
        metrics = [f"test {metric}" for metric in yaml.safe_load(config.read_text("utf-8"))["metrics"]]
        tables.append(f"## {config.stem}\n\n{arm_table(results, metrics)}")
        effects_by_set[f"{config.stem}, {metrics[0]}"] = effects(results, metrics[0])
    write_text(RESULTS / "table.md", "\n".join(tables))
    plot_effects(effects_by_set, RESULTS / "effects.svg")
    print("\n".join(tables))


if __name__ == "__main__":
    main()
