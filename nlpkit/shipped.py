"""The checkpoints, and the settings of benchmarks, that travel with the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
#: In an installed wheel they lie inside the package; in a checkout, beside it.
_FOLDERS = (_PACKAGE / "shipped_models", _PACKAGE.parent / "models")
_SETTINGS = (_PACKAGE / "shipped_settings", _PACKAGE.parent / "recipes" / "configs")


def model_path(name: str) -> Path:
    """Folder of a checkpoint shipped with nlpkit.

    Args:
        name: the checkpoint's name, e.g. ``"wobert-mini-zh"``.

    Returns:
        An absolute folder that ``from_pretrained`` accepts; the same call works from a checkout and from a wheel.

    Raises:
        FileNotFoundError: no such checkpoint; the message lists those there are.

    Example:
        >>> model_path("wobert-mini-zh").name
        'wobert-mini-zh'
    """
    for folder in _FOLDERS:
        if (folder / name / "config.json").is_file():
            return folder / name
    shipped = sorted({config.parent.name for folder in _FOLDERS for config in folder.glob("*/config.json")})
    raise FileNotFoundError(f"no shipped model is called {name!r}; there are: {', '.join(shipped) or 'none'}")


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
    for folder in _SETTINGS:
        if (folder / name).is_dir():
            return folder / name
    raise FileNotFoundError(f"no settings are called {name!r} in this installation")
