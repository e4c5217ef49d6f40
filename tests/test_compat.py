from __future__ import annotations

import inspect
import sys
import threading
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from nlpkit import compat
from nlpkit.compat import after_import, alias_module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of importable modules; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    compat._hooks.callbacks = {name: call for name, call in compat._hooks.callbacks.items() if "hooked" not in name}


def test_the_callback_waits_for_the_import_and_finds_the_module_complete(folder: Path) -> None:
    (folder / "hooked_later.py").write_text("first = 1\nlast = 2\n")
    seen: list[tuple[str, int]] = []
    after_import("hooked_later", lambda module: seen.append((module.__name__, module.last)))
    assert seen == []
    import_module("hooked_later")
    assert seen == [("hooked_later", 2)]


def test_a_module_that_is_loaded_already_is_called_back_at_once(folder: Path) -> None:
    (folder / "hooked_before.py").write_text("value = 1\n")
    module = import_module("hooked_before")
    seen: list[ModuleType] = []
    after_import("hooked_before", seen.append)
    assert seen == [module]


def test_a_module_that_another_thread_is_loading_is_waited_for(folder: Path) -> None:
    begun, go_on = folder / "begun", folder / "go_on"
    (folder / "hooked_slow.py").write_text(
        f"import time, pathlib\npathlib.Path({str(begun)!r}).touch()\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\nlast = 3\n"
    )
    seen: list[int] = []
    loading = threading.Thread(target=import_module, args=["hooked_slow"])
    loading.start()
    while not begun.exists():
        pass
    waiting = threading.Thread(target=after_import, args=["hooked_slow", lambda module: seen.append(module.last)])
    waiting.start()
    waiting.join(0.2)
    assert seen == []
    go_on.touch()
    waiting.join()
    loading.join()
    assert seen == [3]


def test_what_the_callback_raises_is_raised_by_the_import(folder: Path) -> None:
    (folder / "hooked_wrong.py").write_text("")

    def refuse(module: ModuleType) -> None:
        raise RuntimeError("not with me")

    after_import("hooked_wrong", refuse)
    with pytest.raises(RuntimeError, match="not with me"):
        import_module("hooked_wrong")


def test_hooks_of_several_packages_live_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hooked_twice.py").write_text("")
    seen: list[str] = []
    after_import("hooked_twice", lambda module: seen.append("ours"))
    other = compat._ImportHooks()
    other.callbacks["hooked_twice"] = lambda module: seen.append("theirs")
    monkeypatch.setattr(sys, "meta_path", [other, *sys.meta_path, compat._ImportHooks()])
    import_module("hooked_twice")
    assert sorted(seen) == ["ours", "theirs"]


def test_a_module_that_does_not_exist_stays_missing() -> None:
    after_import("hooked_nowhere", print)
    with pytest.raises(ModuleNotFoundError, match="hooked_nowhere"):
        import_module("hooked_nowhere")


def test_a_zip_whose_modules_share_a_loader_calls_back_for_the_right_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(folder / "modules.zip", "w") as archive:
        archive.writestr("hooked_zip.py", "")
        archive.writestr("hooked_zip_neighbour.py", "")
    monkeypatch.syspath_prepend(folder / "modules.zip")
    seen: list[str] = []
    after_import("hooked_zip", lambda module: seen.append(module.__name__))
    import_module("hooked_zip")
    import_module("hooked_zip_neighbour")
    assert seen == ["hooked_zip"]


def test_the_source_of_a_watched_module_can_be_read(folder: Path) -> None:
    (folder / "hooked_source.py").write_text("def answer():\n    return 42\n")
    after_import("hooked_source", lambda module: None)
    assert "return 42" in inspect.getsource(import_module("hooked_source").answer)


def test_an_alias_asks_for_its_attributes_when_they_are_used(folder: Path) -> None:
    asked: list[str] = []

    def attribute(name: str) -> str:
        if name != "word":
            raise AttributeError(name)
        asked.append(name)
        return "天气"

    alias_module("hooked_alias", attribute)
    module = import_module("hooked_alias")
    assert asked == []
    assert module.word == "天气"
    with pytest.raises(AttributeError, match="other"):
        _ = module.other
