"""Which architectures can count positions: the table and the picture of docs/probes.md.

    python benchmarks/positions.py                        # writes benchmarks/results/probes/positions.{json,svg}

Small models with random weights, five times as large as at initialisation, so that attention is not uniform: what
they cannot do is a matter of the architecture. Behind them the shipped model, and any that ``--model`` names, trained.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from machine import measured_on
from rich.console import Console
from transformers import AutoModel, PreTrainedModel

from nlpkit.compat import quiet_loading
from nlpkit.files import write_json
from nlpkit.probes import PositionReport, add_urpe, plot_positions, position_identifiability, position_table
from nlpkit.sources import find_model

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the models are the tests' own
from tests.probes.positions.small_models import ALL, small_model  # noqa: E402

#: Enough for as many texts as the probe takes by default.
VOCABULARY = 599


def with_urpe(name: str) -> PreTrainedModel:
    """The same with weights of distances as training may leave them."""
    model = small_model(name, vocabulary=VOCABULARY)
    for layer in add_urpe(model, max_distance=32):
        weight = model.get_submodule(layer).get_submodule("urpe").weight
        assert isinstance(weight, torch.Tensor)
        torch.nn.init.normal_(weight, 1.0, 0.3)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=["wobert-mini-zh"])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "probes" / "positions.json")
    options = parser.parse_args()
    reports: dict[str, PositionReport] = {
        name: position_identifiability(small_model(name, vocabulary=VOCABULARY)) for name in ALL
    }
    for name in ("t5", "llama"):
        reports[f"{name} with URPE"] = position_identifiability(with_urpe(name))
    trained = []
    for name in options.model:
        with quiet_loading():
            loaded = AutoModel.from_pretrained(find_model(name), dtype="float32")
        trained.append(Path(name).name)
        reports[trained[-1]] = position_identifiability(loaded)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    found = {name: asdict(report) for name, report in reports.items()}
    write_json(options.output, {"measured_on": measured_on("fp64"), "reports": found})
    plot_positions(reports, options.output.with_suffix(".svg"), layers_of=trained)
    Console(width=140).print(position_table(reports))


if __name__ == "__main__":
    main()
