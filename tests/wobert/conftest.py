"""What the tests of checkpoint conversion start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertForPreTraining

from tests.wobert.published_checkpoints import published, tiny


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A folder with a tiny BERT, as checkpoints are published."""
    return published(tiny(BertForPreTraining), tmp_path / "bert")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the conversion shall write; nothing is there yet."""
    return tmp_path / "out"
