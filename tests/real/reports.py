"""Pairs of chest reports as answers really differ: each reference with six hypotheses, tidy and untidy ones."""

import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

REFERENCES = (
    "Heart size is normal. The lungs are clear. No pneumothorax or pleural effusion.",
    "Stable cardiomegaly with mild pulmonary vascular congestion. Small bilateral pleural effusions, left greater than "
    "right.",
    "Right lower lobe consolidation, suspicious for pneumonia. Follow-up radiograph in 6 weeks is recommended.",
    "1.2 cm nodule in the left upper lobe, not seen on the prior study of 2019-03-04. CT of the chest is advised.",
    "FINDINGS:\nEndotracheal tube tip is 4.1 cm above the carina. Nasogastric tube below the diaphragm.\n\n"
    "IMPRESSION:\n1. Lines and tubes in place.\n2. Low lung volumes with bibasilar atelectasis.",
    "Large right pneumothorax with mediastinal shift to the left. The finding was discussed with the referring "
    "physician by telephone at 14:20.",
    "Degenerative changes of the thoracic spine. Otherwise no acute cardiopulmonary abnormality.",
    "Interval removal of the left chest tube. A small apical pneumothorax measuring 8 mm persists.",
    "Hyperinflated lungs with flattened diaphragms, consistent with COPD. No focal airspace disease. "
    "XXXX granuloma in the right midlung.",
    "Diffuse interstitial opacities may represent edema or atypical infection. Heart size at the upper limit of "
    "normal. Calcified aorta.",
    "Comparison: none. Left-sided pacemaker with leads in the right atrium and right ventricle. Median sternotomy "
    "wires are intact. Blunting of the left costophrenic angle.",
    "Multiple old healed rib fractures on the right (5th-8th). No acute fracture. Elevated right hemidiaphragm.",
    "Hiatal hernia. Scattered calcified granulomas. T8 compression deformity, age indeterminate.",
    "Near complete opacification of the left hemithorax, <50 % aerated lung remaining; findings may be due to effusion "
    "and/or collapse.",
    "Post right upper lobectomy. Surgical clips at the right hilum. No recurrent mass is identified.",
    "Patchy bilateral peripheral ground-glass opacities, typical of COVID-19 pneumonia (PCR positive on day 3).",
    "Tracheostomy in situ. PICC tip projects over the SVC. Worsening left basal collapse/consolidation.",
    "Widened mediastinum; aortic dissection cannot be excluded. Urgent CT angiography.",
    "PA and lateral views: cardiomediastinal silhouette within normal limits. No free air under the diaphragm.",
    "Cavitary lesion in the right apex, 3.4 x 2.8 cm, with surrounding tree-in-bud nodularity. Tuberculosis must be "
    "excluded.",
    "Kerley B lines, cephalization and a small right effusion: decompensated heart failure.",
    "No change since yesterday.",
    "Mild scoliosis, convex to the right. Lungs clear.",
    "Right hilar mass with post-obstructive atelectasis of the middle lobe; lymphadenopathy.",
    "Subcutaneous emphysema along the left chest wall, decreased. Chest tube unchanged.",
    "Findings: il n'y a pas d'épanchement pleural. Coeur de taille normale. (dictated in French)",
    "Pleural plaques with calcification, both hemidiaphragms: prior asbestos exposure.",
    "Bochdalek hernia suspected on the left. Lungs otherwise clear, heart not enlarged.",
    "Azygos lobe (normal variant). No acute disease.",
    "Right basilar opacity: atelectasis vs. early infiltrate. Clinical correlation needed.",
    "Dextrocardia with situs inversus. Bronchiectasis in both lower lobes.",
    "Multiple bilateral pulmonary nodules up to 22 mm, consistent with metastatic disease. Known primary: RCC.",
    "Sternotomy and mitral valve prosthesis. Moderate cardiomegaly, no oedema.",
    "Swan-Ganz catheter tip in the right interlobar artery; retract by about 5 cm.",
)
"""Sentences as radiologists dictate them, written for these tests."""

NORMAL = "The heart is normal in size. The lungs are clear without effusion or pneumothorax."
SWAPS = (
    ("left", "right"), ("Left", "Right"), ("small", "large"), ("Small", "Large"), ("mild", "severe"), ("No ", "A "),
    (" cm", " mm"), ("normal", "enlarged"), ("stable", "new"), ("Stable", "New"),
)  # fmt: skip


def changed(text: str) -> str:
    """The report with sides, sizes and negations exchanged, where it has any."""
    for first, second in SWAPS:
        text = text.replace(first, "\0").replace(second, first).replace("\0", second)
    return text


def first_sentence(text: str) -> str:
    """The report's first sentence alone."""
    return text.split(". ")[0].rstrip(".") + "."


HYPOTHESES: tuple[Callable[[str, str], str], ...] = (
    lambda reference, other: changed(reference),
    lambda reference, other: other,
    lambda reference, other: f"{first_sentence(reference)} {NORMAL}",
    lambda reference, other: f"**Impression:** {{{first_sentence(other)}}}\n- {reference.upper()}",
    lambda reference, other: f'{{"report": "{first_sentence(reference)}", "matched_findings": []}}',
    lambda reference, other: f"[Explanation]: {first_sentence(other)} </s> ``` {first_sentence(reference)} " * 3,
)
"""From a reference and another one to a hypothesis; that of a report without a side or size may equal it."""


def real_notes() -> list[str]:
    """Distinct notes and reports of real images, where FLAREBENCH_REAL_MINI names their folder."""
    place = os.environ.get("FLAREBENCH_REAL_MINI")
    notes: dict[str, None] = {}
    for file in sorted(Path(place).rglob("*_questions_*.json")) if place else ():
        for record in json.loads(file.read_text(encoding="utf-8")):
            if record["TaskType"] == "Report_Generation":
                notes[str(record["Answer"]).strip()] = None
    return list(notes)


def _pairs() -> Iterator[tuple[str, str]]:
    real = real_notes()
    # Real notes stand between the others, so that the first few pairs hold some of both.
    references = [text for both in zip(REFERENCES, real, strict=False) for text in both] if real else list(REFERENCES)
    references = list(dict.fromkeys([*references, *REFERENCES, *real]))
    for turn in range(len(HYPOTHESES)):
        for place, reference in enumerate(references):
            other = references[(place + turn + 1) % len(references)]
            yield reference, HYPOTHESES[(place + turn) % len(HYPOTHESES)](reference, other)


def report_pairs(count: int) -> list[tuple[str, str]]:
    """So many distinct pairs of reference and hypothesis, the same ones each time.

    Raises:
        ValueError: there are fewer.
    """
    pairs = list(islice(dict.fromkeys((a.strip(), b.strip()) for a, b in _pairs()), count))
    if len(pairs) < count:
        raise ValueError(f"{count} pairs are wanted, and there are {len(pairs)}")
    return pairs
