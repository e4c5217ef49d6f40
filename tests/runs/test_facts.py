"""Results are never added to those made with other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.runs import settle_facts


def test_the_same_facts_may_go_on(tmp_path: Path) -> None:
    facts = {"seed": 1, "masking": (0.15, 0.8)}
    settle_facts(tmp_path / "run" / "run.json", facts, begins=True)
    settle_facts(tmp_path / "run" / "run.json", facts, begins=False)


def test_all_changed_facts_are_named(tmp_path: Path) -> None:
    settle_facts(tmp_path / "run.json", {"seed": 1, "masking": [0.15], "data": "a"}, begins=True)
    changes = r"seed was 1 and is now 2; masking was \[0.15\] and is now \[0.2\]\. Restore them, or give another"
    with pytest.raises(ValueError, match=changes):
        settle_facts(tmp_path / "run.json", {"seed": 2, "masking": [0.2], "data": "a"}, begins=False)


def test_a_fact_that_is_missing_on_either_side_differs(tmp_path: Path) -> None:
    settle_facts(tmp_path / "run.json", {"seed": 1, "donor": "a"}, begins=True)
    with pytest.raises(ValueError, match=r"settings: donor was 'a' and is now None\. Restore it"):
        settle_facts(tmp_path / "run.json", {"seed": 1}, begins=False)
    with pytest.raises(ValueError, match=r"settings: layers was None and is now 4\. Restore it"):
        settle_facts(tmp_path / "run.json", {"seed": 1, "donor": "a", "layers": 4}, begins=False)
    settle_facts(
        tmp_path / "run.json", {"seed": 1, "donor": "a", "layers": None}, begins=False
    )  # as the run was without it


def test_a_new_beginning_may_differ(tmp_path: Path) -> None:
    settle_facts(tmp_path / "run.json", {"seed": 1}, begins=True)
    settle_facts(tmp_path / "run.json", {"seed": 2}, begins=True)
    settle_facts(tmp_path / "run.json", {"seed": 2}, begins=False)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged or cut off"):
        settle_facts(tmp_path / "run.json", {"seed": 2}, begins=False)


def test_a_number_that_equals_no_number_is_the_same_fact(tmp_path: Path) -> None:
    settle_facts(tmp_path / "run.json", {"share": float("nan")}, begins=True)
    settle_facts(tmp_path / "run.json", {"share": float("nan")}, begins=False)


def test_results_whose_facts_are_gone_are_nobodys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"and run\.json, which tells what they were made with, is gone: put it"):
        settle_facts(tmp_path / "run.json", {"seed": 2}, begins=False)
    assert not (tmp_path / "run.json").exists()
