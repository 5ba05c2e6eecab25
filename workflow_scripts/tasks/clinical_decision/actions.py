"""Actions in a text that asks for information before it decides, as tool-loop transcripts write them.

```
Action: Laboratory Tests
Action Input: Complete Blood Count (CBC), Lipase
```

Tests are known by the name of a panel, by their label, and by their item; images by a modality and a region. A text in
full-information mode holds no action.
"""

import re
from functools import cache

from workflow_scripts.tasks.clinical_decision.evaluation import ALIKE, Action, similarity
from workflow_scripts.tasks.clinical_decision.guidelines import guidelines

_ACTION = re.compile(
    r"^[ \t]*Action:[ \t]*(?P<tool>[^\n]*)(?:\n[ \t]*(?:Action )?Input:[ \t]*(?P<input>[^\n]*))?", re.M | re.I
)
TOOLS = ("Physical Examination", "Laboratory Tests", "Imaging")
"""What may be asked for."""
_MODALITIES = {
    "EUS": r"\beus\b|endoscopic ultraso",
    "HIDA": r"\bhida\b|hepatobiliary",
    "MRI": r"\bmr[icp]*\b|magnetic",
    "CT": r"\bcta?\b|computed tomogra",
    "Ultrasound": r"ultraso|sonogra|\bus\b",
    "Radiograph": r"x-?ray|radiograph",
}
_OF_ABDOMEN = frozenset({"EUS", "HIDA"})
"""Images that show nothing else."""


def actions_of(text: str) -> list[Action]:
    """The actions of a text in their order: those before its first diagnosis, which ends the loop."""
    return [_action(match["tool"].strip(), (match["input"] or "").strip()) for match in _matches(text)]


def decision_of(text: str) -> str:
    """The text after its last action: the decision."""
    ends = [match.end() for match in _matches(text)]
    return text[ends[-1] :] if ends else text


def with_heading(text: str) -> str:
    """The decision of a text, under the heading that is asked for where it has none."""
    decision = decision_of(text).strip()
    return decision if not decision or "diagnosis:" in decision.lower() else f"Final Diagnosis: {decision}"


def _matches(text: str) -> list[re.Match[str]]:
    end = text.lower().find("diagnosis:")
    return list(_ACTION.finditer(text, 0, len(text) if end < 0 else end))


def _action(tool: str, given: str) -> Action:
    known = next((name for name in TOOLS if similarity(name.lower(), tool.lower()) > ALIKE), None)
    if known is None:
        return Action(tool, known=False, in_form=False)
    in_form = tool == known
    if known == "Laboratory Tests":
        tests = [test.strip() for test in re.split(r",\s*(?![^()]*\))|\band\b", given) if test.strip()]
        return Action(known, tests=tuple(item for test in tests for item in _items(test)), in_form=in_form)
    if known == "Imaging":
        modality = next((name for name, said in _MODALITIES.items() if re.search(said, given, re.I)), "")
        region = "Abdomen" if modality in _OF_ABDOMEN or re.search(r"abd|pelvi|ruq|rlq", given, re.I) else "Other"
        return Action(known, region=region, modality=modality, in_form=in_form)
    return Action(known, in_form=in_form)


def _items(test: str) -> tuple[int | str, ...]:
    """The items that a test's name means; the name itself where none is known."""
    return _known_tests().get(test.lower()) or ((int(test),) if test.isascii() and test.isdigit() else (test,))


@cache
def _known_tests() -> dict[str, tuple[int, ...]]:
    """Items by the names of panels and tests in lower case, with and without what stands in parentheses."""
    known: dict[str, tuple[int, ...]] = {}
    for item, label in guidelines().labels.items():
        for name in _names(label):
            known[name] = (*known.get(name, ()), item)
    return known | {name: items for label, items in guidelines().panels.items() for name in _names(label)}


def _names(label: str) -> list[str]:
    label = label.lower()
    short = re.search(r"\(([^)]*)\)", label)
    return [label] if short is None else [label, short[1], label.replace(short[0], "").strip()]
