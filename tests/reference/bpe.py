"""Byte pairs merged one at a time in a whole pre-token, and every symbol that was met."""

from __future__ import annotations


def merge_in_context(text: str, merges: list[tuple[str, str]]) -> tuple[list[str], set[str]]:
    symbols = list(text)
    met = set(symbols)
    while True:
        best = None
        for at in range(len(symbols) - 1):
            pair = (symbols[at], symbols[at + 1])
            if pair in merges and (best is None or merges.index(pair) < merges.index(best[1])):
                best = (at, pair)
        if best is None:
            return symbols, met
        at, pair = best
        symbols = [*symbols[:at], "".join(pair), *symbols[at + 2 :]]
        met.add(symbols[at])
