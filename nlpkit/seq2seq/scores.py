"""How near written texts come to wanted ones, by characters: ROUGE and BLEU as posts on Chinese titles give them."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean

from nlpkit.extras import install_hint
from nlpkit.one_text import list_of_texts


def character_scores(found: Iterable[str], wanted: Iterable[str]) -> dict[str, float]:
    """Mean F of ROUGE-1, ROUGE-2 and ROUGE-L, and mean BLEU, over pairs of texts, each character a token.

    Texts are lower-cased, and white space is left out. Scores are those of single pairs, averaged over all of them: no
    score is of a corpus. A blank text that was found scores 0. BLEU is of up to four characters; where none of that
    length is right, a tenth of one is taken to be, and a text that is too short for a length has one.

    Source: kexue.fm/archives/6933 and its evaluation in bert4keras, which takes BLEU from NLTK (smoothing method 1),
    and ROUGE from the package ``rouge``. BLEU is the same. ROUGE is that of ``rouge-score``, where what
    stands twice in both texts counts twice; in the package ``rouge`` it counts once.

    Args:
        found: texts that were written.
        wanted: one for each of them.

    Returns:
        ``rouge-1``, ``rouge-2``, ``rouge-l`` and ``bleu``, from 0 to 1.

    Raises:
        ModuleNotFoundError: ``rouge-score`` or ``sacrebleu`` is not installed (the extra ``eval``).
        TypeError: one of both is one text, or holds what is none.
        ValueError: not as many of both, or none; or a wanted text is blank.

    Example:
        >>> {name: round(score, 3) for name, score in character_scores(["今天天气"], ["今日天气"]).items()}
        {'rouge-1': 0.75, 'rouge-2': 0.333, 'rouge-l': 0.75, 'bleu': 0.188}
    """
    found, wanted = list_of_texts("found", found), list_of_texts("wanted", wanted)
    if len(found) != len(wanted) or not found:
        raise ValueError(f"{len(found)} found and {len(wanted)} wanted texts; give one wanted text for each, and some")
    blank = next((number for number, text in enumerate(wanted) if not text.strip()), None)
    if blank is not None:
        raise ValueError(f"wanted text {blank} is blank, so that nothing can be right; leave the pair out")
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics import BLEU
    except ImportError as error:
        raise ModuleNotFoundError(
            f"scores of texts need {error.name}; {install_hint('eval')}", name=error.name
        ) from error
    kinds = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}
    scorer = RougeScorer(list(kinds.values()), tokenizer=_Characters())
    bleu = BLEU(tokenize="none", smooth_method="floor", smooth_value=0.1, effective_order=True)
    scores: dict[str, list[float]] = {name: [] for name in (*kinds, "bleu")}
    for one, other in zip(found, wanted, strict=True):
        rouge = scorer.score(other, one)
        for name, kind in kinds.items():
            scores[name].append(rouge[kind].fmeasure)
        counts = bleu.sentence_score(" ".join(_characters(one)), [" ".join(_characters(other))])
        whole = BLEU.compute_bleu(
            counts.counts,
            [max(1, total) for total in counts.totals],
            counts.sys_len,
            counts.ref_len,
            smooth_method="floor",
            smooth_value=0.1,
        )
        scores["bleu"].append(whole.score / 100)
    return {name: mean(values) for name, values in scores.items()}


def _characters(text: str) -> list[str]:
    return list("".join(text.lower().split()))


class _Characters:
    """What ``RougeScorer`` asks for tokens."""

    def tokenize(self, text: str) -> list[str]:
        return _characters(text)
