"""METEOR (Lavie and Agarwal 2007) by nltk: matches of words, of stems and, where WordNet is given, of synonyms."""

import re
import zipfile
from pathlib import Path

from workflow_scripts.core.command import without
from workflow_scripts.core.files import BadFile

with without("sklearn", "scipy", "pandas"):  # which nltk's classifiers and measures of association would import
    import nltk
    from nltk.corpus.reader import WordNetCorpusReader
    from nltk.translate.meteor_score import single_meteor_score

_WORD = re.compile(r"[a-z0-9]+")
"""A word, as ROUGE's tokenizer takes it."""


class _NoSynonyms:
    """The WordNet of a METEOR without synonyms."""

    def synsets(self, word: str) -> list[object]:
        return []


class Meteor:
    """`name` is `meteor` with WordNet, and `meteor_stem`, which needs no download, without."""

    def __init__(self, nltk_data: Path | None) -> None:
        """Open WordNet in nltk's data folder.

        Raises:
            BadFile: WordNet is not there.
        """
        self.name = "meteor" if nltk_data else "meteor_stem"
        self._wordnet = _wordnet_in(nltk_data.expanduser().resolve()) if nltk_data else _NoSynonyms()

    def score(self, reference: str, hypothesis: str) -> float:
        """METEOR of one pair, in [0, 1]."""
        words = [_WORD.findall(text.lower()) for text in (reference, hypothesis)]
        return float(single_meteor_score(*words, wordnet=self._wordnet))


def _wordnet_in(folder: Path) -> WordNetCorpusReader:
    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))  # nltk opens no corpus elsewhere
    zipped = (folder / "corpora" / "wordnet.zip").is_file()
    try:
        place = nltk.data.find("corpora/wordnet.zip/wordnet/" if zipped else "corpora/wordnet", [str(folder)])
        return WordNetCorpusReader(place, None)
    except (OSError, LookupError, ValueError, AssertionError, zipfile.BadZipFile):  # the last three: damaged files
        remedy = f"`python -m nltk.downloader -d {folder} wordnet` puts it there"
        raise BadFile(f"{folder} holds no WordNet; {remedy}") from None
