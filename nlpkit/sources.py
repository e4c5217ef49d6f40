"""Where models, their files and the settings of benchmarks come from: here, the package itself, or the Hub."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
#: In an installed wheel shipped models lie inside the package; in a checkout, beside it.
_FOLDERS = (_PACKAGE / "shipped_models", _PACKAGE.parent / "models")
_RECIPES = (_PACKAGE / "shipped_recipes", _PACKAGE.parent / "recipes")


@dataclass(frozen=True)
class Named:
    """What has names: folders, shipped or in the folder that ``NLPKIT_MODELS`` names, that hold a certain file.

    Args:
        kind: for errors, in the plural.
        file: that tells such folders.
        homes: where those that are shipped lie.
    """

    kind: str
    file: str
    homes: tuple[Path, ...]

    def find(self, name: str | Path) -> Path | None:
        """The folder of a name; rather one that is shipped."""
        return next((home / name for home in self._homes() if (home / name / self.file).is_file()), None)

    def names(self) -> str:
        """All names, for errors."""
        names = {file.parent.name for home in self._homes() for file in home.glob(f"*/{self.file}")}
        return ", ".join(sorted(names)) or "none"

    def _homes(self) -> list[Path]:
        own = os.environ.get("NLPKIT_MODELS")
        return [*self.homes, *([expand_home(own)] if own else [])]


_MODELS = Named("models", "config.json", _FOLDERS)


def model_path(name: str) -> Path:
    """Folder of a model that has a name: shipped with nlpkit, or in the folder that ``NLPKIT_MODELS`` names.

    Args:
        name: folder name, e.g. ``"wobert-mini-zh"``.

    Returns:
        An absolute folder that ``from_pretrained`` accepts; the same call works from a checkout and from a wheel.

    Raises:
        FileNotFoundError: no such model; the message lists those there are.

    Example:
        >>> model_path("wobert-mini-zh").name
        'wobert-mini-zh'
    """
    folder = _MODELS.find(name)
    if folder is None:
        raise FileNotFoundError(f"no model is called {name!r}; there are: {_MODELS.names()}")
    return folder


def find_file(source: str | Path, name: str, *, among: Named = _MODELS, **hub: Any) -> Path | None:
    """A file of a model, wherever the model is.

    Args:
        source: a folder, the name of a model (see ``model_path``), or a repository on the Hub.
        name: of the file, e.g. ``"config.json"``.
        among: what ``source`` may name, and errors list.
        **hub: for a repository: ``revision``, ``cache_dir``, ``token``, ``local_files_only``, ``subfolder``,
            ``force_download`` of ``from_pretrained``; other names are passed over.

    Returns:
        Where the file lies on this machine; ``None`` where the model has no such file.

    Raises:
        FileNotFoundError: neither a folder, nor the name of a model, nor a repository that can be reached.

    Example:
        >>> find_file("wobert-mini-zh", "config.json").name
        'config.json'
        >>> find_file("wobert-mini-zh", "pet.json") is None
        True
    """
    folder = _folder(source, among)
    if folder is None:
        return _from_hub(str(source), name, hub, among)
    path = folder / hub.get("subfolder", "") / name
    return path if path.is_file() else None


def find_model(source: str | Path, **hub: Any) -> str:
    """What ``from_pretrained`` of transformers is to be given for a model, wherever it is.

    Args:
        source: a folder, the name of a model (see ``model_path``), or a repository on the Hub.
        **hub: as for ``find_file``.

    Returns:
        A folder, or ``source`` itself for a repository.

    Raises:
        FileNotFoundError: as of ``find_file``.

    Example:
        >>> Path(find_model("wobert-mini-zh")).is_dir()
        True
    """
    folder = _folder(source)
    if folder is not None:
        return str(folder)
    _from_hub(str(source), "config.json", hub)
    return str(source)


def find_folder(source: str | Path, **hub: Any) -> Path:
    """Folder with all files of a model on this machine, for what reads more than ``from_pretrained`` does.

    Args:
        source: a folder, the name of a shipped model, or a repository on the Hub, whose files are fetched.
        **hub: as for ``find_file``.

    Returns:
        The folder; of a repository, with its safetensors, or with PyTorch's weights if it has no safetensors.

    Raises:
        FileNotFoundError: as of ``find_file``.

    Example:
        >>> (find_folder("wobert-mini-zh") / "vocab.txt").is_file()
        True
    """
    folder = _folder(source)
    if folder is not None:
        return folder / hub.get("subfolder", "")
    from huggingface_hub import snapshot_download

    repository = str(source)
    names = ("model.safetensors", "model.safetensors.index.json")
    weights = "*.safetensors" if any(find_file(repository, name, **hub) for name in names) else "pytorch_model*.bin"
    where, how = _hub_options(hub)
    subfolder = how.pop("subfolder", "")
    patterns = [str(Path(subfolder, pattern)) for pattern in ("*.json", "*.txt", weights)]
    return Path(snapshot_download(repository, allow_patterns=patterns, **where, **how), subfolder)


def expand_home(path: str | Path) -> Path:
    """A path with ``~`` or ``~name`` at its beginning resolved; as it is, where there is no such user.

    Example:
        >>> expand_home("~nobody-of-this-name/texts.txt").as_posix()
        '~nobody-of-this-name/texts.txt'
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def settings_path(name: str) -> Path:
    """Folder of the settings of a benchmark's tasks, one YAML file each.

    Args:
        name: of the benchmark: ``"fewclue"``.

    Returns:
        An absolute folder, from a checkout and from a wheel.

    Raises:
        FileNotFoundError: there are no such settings.

    Example:
        >>> (settings_path("fewclue") / "eprstmt.yaml").is_file()
        True
    """
    folder = recipes_path() / "configs" / name
    if not folder.is_dir():
        raise FileNotFoundError(f"there are no settings {name!r} in this installation")
    return folder


