"""Texts for tests of counts: few characters, so that sequences repeat, with all that can stand between runs."""

from __future__ import annotations

from hypothesis import strategies as st

ALPHABET = "今天气好很酒店カナ，a1 \n"
some_texts = st.lists(st.text(ALPHABET, max_size=30), max_size=8)
