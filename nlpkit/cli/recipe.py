"""``nlpkit recipe``: the programs that come with nlpkit, to run, to read and to copy."""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from nlpkit.sources import recipes_path


def recipe(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME [SETTINGS] [--setting VALUE ...]",
            help="A recipe, a YAML file of settings or the name of one that comes with it, and settings that override "
            "it. NAME --help lists the settings, NAME --show prints the program.",
            show_default=False,
        ),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the recipes and the settings of each.")] = False,
) -> None:
    """Run a recipe: training or evaluation as one readable program."""
    if list_all:
        for name in recipe_names():
            typer.echo(f"{name}: {summary(recipe_path(name))}")
            typer.echo("".join(f"    {settings.stem}\n" for settings in shipped_settings(name)), nl=False)
        return
    if not arguments:
        raise ValueError("which recipe? `nlpkit recipe --list` lists them")
    name, *options = arguments
    path = recipe_path(name)
    if options == ["--show"]:
        typer.echo(f"nlpkit: {path}", err=True)
        typer.echo(path.read_text("utf-8"), nl=False)
        return
    if options and not options[0].startswith("-") and shipped_settings(name):  # others have arguments of their own
        options[0] = str(settings_file(name, options[0]))
    typer.echo(f"nlpkit: running {path}", err=True)
    sys.argv = [str(path), *options]
    runpy.run_path(str(path), run_name="__main__")


def recipe_names() -> list[str]:
    """The recipes of this installation: the programs among its files.

    Example:
        >>> "wobert_pretrain" in recipe_names(), "__init__" in recipe_names()
        (True, False)
    """
    return sorted(path.stem for path in recipes_path().glob("*.py") if "\nif __name__ ==" in path.read_text("utf-8"))


def recipe_path(name: str) -> Path:
    """The program of a recipe.

    Raises:
        ValueError: no recipe has that name; the message lists near ones, or all.
    """
    names = recipe_names()
    if name not in names:
        plain = name.removesuffix(".py").replace("-", "_").lower()
        begun = [one for one in names if plain and plain in one]
        near = begun or difflib.get_close_matches(plain, names, n=3)
        owners = [one for one in names if name in (path.stem for path in shipped_settings(one))]
        hint = "; ".join(
            [f"{name} is a file of settings: `nlpkit recipe {one} {name}`" for one in owners]
            or ([f"near: {', '.join(near)}"] if near else ["there are " + ", ".join(names)])
        )
        raise ValueError(f"unknown recipe {name!r}; {hint}")
    return recipes_path() / f"{name}.py"


def shipped_settings(name: str) -> list[Path]:
    """The YAML files that come with a recipe."""
    return sorted((recipes_path() / "configs" / name).glob("*.yaml"))


def settings_file(name: str, given: str) -> Path:
    """A YAML file of one's own, or one that comes with a recipe, by its name with or without ``.yaml``.

    Raises:
        FileNotFoundError: it is neither; the message lists what comes with the recipe.
    """
    shipped = {path.stem: path for path in shipped_settings(name)}
    if Path(given).is_file():
        return Path(given)
    if (stem := given.removesuffix(".yaml")) in shipped:
        return shipped[stem]
    there = ", ".join(shipped) or "none"
    raise FileNotFoundError(f"there is no settings file {given!r}; those that come with {name}: {there}")


def summary(path: Path) -> str:
    """The first sentence of a program's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0].rstrip(".")