def recipes_path() -> Path:
    """Folder of the recipes: programs, and under ``configs`` a folder of settings for each.

    Returns:
        An absolute folder, from a checkout and from a wheel.

    Example:
        >>> (recipes_path() / "wobert_pretrain.py").is_file()
        True
    """
    return next(folder for folder in _RECIPES if folder.is_dir())


def _folder(source: str | Path, among: Named = _MODELS) -> Path | None:
    """The folder that is meant, or ``None`` where only a repository can be meant."""
    name = str(source)
    if not name.strip():
        raise FileNotFoundError(f"a name of {among.kind} is empty; give a folder, {among.names()}, or a repository")
    path = expand_home(source)
    if path.is_dir():
        return path
    if (named := among.find(source) or _MODELS.find(source)) is not None:
        return named
    if path.is_file():
        raise FileNotFoundError(f"{source} is a file; give the folder of a model")
    parent = path.parent
    # The Hub's client asks for half a minute before it gives up, so what can only be a path does not get there.
    if isinstance(source, Path) or path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2:
        raise FileNotFoundError(f"there is no folder {source}")
    if parent.name and parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {source}, and no repository on the Hub is looked for, since {parent} is a folder here"
        )
    return None


def _hub_options(hub: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Where a repository's files are kept, and how they are got."""
    where: dict[str, Any] = {key: hub[key] for key in ("revision", "cache_dir") if key in hub}
    how: dict[str, Any] = {
        key: hub[key] for key in ("token", "local_files_only", "subfolder", "force_download") if key in hub
    }
    return where, how


def _from_hub(repository: str, name: str, hub: dict[str, Any], among: Named = _MODELS) -> Path | None:
    from huggingface_hub import constants, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    where, how = _hub_options(hub)
    try:
        return Path(hf_hub_download(repository, name, **where, **how))
    except LocalEntryNotFoundError as error:
        problem: Exception = error
        with suppress(OSError, ValueError):  # out of reach, but here since an earlier time, without this file
            snapshot_download(repository, local_files_only=True, **where)
            return None
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problem = error
    raise FileNotFoundError(
        f"{repository!r} is no folder here and none of the {among.kind} by name ({among.names()}), and the Hub "
        f"({constants.ENDPOINT}/{repository}) does not give it: {problem}"
    ) from problem
