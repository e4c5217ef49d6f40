"""Longest common subsequences by the table, and the greedy choice by trying each sentence."""

from __future__ import annotations


def common_subsequence(one: str, other: str) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def choose(sentences: list[str], wanted: float) -> list[int]:
    """Numbers of the sentences that become the summary; of equally good ones the first."""
    chosen: list[int] = []
    while sum(len(sentences[n]) for n in chosen) < wanted and len(chosen) < len(sentences) - 1:
        scores = {}
        for number in range(len(sentences)):
            if number not in chosen:
                summary = [n for n in range(len(sentences)) if n in [*chosen, number]]
                rest = [n for n in range(len(sentences)) if n not in summary]
                scores[number] = common_subsequence(
                    "".join(sentences[n] for n in summary), "".join(sentences[n] for n in rest)
                )
        chosen.append(max(scores, key=lambda n: (scores[n], -n)))
    return sorted(chosen)
