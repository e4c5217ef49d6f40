"""Whatever ends the writer, files and folders are all old or all new, and drafts of the dead go with the next save."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import SafetensorError

from nlpkit.drafts import _exchange
from nlpkit.files import only_writer, read_json, whole_file, whole_folder, write_json, write_text

ROOT = Path(__file__).resolve().parent.parent


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if ".draft-" in path.name]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / "a.txt").write_text("a")
        assert not (tmp_path / "out").exists()
    assert contents(tmp_path / "out") == {"inner/a.txt": "a"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("exchange", [True, False])
def test_other_files_stay_and_those_to_replace_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr("nlpkit.drafts._exchange", lambda one, other: False)
    out = tmp_path / "out"
    (out / "checkpoint-5" / "deep").mkdir(parents=True)
    (out / "checkpoint-5" / "deep" / "state").write_text("kept")
    (out / "model.safetensors").write_text("old")
    (out / "notes").write_text("old")
    (out / "link").symlink_to("notes")
    out.chmod(0o750)
    with whole_folder(out, replacing=["model*"]) as draft:
        (draft / "model-00001.safetensors").write_text("new")
        (draft / "notes").write_text("new")
    assert contents(out) == {
        "checkpoint-5/deep/state": "kept",
        "model-00001.safetensors": "new",
        "notes": "new",
        "link": "new",
    }
    assert (out / "link").is_symlink()
    assert out.stat().st_mode & 0o777 == 0o750
    assert drafts(tmp_path) == []


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as draft:
        (draft / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out") as draft:
        (draft / "a").write_text("half")
        raise KeyboardInterrupt
    assert contents(tmp_path / "out") == {"a": "old"}
    assert drafts(tmp_path) == []


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device.*out"), whole_folder(tmp_path / "out"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(NotADirectoryError, match="out is a file; give a folder"), whole_folder(tmp_path / "out"):
        pass
    with pytest.raises(IsADirectoryError, match="is a folder; give a file"), whole_file(tmp_path):
        pass


def test_a_parent_that_may_not_be_written_is_an_error_and_no_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError), whole_folder(tmp_path / "out"):
        pass


def test_the_working_directory_may_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "old").write_text("old")
    monkeypatch.chdir(tmp_path / "here")
    with whole_folder(".") as draft:
        (draft / "new").write_text("new")
    assert sorted(path.name for path in Path().iterdir()) == ["new", "old"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with whole_folder(tmp_path / "link") as draft:
        (draft / "a").write_text("a")
    write_json(tmp_path / "real" / "b", {})
    assert (tmp_path / "link").is_symlink()
    assert sorted(contents(tmp_path / "real")) == ["a", "b"]


def test_a_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.json").chmod(0o640)
    (tmp_path / "link.json").symlink_to("a.json")
    write_json(tmp_path / "link.json", {"名": 1})
    assert read_json(tmp_path / "a.json") == {"名": 1}
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640
    assert drafts(tmp_path) == []


def test_what_a_save_within_a_save_replaces_goes_with_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("tokenizer.json", "model-1.bin", "notes.txt"):
        (out / name).write_text("old")
    with whole_folder(out, replacing=["model*"]) as draft, whole_folder(draft, replacing=["tokenizer*"]) as inner:
        (inner / "tokenizer.txt").write_text("new")
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "tokenizer.txt"]


def test_a_save_within_a_save_appears_with_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out") as outer:
        with whole_folder(outer) as inner:
            (inner / "vocabulary").write_text("new")
        with whole_folder(outer / "part") as inner:
            (inner / "a").write_text("new")
        assert contents(outer) == {"vocabulary": "new", "part/a": "new"}
        raise KeyboardInterrupt
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("content", "message"), [("{", "damaged or cut off"), ("[1]", "must hold a JSON object")])
def test_broken_json_names_its_file(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "pet.json").write_text(content)
    with pytest.raises(ValueError, match=rf"pet\.json .*{message}|pet\.json {message}"):
        read_json(tmp_path / "pet.json")


def test_many_writers_lose_no_file_and_mix_none(tmp_path: Path) -> None:
    def save(number: int) -> None:
        with whole_folder(tmp_path / "out") as draft:
            for name in ("weights", "settings", f"own-{number}"):
                (draft / name).write_text(str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(40)))
    found = contents(tmp_path / "out")
    assert found["weights"] == found["settings"]
    assert {f"own-{number}" for number in range(40)} <= found.keys()
    assert drafts(tmp_path) == []


def test_a_draft_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as first:
        (first / "a").write_text("first")
        with whole_folder(tmp_path / "out") as second:
            (second / "b").write_text("second")
    assert contents(tmp_path / "out") == {"a": "first", "b": "second"}


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    program = (
        "import sys, time; from nlpkit.files import only_writer\n"
        "with only_writer(sys.argv[1]): print('holds', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "runs")], stdout=subprocess.PIPE, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        refusal = rf"process {holder.pid} is writing to .*runs; wait"
        with pytest.raises(BlockingIOError, match=refusal), only_writer(tmp_path / "runs"):
            pass
        holder.kill()
    with only_writer(tmp_path / "runs"):
        pass


WRITER = """
import sys
from nlpkit.files import whole_folder
number = 0
while True:
    number += 1
    with whole_folder(sys.argv[1], replacing=["weights-*"]) as draft:
        for name in ("settings", "vocabulary", f"weights-{number % 3}"):
            (draft / name).write_text(f"{number}\\n" + "x" * 200_000)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_kills_at_any_moment_leave_all_old_or_all_new(tmp_path: Path) -> None:
    out = tmp_path / "out"
    chance = random.Random(0)
    for _ in range(100):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, cwd=ROOT) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(chance.random() * 0.02)
            writer.send_signal(signal.SIGKILL)
        found = contents(out)
        assert len(found) == 3
        assert len({text.split("\n")[0] for text in found.values()}) == 1
        assert {len(text.split("\n")[1]) for text in found.values()} == {200_000}
    with whole_folder(out):
        pass
    assert drafts(tmp_path) == []


