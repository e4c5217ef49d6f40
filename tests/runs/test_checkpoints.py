"""Which checkpoint a run goes on from, and what must not have changed."""

from __future__ import annotations

import pytest

from nlpkit.runs.checkpoints import last_complete_checkpoint


def write_checkpoint(folder, step, state='{"global_step": 1}'):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    if state is not None:
        (checkpoint / "trainer_state.json").write_text(state, encoding="utf-8")
    return checkpoint


def test_the_newest_is_that_of_the_highest_step(tmp_path):
    write_checkpoint(tmp_path, 900)
    newest = write_checkpoint(tmp_path, 1000)
    write_checkpoint(tmp_path, 20)
    assert last_complete_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("state", [None, "", '{"global_step": 15'])
def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(tmp_path, state):
    complete = write_checkpoint(tmp_path, 10)
    write_checkpoint(tmp_path, 15, state)
    assert last_complete_checkpoint(tmp_path) == complete


def test_other_folders_are_no_checkpoints(tmp_path):
    write_checkpoint(tmp_path, "best")
    assert last_complete_checkpoint(tmp_path) is None
