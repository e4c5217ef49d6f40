"""Settings of a recipe: a YAML file, and command-line options that override it."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from transformers import HfArgumentParser

from nlpkit.checked_number import checked_seed

#: Folders that shipped settings name as ``$NAME/...``, and where they lie beside a checkout.
_PLACES = {"NLPKIT_DATA": "../shared/data", "NLPKIT_MODELS": "../shared/models"}


@dataclass
class FineTuningDefaults:
    """Defaults of the recipes that fine-tune, ahead of those of whichever settings of the Trainer they extend.

    Example:
        >>> from transformers import TrainingArguments
        >>> @dataclass
        ... class TaggingTrainingArguments(FineTuningDefaults, TrainingArguments):
        ...     num_train_epochs: float = 2.0
        >>> TaggingTrainingArguments("runs").warmup_steps
        0.1
    """

    per_device_eval_batch_size: int = 64
    warmup_steps: float = field(default=0.1, metadata={"help": "steps, or below 1 the share of the whole run"})
    weight_decay: float = 0.01
    optim: str = "adamw_torch_fused"
    logging_steps: float = 50
    use_cpu: bool = not torch.cuda.is_available()
    dataloader_pin_memory: bool = torch.cuda.is_available()
    report_to: None | str | list[str] = "none"  # noqa: RUF036 - in this order alone HfArgumentParser can read it (5.23)


class _RecipeArgumentParser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Not argparse's exit, which would print the usage of more than a hundred settings first.
        raise ValueError(f"cannot read the settings: {message}")


def parse_recipe_arguments(argument_classes: Sequence[Any], argv: Sequence[str]) -> tuple[Any, ...]:
    """Parse ``[config.yaml] [--name value ...]`` into dataclasses; what is on the command line wins.

    ``$NLPKIT_DATA`` and ``$NLPKIT_MODELS`` stand for folders that these environment variables name, in the YAML file
    and in what a shell has left as it was.

    Args:
        argument_classes: dataclasses such as ``transformers.TrainingArguments``.
        argv: the command line without the program's name.

    Returns:
        One object per class, in their order.

    Raises:
        FileNotFoundError: there is no such YAML file.
        ValueError: a name is unknown (the message lists near ones), missing, or has a value of the wrong type; a
            value needs an environment variable that is not set; a list names one twice; or a seed is below 0.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Steps:
        ...     max_steps: int = 10
        >>> parse_recipe_arguments([Steps], ["--max_steps", "3"])[0].max_steps
        3
    """
    known = [field.name for kind in argument_classes for field in fields(kind) if field.init]
    options = list(argv)
    if options and not options[0].startswith("-"):
        options = [*_options_of_file(Path(options[0]), known), *options[1:]]
    options = [_placed(option) for option in options]
    for option in options:
        if option.startswith("--"):
            name = option.removeprefix("--").partition("=")[0].replace("-", "_")
            _check_name(name, [*known, *(f"no_{setting}" for setting in known), "help"], "the command line")
    parser = _RecipeArgumentParser(list(argument_classes))
    *parsed, rest = parser.parse_args_into_dataclasses(options, return_remaining_strings=True)
    if rest:
        raise ValueError(f"settings look like --name value; cannot read {' '.join(rest)!r}")
    for name, value in (setting for settings in parsed for setting in vars(settings).items()):
        values = value if isinstance(value, list) else [value]
        _check_places(values)
        if len(set(map(str, values))) < len(values):
            raise ValueError(f"{name} name one twice: {', '.join(map(str, values))}; each counts once")
        if name in ("seed", "seeds"):
            for seed in values:
                checked_seed(seed)
    return tuple(parsed)


def _options_of_file(path: Path, known: Iterable[str]) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no settings file {str(path)!r}")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must hold lines of `name: value`; it holds a {type(settings).__name__}")
    for name in settings:
        _check_name(str(name), known, str(path))
    return [option for name, value in settings.items() for option in _as_options(name, value)]


def _as_options(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}={json.dumps(value) if isinstance(value, dict) else value}"]


def _placed(value: str) -> str:
    """A value with the folders in it that are known."""
    for variable, beside in _PLACES.items():
        folder = os.environ.get(variable) or (beside if Path(beside).is_dir() else f"${variable}")
        value = value.replace(f"${variable}", folder)
    return value


def _check_places(values: Iterable[Any]) -> None:
    for value in values:
        for variable in _PLACES:
            if isinstance(value, str) and f"${variable}/" in value:
                raise ValueError(
                    f"the settings name {value}, and {variable} is not set; set it to the folder of the public "
                    f"{'data' if variable == 'NLPKIT_DATA' else 'models'}, as docs/data.md says, or give another path"
                )


def _check_name(name: str, known: Iterable[str], source: str) -> None:
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"{source}: unknown setting {name!r}{hint}")