def test_threads_read_a_whole_file_while_it_is_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"n": [0] * 1000})
    stop = threading.Event()

    def read() -> int:
        reads = 0
        while not stop.is_set():
            assert len(set(read_json(tmp_path / "a.json")["n"])) == 1
            reads += 1
        return reads

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for number in range(200):
            write_json(tmp_path / "a.json", {"n": [number] * 1000})
        stop.set()
        assert reading.result() > 0


@pytest.mark.parametrize("name", ["长" * 85, "a" * 255, "a\nb", "[a]*?"])
def test_any_name_that_the_system_allows(tmp_path: Path, name: str) -> None:
    for text in ("old", "new"):
        with whole_folder(tmp_path / name) as draft:
            (draft / "a.txt").write_text(text)
            with whole_folder(draft / "inner") as inner:  # in a draft, it is the outer save that counts
                (inner / "b.txt").write_text(text)
        write_json(tmp_path / "files" / name, {"a": text})
    assert contents(tmp_path / name) == {"a.txt": "new", "inner/b.txt": "new"}
    assert read_json(tmp_path / "files" / name) == {"a": "new"}
    assert drafts(tmp_path) == drafts(tmp_path / "files") == []


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit((tmp_path / "pipe").read_text)
        write_text(tmp_path / "pipe", "through")
        assert reading.result(timeout=20) == "through"
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("reason", ["mounted", "read-only"])
def test_a_folder_that_cannot_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    out = tmp_path / "out"
    (out / "inner").mkdir(parents=True)
    for name in ("model-1.safetensors", "notes.txt", "inner/kept.txt"):
        (out / name).write_text("old")
    if reason == "mounted":
        monkeypatch.setattr(Path, "is_mount", lambda path: path == out)
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with whole_folder(out, replacing=["model*"]) as draft:
        assert draft.parent == out
        (draft / "model.safetensors").write_text("new")
    assert contents(out) == {"model.safetensors": "new", "notes.txt": "old", "inner/kept.txt": "old"}
    assert drafts(out) == drafts(tmp_path) == []


def test_files_of_others_that_come_while_the_folders_change_places_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = _exchange

    def late(one: Path, other: Path) -> bool:
        (other / "logs").mkdir()
        (other / "logs" / "events").write_text("of another process")
        return exchange(one, other)

    (tmp_path / "out").mkdir()
    monkeypatch.setattr("nlpkit.drafts._exchange", late)
    with whole_folder(tmp_path / "out") as draft:
        (draft / "a.txt").write_text("new")
    assert contents(tmp_path / "out") == {"a.txt": "new", "logs/events": "of another process"}


def test_a_draft_that_is_taken_away_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileNotFoundError, match="out"), whole_folder(tmp_path / "out") as draft:
        draft.rmdir()


def test_the_holder_of_a_folder_may_be_unreadable(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        (tmp_path / ".lock").write_bytes(b"\xff")
        with pytest.raises(BlockingIOError, match="is writing to"), only_writer(tmp_path):
            pass


def test_a_folder_that_this_process_holds_is_no_other_processs(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(BlockingIOError, match=r"this process is writing to .* already"):
        only_writer(tmp_path).__enter__()


def test_json_that_nests_without_end_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.json is damaged or cut off"):
        read_json(tmp_path / "a.json")


def test_errors_of_the_system_name_what_was_to_be_written(tmp_path: Path) -> None:
    for whole in (whole_file, whole_folder):
        target = tmp_path / whole.__name__
        with (
            pytest.raises(FileNotFoundError, match=rf"^\[Errno 2\] No such file or directory: '{target}'$"),
            whole(target) as draft,
        ):
            (draft / "no such folder" / "a.txt").write_text("a")
        with pytest.raises(FileNotFoundError, match=r"elsewhere'$"), whole(target):
            (tmp_path / "elsewhere").read_text()
        with pytest.raises(OSError, match=r"^\[Errno \d+\] .*: '/proc/x'$"), whole("/proc/x"):
            pass
