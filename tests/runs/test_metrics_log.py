"""The metrics file: complete, and without repetition after an interruption."""

from __future__ import annotations

import json

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.runs.metrics_log import MetricsLog, read_metrics


@pytest.fixture
def events(tmp_path):
    """Call the Trainer's events on one log, as a process would."""

    class Events:
        path = tmp_path / "run" / "metrics.jsonl"

        def begin(self, step, main=True):
            self.log = MetricsLog(self.path)
            self.state = TrainerState(global_step=step, is_world_process_zero=main)
            self.log.on_train_begin(TrainingArguments(output_dir=str(tmp_path)), self.state, TrainerControl())

        def logs(self, step, **values):
            self.state.global_step = step
            self.log.on_log(TrainingArguments(output_dir=str(tmp_path)), self.state, TrainerControl(), values)

    return Events()


def test_each_event_is_on_disk_at_once(events):
    events.begin(0)
    events.logs(5, loss=3.5)
    assert events.path.read_text(encoding="utf-8") == '{"step": 5, "loss": 3.5}\n'
    events.logs(10, eval_loss=3.0)
    assert read_metrics(events.path) == [{"step": 5, "loss": 3.5}, {"step": 10, "eval_loss": 3.0}]


def test_a_resumed_run_drops_the_steps_it_repeats(events):
    events.begin(0)
    for step in (5, 10, 15):
        events.logs(step, loss=float(step))
    events.begin(10)
    events.logs(15, loss=-1.0)
    assert [(event["step"], event["loss"]) for event in read_metrics(events.path)] == [(5, 5), (10, 10), (15, -1)]


def test_a_line_cut_off_by_a_kill_is_dropped(events):
    events.begin(0)
    events.logs(5, loss=5.0)
    with events.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 7, "loss": 7.0})[:-4])
    events.begin(6)
    events.logs(7, loss=7.0)
    assert [event["step"] for event in read_metrics(events.path)] == [5, 7]


def test_a_run_called_again_after_its_end_repeats_only_its_summary(events):
    for _ in range(2):
        events.begin(0 if not events.path.exists() else 5)
        if events.state.global_step == 0:
            events.logs(5, loss=5.0)
        events.logs(5, train_runtime=1.0)
        events.logs(5, final_loss=4.0)
    assert [set(event) - {"step"} for event in read_metrics(events.path)] == [
        {"loss"},
        {"train_runtime"},
        {"final_loss"},
    ]


def test_the_summary_of_a_run_is_not_that_of_its_last_part(events):
    """The Trainer divides the loss of what followed an interruption by all steps, and 0 where nothing did."""
    events.begin(0)
    events.logs(5, loss=5.0)
    events.begin(5)
    events.logs(5, train_runtime=0.01, train_loss=0.0)
    assert [event["step"] for event in read_metrics(events.path)] == [5]
    events.begin(0)
    events.logs(5, loss=5.0)
    events.logs(5, train_runtime=9.0, train_loss=5.0)
    events.begin(5)
    events.logs(5, train_runtime=0.01, train_loss=0.0)
    assert read_metrics(events.path)[-1] == {"step": 5, "train_runtime": 9.0, "train_loss": 5.0}


def test_a_new_run_begins_a_new_file(events):
    events.begin(0)
    events.logs(5, loss=5.0)
    events.begin(0)
    assert read_metrics(events.path) == []


def test_only_the_main_process_writes(events):
    events.begin(0, main=False)
    events.logs(5, loss=5.0)
    assert not events.path.exists()


def test_a_missing_file_holds_no_events(tmp_path):
    assert read_metrics(tmp_path / "none.jsonl") == []
