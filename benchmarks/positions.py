"""Which architectures can count positions: the table and the picture of docs/probes.md.

    python benchmarks/positions.py                        # writes benchmarks/results/probes/positions.{json,svg}

Small models with random weights, five times as large as at initialisation, so that attention is not uniform: what
they cannot do is a matter of the architecture. Behind them trained ones: the shipped model, a 12-layer encoder where
it is there, and any that ``--model`` names.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from report import Headline, options_of, write_report
from rich.console import Console
from tqdm import tqdm
from transformers import AutoModel, PreTrainedModel

from nlpkit.compat import quiet_loading
from nlpkit.probes import PositionReport, add_urpe, plot_positions, position_identifiability, position_table
from nlpkit.sources import find_model

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the models are the tests' own
from tests.probes.positions.small_models import ALL, small_model  # noqa: E402

#: A trained model of twelve layers.
ENCODER = Path(os.environ.get("NLPKIT_MODELS") or ROOT.parent / "shared" / "models") / "zh-en-minilm-l12-h384"
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


def headlines(results: dict[str, Any]) -> list[Headline]:
    told: dict[str, bool] = {}
    for name, report in results["reports"].items():
        for case in report["cases"]:
            if case["marks"] == "none":
                told[name if case["stack"] == "model" else f"{name}'s {case['stack']}"] = case["gap"] > case["noise"]
    names = ", ".join(name for name, apart in told.items() if apart)
    figure = f"{sum(told.values())} of {len(told)}: {names}"
    return [Headline("encoders and decoders that tell positions of one repeated token apart", "", figure)]


def main() -> None:
    parser = options_of(__doc__, "probes/positions.json", rounds=None, bf16=False)
    trained = ["wobert-mini-zh", *[str(ENCODER)] * ENCODER.is_dir()]
    parser.add_argument("--model", action="append", default=trained, help="one more trained model: folder or name")
    options = parser.parse_args()
    reports: dict[str, PositionReport] = {}
    for name in tqdm([*ALL, *(f"{name} with URPE" for name in ("t5", "llama")), *options.model], unit="model"):
        if name.endswith(" with URPE"):
            reports[name] = position_identifiability(with_urpe(name.partition(" ")[0]))
        elif name in ALL:
            reports[name] = position_identifiability(small_model(name, vocabulary=VOCABULARY))
        else:
            with quiet_loading():
                loaded = AutoModel.from_pretrained(find_model(name), dtype="float32")
            reports[Path(name).name] = position_identifiability(loaded)
    write_report(options, {"reports": {name: asdict(report) for name, report in reports.items()}}, "fp64")
    plot_positions(reports, options.out.with_suffix(".svg"), layers_of=[Path(name).name for name in options.model])
    Console(width=140).print(position_table(reports))


if __name__ == "__main__":
    main()
