"""Links between the characters of a text, by what was counted over a corpus."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm.auto import tqdm

from nlpkit.files import whole_folder
from nlpkit.one_text import refuse_one_text
from nlpkit.perturbed_masking.counts.corpus_counts import CorpusCounts
from nlpkit.perturbed_masking.counts.pair_table import PairTable
from nlpkit.perturbed_masking.counts.runs import find_runs
from nlpkit.perturbed_masking.words.script import Span, split_characters
from nlpkit.perturbed_masking.words.segmentation import LinkedText, Strengths
from nlpkit.scale import characters_of
from nlpkit.sources import Named, find_file

_FILE = "counted_links.safetensors"
_KIND = "nlpkit counted links, 1"
#: Lie inside the package, so that words are found without any download.
_NAMED = Named("counted links", _FILE, (Path(__file__).parent,))
_CHARACTERS_AT_ONCE = 1 << 15


class CountedLinks:
    """How strongly neighbouring characters are linked: how often they met in a corpus, how their neighbours vary.

    A link is the pointwise mutual information of the two characters, less the entropies of what follows what stands
    before the gap, and of what precedes what stands behind it (``PairTable.links``): words are what comes together
    more often than by chance, and between words anything may follow.

    Args:
        table: of a corpus.
        borders: weight of the entropies; 0 leaves mutual information alone.
        facts: what the table was made of, as JSON values.
        show_progress: draw a progress bar when it takes over five seconds.

    Raises:
        ValueError: ``borders`` is negative.

    Note:
        A million characters take two or three seconds. Chinese and kana alone:
        other scripts have their spaces. Traditional characters need counts of a traditional corpus.

    Example:
        >>> from nlpkit.perturbed_masking import segment
        >>> links = CountedLinks.from_pretrained("counts-zh")
        >>> segment(links, ["我们在酒店办理入住手续。"])
        [['我们', '在', '酒店', '办理', '入住', '手续', '。']]
    """

    def __init__(
        self,
        table: PairTable,
        *,
        borders: float = 1.0,
        facts: Mapping[str, object] | None = None,
        show_progress: bool = True,
    ) -> None:
        if not borders >= 0:
            raise ValueError(f"borders={borders} must be 0 or more: it weighs what speaks against a link")
        self.table, self.borders, self.facts, self.show_progress = table, borders, dict(facts or {}), show_progress

    @classmethod
    def from_counts(
        cls, counts: CorpusCounts, *, min_count: int = 10, facts: Mapping[str, object] | None = None
    ) -> CountedLinks:
        """Make the table of a corpus that ``count_corpus`` counted.

        Args:
            counts: of the corpus.
            min_count: pairs that occur less often are left out.
            facts: what the corpus is, to be kept with the table.
        """
        pruned = {
            "characters_counted": counts.characters,
            "min_count": min_count,
            "most_forgotten": [one.floor for one in counts.by_length.values()],
        }
        return cls(PairTable.from_counts(counts, min_count), facts={**(facts or {}), **pruned})

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path = "counts-zh",
        *,
        borders: float = 1.0,
        show_progress: bool = True,
        **hub: object,
    ) -> CountedLinks:
        """Load a table.

        Args:
            name_or_folder: ``"counts-zh"``, which comes with nlpkit, a folder that ``save_pretrained`` wrote, or a
                repository on the Hub.
            borders: as for the class.
            show_progress: as for the class.
            **hub: for a repository, as for ``nlpkit.sources.find_file``.

        Raises:
            FileNotFoundError: there is no such folder or repository.
            ValueError: it holds no table, or a damaged one.
        """
        path = find_file(name_or_folder, _FILE, among=_NAMED, **hub)
        if path is None:
            raise ValueError(
                f"{name_or_folder} holds no {_FILE}, so no counted links; give {_NAMED.names()}, or a "
                "folder that CountedLinks.save_pretrained wrote"
            )
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {}).get("about", "{}"))
                if about.get("kind") != _KIND:
                    raise ValueError(f"{path} is of another kind; CountedLinks.save_pretrained writes such files")
                table = PairTable.from_tensors({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or cut off ({error}); copy it again") from error
        return cls(table, borders=borders, facts=about["facts"], show_progress=show_progress)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the table, rounded, to a folder: about five bytes per pair.

        Args:
            folder: made if it does not exist; other files in it stay.
        """
        about = {"kind": _KIND, "facts": self.facts}
        with whole_folder(folder) as draft:
            save_file(self.table.tensors(), draft / _FILE, metadata={"about": json.dumps(about, ensure_ascii=False)})

    def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
        """Texts with the strength of each link between neighbouring units, one at a time and in bounded memory.

        Args:
            texts: texts.

        Raises:
            TypeError: ``texts`` is one text, or one of them is no text.
        """
        refuse_one_text("texts", texts)
        total = len(texts) if isinstance(texts, Sized) else None
        border = self.table.chance_link(self.borders)
        with tqdm(
            total=total, desc="linking", unit=" texts", delay=5, disable=None if self.show_progress else True
        ) as bar:
            for part in characters_of(_CHARACTERS_AT_ONCE)(map(_only_text, texts)):
                gaps = self._gaps("\n".join(part))
                begin = 0
                for text in part:
                    spans = tuple(split_characters(text))
                    yield LinkedText(text, spans, _at_gaps(gaps[begin : begin + len(text)], spans), border)
                    begin += len(text) + 1
                    bar.update()

    def _gaps(self, text: str) -> Strengths:
        """For each character of a text, the strength of its link to the one before it; 0 where it has none."""
        runs = find_runs(text)
        gaps = np.zeros(len(text))
        linked = (runs.codes[:-1] != 0) & (runs.codes[1:] != 0)
        gaps[runs.places[1:][linked]] = self.table.links(runs.codes, self.borders)[linked]
        return gaps


def _at_gaps(gaps: Strengths, spans: tuple[Span, ...]) -> Strengths:
    """The strengths between units: of the character that each but the first begins with."""
    return np.array([gaps[start] if end == start else 0.0 for (_, end), (start, _) in pairwise(spans)])


def _only_text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"only texts can be linked, not {text!r}")
    return text
