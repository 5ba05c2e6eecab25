# %% [markdown]
# # 6. Evaluation with CRIMSON and GREEN
#
# After this module you can work out CRIMSON and GREEN of a pair of reports by hand, say what their judge decided, and
# tell a gain from chance.

# %%
import json

import altair
import pandas as pd
from lessons import BASE, TUNED, open_course, show, show_chart

from workflow_scripts.judges.crimson import crimson, read_crimson
from workflow_scripts.judges.crimson import score as crimson_score

course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %% [markdown]
# ## A judge reads, a formula scores
#
# Word overlap cannot see that "no effusion" and "effusion" are opposites. CRIMSON and GREEN let a language model
# read both reports: it lists the findings of each, pairs them, and names errors. The score follows from that list
# by a formula.
#
# This run's judge is the embedded one, `rule_based`: a lexicon for sentences on chest X-rays. It feeds the same
# formulas but is neither CRIMSON nor GREEN, and its columns say so. With `config/minicourse.yaml` the authors' own
# models judge.
#
# One pair, as it was judged:

# %%
judged = course.judgements()
valid = judged[(judged["status"] == "valid") & (judged["hypothesis"].str.strip() != "")]
replies = {pair.pair: read_crimson(pair.reply) for pair in valid.itertuples()}
pair = max(
    valid.itertuples(),
    key=lambda pair: (
        len(replies[pair.pair]["matched_findings"]) * len(replies[pair.pair]["reference_findings"]),
        pair.pair,
    ),
)
reply = replies[pair.pair]
print("reference: ", pair.reference)
print("hypothesis:", pair.hypothesis)
print(json.dumps({name: part for name, part in reply.items() if name != "green"}, indent=1, ensure_ascii=False))

# %% [markdown]
# ## CRIMSON by hand
#
# Every finding has a weight by what it means for the patient: urgent 1, actionable but not urgent 0.5, not actionable
# 0.25, benign 0. Matched findings earn their weight (less where an attribute is wrong), false ones cost theirs:
#
#     S = (credit of matched findings − weight of false findings) / weight of all reference findings
#
# A negative S is pressed into (−1, 0), so that one absurd report cannot outweigh many.

# %%
WEIGHTS = {"urgent": 1.0, "actionable_not_urgent": 0.5, "not_actionable_not_urgent": 0.25, "benign_expected": 0.0}
show(
    pd.DataFrame(
        [
            (side, finding["id"], finding["finding"], finding["clinical_significance"])
            for side in ("reference_findings", "predicted_findings")
            for finding in reply[side]
        ],
        columns=["side", "id", "finding", "clinical_significance"],
    )
)
worked_out = crimson(reply)
print(f"CRIMSON of this pair: {worked_out.score:.3f}")

# %% [markdown]
# A made-up pair, small enough for paper. The reference names a pneumothorax (urgent) and a nodule (actionable). The
# report finds the pneumothorax, misses the nodule, and adds a scar that is not there (not actionable):
# (1 − 0.25) / (1 + 0.5) = 0.5.

# %%
example = {
    "reference_findings": [
        {"id": "R1", "finding": "pneumothorax", "clinical_significance": "urgent"},
        {"id": "R2", "finding": "nodule", "clinical_significance": "actionable_not_urgent"},
    ],
    "predicted_findings": [
        {"id": "P1", "finding": "pneumothorax", "clinical_significance": "urgent"},
        {"id": "P2", "finding": "scar", "clinical_significance": "not_actionable_not_urgent"},
    ],
    "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}],
    "errors": {"missing_findings": ["R2"], "false_findings": ["P2"], "attribute_errors": []},
}
print(
    crimson_score(json.dumps(example)), "by the workflow's formula;", (WEIGHTS["urgent"] - 0.25) / (1 + 0.5), "on paper"
)

# %% [markdown]
# ## GREEN by hand
#
# GREEN counts instead of weighing: matched findings over matched findings and significant errors. Insignificant
# errors cost nothing, and no matched finding at all is 0.
#
#     GREEN = matched / (matched + significant errors)
#
# The pair above: 1 matched, 2 significant errors (one missed, one false) would give 1/3, and if the judge called
# the scar insignificant, 1/2. The two metrics are not two opinions on one scale: they may move in opposite
# directions. On FLARE's public validation rows, published numbers of MedGemma 1.5 go from .698 to .856 in CRIMSON
# and from .772 to .730 in GREEN when it is tuned.
#
# ## The table

