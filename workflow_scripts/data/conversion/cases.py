"""Which rows belong to one case, read from the names of their images.

The rules, the first that fits:

1. a pattern that the configuration gives for the subset: its first group;
2. IU X-ray's `CXR12_…`, `IU-XRay_CXR12_…`: `CXR12`; an image called by a short number inside a folder of its own:
   that folder;
3. CMMD's `D1-0001…`, `CMMD_D1-0001-2`; BUS-UCLM's `ABCD_000`; neojaundice's `0001-2`; FLARE's own
   `NeoJaundice_00672-1`, `BUS-UCLM_00003-014`, `BCN20000_03396-1`: what comes before the image's number;
4. otherwise the stem without an ending that names a view (`_frontal`, `_CC`, `_frame3`, …) or a single letter
   after a digit (`00013a`).

A stem that is a bare number means something in its own split folder alone, and is kept apart there.
"""

import re

from workflow_scripts.core.images import split_member

_KNOWN = re.compile(
    r"^(?:IU-XRay_)?(CXR\d+)(?!\d)"
    r"|^(?:CMMD_)?(D[12]-\d+)(?!\d)"
    r"|^([A-Z]{4})_\d{3}$"
    r"|^(\d{3,})-\d$"
    r"|^([A-Za-z][A-Za-z0-9-]*_\d{4,})-\d{1,3}$"
)
_VIEW = re.compile(
    r"[-_ .](?:frontal|front|lateral|lat|side|pa|ap|cc|mlo|left|right|view[-_]?\d*|frame[-_]?\d*|img[-_]?\d)\d?$",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?<=\d)[a-z]$")
_SHORT = re.compile(r"^\d{1,2}$")


def case_of(subset: str, folder: str, path: str, pattern: re.Pattern[str] | None = None) -> str:
    """The case of the image at `path`, as `subset/case`; see the module's text for the rules.

    Args:
        subset: the subset's name.
        folder: split folder.
        path: the image's path below the root.
        pattern: the configuration's rule for the subset, matched against the path below the subset's folder.
    """
    file, member = split_member(path)
    inner = member if member is not None else file.split("/", 3)[-1]
    if pattern is not None:
        match = pattern.search(inner)
        if match:
            return f"{subset}/{match.group(1)}"
    above, _, name = inner.rpartition("/")
    stem = name.rpartition(".")[0] or name
    if _SHORT.match(stem) and "/" in above:
        stem = above.rpartition("/")[2]
    if match := _KNOWN.match(stem):
        stem = match[match.lastindex or 0]
    else:
        stem = _LETTER.sub("", _VIEW.sub("", stem)) or stem
    return f"{subset}/{folder}/{stem}" if stem.isdigit() else f"{subset}/{stem}"
