from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nlpkit.runs.method_table import frontier, method_table

points = st.dictionaries(st.text(max_size=3), st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=8)


@given(points)
def test_the_frontier_is_what_no_other_method_beats_at_both(methods: dict[str, tuple[float, float]]) -> None:
    found = frontier(methods)
    for name, (seconds, score) in methods.items():
        beaten = any(s <= seconds and q >= score and (s, q) != (seconds, score) for s, q in methods.values())
        assert (name in found) <= (not beaten)
        assert beaten or (seconds, score) in found.values()


def test_the_memory_of_a_step_is_shown_where_it_was_measured() -> None:
    run = {"method": "full", "metric": "F1", "trained_parameters": 1, "train_seconds": 2.0, "dev": 0.5}
    assert "| activations, MiB |" not in method_table([run], ["dev"], baseline="full")
    table = method_table([run | {"activation_bytes": 3 * 2**20}], ["dev"], baseline="full")
    assert table.splitlines()[-1].endswith("| 2 | 3.0 |")