# %%
metrics = course.table("scores/{split}/metrics.parquet")
reports = metrics[
    (metrics["task"] == "report")
    & (metrics["subset"] == "macro")
    & metrics["judge"].isin(list(course.configuration.judges))
    & metrics["metric"].isin(["crimson", "green"])
].assign(stratum=lambda frame: frame["stratum"].fillna("all"))
show(reports.pivot(index=["metric", "judge", "stratum"], columns="system", values="value"))

# %% [markdown]
# Read three things in it:
#
# 1. **The baselines.** `majority` writes one normal report for everybody and looks at no image. What a model scores
#    above it is what the model adds.
# 2. **The strata.** On *normal* references saying "normal" is right. What a clinician fears is in the line
#    *abnormal*.
# 3. **The judge's name**, and how many judgements were valid.
#
# ## With intervals

# %%
shown = reports[(reports["metric"] == "crimson") & (reports["judge"] == course.judge)]
order = list(course.configuration.systems)
points = altair.Chart(shown).encode(altair.Y("system:N", sort=order, title=None))
colour = altair.condition(altair.datum.system == course.tuned, altair.value(TUNED), altair.value(BASE))
chart = altair.layer(
    points.mark_rule(strokeWidth=2).encode(
        altair.X("low:Q", title="CRIMSON with 95 % interval"), altair.X2("high:Q"), color=colour
    ),
    points.mark_point(filled=True, size=60, opacity=1).encode(altair.X("value:Q"), color=colour),
).properties(width=190, height=120)
show_chart(
    chart.facet(altair.Column("stratum:N", title=None)),
    "CRIMSON by stratum and system, with intervals: "
    + "; ".join(f"{n.stratum} {n.system} {n.value:.2f}" for n in shown.itertuples()),
)

# %% [markdown]
# The intervals come from 1,000 draws of whole cases: the rows of one patient are drawn together, or none of them.
#
# ## Is the gain beyond chance?
#
# Both systems answered the same rows, so the comparison is paired: for each case the two answers are exchanged at
# random, 10,000 times, and `p` is how often a difference as large comes out; a second test gives the cases' influences
# random signs, and the larger of the two counts (see `docs/metrics.md`). Many comparisons are made, so Holm's
# correction raises the p-values (`p_holm`).

# %%
comparisons = course.table("scores/{split}/comparisons.parquet")
pairs = comparisons[
    (comparisons["system_a"] == course.base)
    & (comparisons["system_b"] == course.tuned)
    & (comparisons["subset"] == "macro")
]
verdict = pairs.assign(
    better=[
        "not beyond chance"
        if line.p_holm >= 0.05
        else (line.system_b if (line.difference > 0) == (line.direction == "higher") else line.system_a)
        for line in pairs.itertuples()
    ]
)
show(verdict[["task", "metric", "direction", "difference", "low", "high", "p_holm", "rows", "better"]])

# %% [markdown]
# ## Do the metrics agree?

# %%
agreement = course.table("scores/{split}/agreement.parquet")
names = {course.base, course.tuned}
among = agreement[[{a, b} == names for a, b in zip(agreement["system_a"], agreement["system_b"], strict=True)]]
show(among[["metric_1", "judge_1", "difference_1", "metric_2", "judge_2", "difference_2", "tau", "opposed"]].head(10))

# %% [markdown]
# CRIMSON and GREEN were validated on chest X-rays. On other images, take their scores as exploratory. And whatever
# the judge, a number that decides something deserves twenty pairs of reports that you have read yourself:

# %%
findings = course.table("scores/{split}/{tuned}/findings.parquet")
lost = findings[(findings["side"] == "reference") & (findings["fate"] == "missing")]
texts = judged.drop_duplicates("pair").set_index("pair")
show(
    lost.drop_duplicates("pair")
    .head(5)
    .assign(reference=lambda frame: frame["pair"].map(texts["reference"]))
    .assign(hypothesis=lambda frame: frame["pair"].map(texts["hypothesis"]))[
        ["finding", "significance", "reference", "hypothesis"]
    ]
)

# %% [markdown]
# Next: [7. Conclusion](7_conclusion.ipynb).
