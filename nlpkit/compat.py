"""The private touches of transformers and of Python's import system, each with the version it was checked on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _ImportHooks:
    """A meta-path finder that calls back after chosen modules have run, and serves modules that are only aliases."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[[ModuleType], None]] = {}
        self.aliases: dict[str, Callable[[str], Any]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self.aliases:
            # Not an importlib.abc.Loader, by which importing nlpkit would take twice as long.
            loader: Any = _AliasLoader(self.aliases[name])
            return ModuleSpec(name, loader, origin="nlpkit")
        if name not in self.callbacks:
            return None
        # Only the finders behind this one: two packages with such hooks would otherwise ask each other forever.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _call_after_execution(spec, self.callbacks[name])
                return spec
        return None


class _AliasLoader:
    def __init__(self, attribute: Callable[[str], Any]) -> None:
        self.attribute = attribute

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = self.attribute  # type: ignore[method-assign]


def _call_after_execution(spec: ModuleSpec, callback: Callable[[ModuleType], None]) -> None:
    loader: Any = spec.loader
    execute = loader.exec_module

    def execute_then_call(module: ModuleType) -> None:
        execute(module)
        # A zip importer serves many modules with one loader.
        if module.__name__ == spec.name:
            callback(module)

    loader.exec_module = execute_then_call


_hooks = _ImportHooks()


def after_import(name: str, callback: Callable[[ModuleType], None]) -> None:
    """Call back with a module as soon as it has been loaded: at once if it already is, else when someone imports it.

    Args:
        name: full name of the module.
        callback: runs in the importing thread, under that module's import lock; must be harmless when run twice.

    Note:
        Imports nothing by itself. What the callback raises is raised by the import that triggered it.

    Example:
        >>> after_import("json", lambda module: print(module.__name__))
        json
    """
    _install()
    _hooks.callbacks[name] = callback
    if name in sys.modules:
        # Not sys.modules[name]: another thread may be in the middle of loading it, and this waits for the end.
        callback(import_module(name))


def alias_module(name: str, attribute: Callable[[str], Any]) -> None:
    """Make a module importable that has no file: each of its attributes is looked up when it is first asked for.

    Args:
        name: full name of the module; its parent package must be importable.
        attribute: gives the attribute of a name, raises ``AttributeError`` for unknown names.

    Example:
        >>> import math
        >>> from functools import partial
        >>> alias_module("nlpkit.numbers", partial(getattr, math))
        >>> import_module("nlpkit.numbers").tau
        6.283185307179586
    """
    _install()
    _hooks.aliases[name] = attribute


def _install() -> None:
    if _hooks not in sys.meta_path:
        sys.meta_path.insert(0, _hooks)


def register_names(mapping: Any, model_type: str, config_name: str, class_name: str) -> None:
    """Add a class to one of transformers' lazy tables (config class to model or tokenizer class) by its name only.

    transformers' own classes are listed this way; the public ``register`` methods want the classes themselves, and
    importing them here would load the modelling code on every ``import transformers``, half of the time in the middle
    of the very module they need.

    Args:
        mapping: a ``_LazyAutoMapping``, as ``MODEL_FOR_MASKED_LM_MAPPING``.
        model_type: names the module ``transformers.models.<model_type>`` that holds the class.
        config_name: name of the configuration class.
        class_name: name of the model or tokenizer class.

    Note:
        ``_reverse_config_mapping`` and ``_model_mapping`` of ``_LazyAutoMapping``: checked on transformers 5.20.0 and
        5.23.0. The first is filled when transformers loads, so it lacks us when transformers was loaded first.
    """
    mapping._reverse_config_mapping[config_name] = model_type
    mapping._model_mapping[model_type] = class_name


#: Layers that hand what their ``attention`` gives to nothing but position-wise modules.
_POSITIONWISE_AFTER_ATTENTION = ("BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer", "CamembertLayer")


def attention_of_positionwise_layer(layer: Any) -> Any:
    """The part of a Transformer layer behind which each position goes its own way; ``None`` where that is unknown.

    A caller that needs few rows of a layer can drop the others from that part's output, a tuple that begins with the
    states ``(batch, length, hidden)``: residual, feed-forward network and norm then run on the rows that are left.

    Args:
        layer: a layer of an encoder.

    Note:
        Relies on ``BertLayer.forward`` and its copies in other model types; checked on transformers 5.20.0 and 5.23.0.
    """
    whole = getattr(layer, "chunk_size_feed_forward", 0) == 0  # chunks would want a length that they divide
    return layer.attention if whole and type(layer).__name__ in _POSITIONWISE_AFTER_ATTENTION else None


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from reporting on missing and unexpected weights, for callers that read the report themselves.

    Note:
        The report is logged as a warning (checked on transformers 5.20.0 and 5.23.0); its progress bar stays.
    """
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
