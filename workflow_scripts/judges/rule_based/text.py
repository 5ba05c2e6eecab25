"""Cuts a report into sentences in the table's spelling, without the sections that describe no image."""

import re

from workflow_scripts.judges.rule_based.lexicon import Lexicon

_SENTENCE = re.compile(r"(?<!\d)(?<=[.;!?])\s+|(?<=\d[.])\s+(?=[A-Za-z])|\n+|(?<=[a-z]\.)(?=[A-Z])|;")
_MARKUP = re.compile(r"[*_#`•·▪]+|^\s*[-–—]\s+", re.MULTILINE)
_DASH = re.compile(r"[‐‑‒–—−]")
_TOKEN = re.compile(r"[a-z0-9][a-z0-9'/-]*|[<>]")
_COLON = re.compile(r"(?<=[a-z]):(?=\s|$)")
_SLASH = re.compile(r"(?<=[a-z]{3})/(?=[a-z]{3})")


def sentences(text: str, lexicon: Lexicon) -> list[str]:
    """Sentences in lower case with single spaces, in the table's spelling."""
    text = _DASH.sub("-", _MARKUP.sub(" ", text).replace("’", "'"))
    parts = (
        " ".join(part.split()).strip(" .").casefold()
        for region in _regions(text, lexicon)
        for part in _SENTENCE.split(region)
    )
    return [_spelled(part, lexicon) for part in parts if any(letter.isalpha() for letter in part)]


def _regions(text: str, lexicon: Lexicon) -> list[str]:
    """The text between section headers, without skipped sections; the last one loses its first sentence alone."""
    headers = list(lexicon.headers.finditer(text))
    if not headers:
        return [text]
    regions = [text[: headers[0].start()]]
    for header, after in zip(headers, [*headers[1:], None], strict=True):
        region = text[header.end() : after.start() if after else len(text)]
        if header.group(1).casefold() not in lexicon.skipped_sections:
            regions.append(region)
        elif not after:
            regions += [part for part in _SENTENCE.split(region.lstrip(), maxsplit=1)[1:] if part]
    return regions


def _spelled(sentence: str, lexicon: Lexicon) -> str:
    spelled = _TOKEN.sub(lambda match: lexicon.spellings.get(match.group(), match.group()), sentence)
    return _SLASH.sub(" / ", _COLON.sub("", spelled))  # "heart: enlarged"
