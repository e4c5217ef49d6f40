"""Settings of runs from YAML files: one file per task, what all methods share and what single methods do otherwise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nlpkit.fewshot.grid.protocol import SettingsOf
from nlpkit.sources import find_file, find_model

#: Lines of a configuration that tell how and by what its weights were written, and nothing of the model.
_OF_STORAGE = frozenset({"dtype", "torch_dtype", "transformers_version", "_name_or_path"})


def settings_from_files(folder: str | Path | None, common: Mapping[str, Any] | None = None) -> SettingsOf:
    """Settings that lie in a folder of YAML files named after the tasks.

    Args:
        folder: holds ``eprstmt.yaml`` and so on; each is a mapping of settings. Its entry ``methods`` holds, by
            method, settings that this method has otherwise. A task without a file has only the common settings;
            ``None`` is a folder without files.
        common: settings of all tasks and methods, which the files win over.

    Returns:
        A function for ``run_grid``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: on calling the function: the task's file is not such a mapping.

    Note:
        Keys become text as in JSON, so that labels may be written ``0:`` or ``true:``.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "bustm.yaml").write_text("max_length: 64\\nmethods:\\n  pet: {max_length: 96}\\n")
        >>> settings_of = settings_from_files(folder, {"model": "mini"})
        >>> settings_of("pet", "bustm"), settings_of("efl", "bustm")
        ({'model': 'mini', 'max_length': 96}, {'model': 'mini', 'max_length': 64})
    """
    if folder is not None and not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r} of settings, one YAML file per task")

    def settings_of(method: str, task: str) -> Mapping[str, Any]:
        of_task = {} if folder is None else _read_task_file(Path(folder) / f"{task}.yaml")
        of_method = of_task.pop("methods", {}).get(method, {})
        return {**(common or {}), **of_task, **of_method}

    return settings_of


def fingerprint_of_model(source: str | Path) -> str:
    """What identifies a model's files, so that results of one model are not taken for those of another.

    Args:
        source: a folder that ``save_pretrained`` wrote, the name of a shipped model, or a repository on the Hub.

    Returns:
        16 hexadecimal digits: of the SHA-256 over names and contents of its files, except for the model card and the
        lines of ``config.json`` that no run depends on, such as ``dtype``, since models are loaded in fp32; of a
        repository, of its commit.

    Raises:
        FileNotFoundError: there is no such model, or it has no ``config.json``.

    Note:
        Reads all weights of a folder once: about a second for 500 MB.
    """
    config = find_file(source, "config.json")
    if config is None:
        raise FileNotFoundError(f"{source} holds no config.json; give a model of transformers")
    folder = Path(find_model(source))
    if not folder.is_dir():
        return config.parent.name[:16]
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix != ".md":
            content = hashlib.sha256(_config_that_matters(path)) if path.name == "config.json" else _digest(path)
            digest.update(f"{path.name} {content.hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _digest(path: Path) -> Any:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _config_that_matters(path: Path) -> bytes:
    """A configuration without what only tells how its weights were stored; as it is, where it is no mapping."""
    content = path.read_bytes()
    try:
        config = json.loads(content)
    except ValueError:
        return content
    if not isinstance(config, dict):
        return content
    kept = {name: value for name, value in config.items() if name not in _OF_STORAGE}
    return json.dumps(kept, sort_keys=True).encode()


def _read_task_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    of_methods = content.get("methods", {}) if isinstance(content, dict) else None
    if not isinstance(of_methods, dict) or not all(isinstance(each, dict) for each in of_methods.values()):
        raise ValueError(f"{path} must hold lines of `name: value`, and under `methods` a mapping of method to such")
    return dict(json.loads(json.dumps(content, ensure_ascii=False)))
