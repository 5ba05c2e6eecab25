# %% [markdown]
# # 7. Conclusion
#
# One question went the whole way: from a record of a question file, through audit and conversion, into a training
# row, out of two models, under a judge, and into a table with an interval and a test. This page puts the pieces
# together and says what they allow you to claim.

# %%
import pandas as pd
from lessons import open_course, show

course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %% [markdown]
# ## The result in one table

# %%
metrics = course.table("scores/{split}/metrics.parquet")
primary = metrics[metrics["primary"] & (metrics["subset"] == "macro")].set_index(["task", "system"])
comparisons = course.table("scores/{split}/comparisons.parquet")
pairs = comparisons[
    (comparisons["system_a"] == course.base)
    & (comparisons["system_b"] == course.tuned)
    & (comparisons["subset"] == "macro")
].set_index("task")


def cell(task, system):
    line = primary.loc[(task, system)]
    return f"{line['value']:.3g} [{line['low']:.3g}, {line['high']:.3g}]"


def verdict(line):
    if line.p_holm >= 0.05:
        return "no difference beyond chance"
    helped = (line.difference > 0) == (line.direction == "higher")
    return "tuning helped" if helped else "tuning harmed"


show(
    pd.DataFrame(
        [
            (task, line.metric, line.direction, int(line.rows), cell(task, course.base), cell(task, course.tuned),
             cell(task, "majority"), verdict(line))
            for task, line in pairs.iterrows()
        ],
        columns=["task", "metric", "better", "rows", course.base, course.tuned, "majority", "verdict"],
    )
)  # fmt: skip

# %% [markdown]
# ## What such a table lets you say
#
# - *"Tuning helped in these tasks, on held-out rows of the same subsets."* Yes, with the interval, the number of
#   rows and the baseline beside it.
# - *"The model reads chest X-rays."* No. Look at the stratum of abnormal references first, then at the answers.
# - *"It will work in another hospital."* No. The validation rows come from where the training rows come from.
# - *"It is safe."* No. Nothing here was made to show that; see the limits in the README.
#
# ## Where each number comes from
#
# `python -m workflow_scripts.cli.explain results/report/validation/table.csv --task counting --system tuned` prints
# the rows, the answers, the adapter with its recipe, and the model's revision behind a number, each with its hash.
#
# ## From the toy to MedGemma
#
# The line at the top of each notebook is the switch. `config/minicourse.yaml` is the mini course's own path:
# MedGemma 1.5, IU X-ray reports, a quarter of an epoch, 16 validation rows, judged by CRIMSON's and GREEN's own
# models. 16 rows are enough to see it run; raise `limit` before you conclude anything. `config/medgemma-flare.yaml`
# is all of FLARE.
#
# Try next, one change at a time, and look at `snakemake -n` before each run:
#
# 1. another rank (`recipes.qlora.lora.r`): training and what follows from it run again;
# 2. `constrained: true` in a system: a grammar bounds the answers. How much of the gain was the format alone?
# 3. another baseline (`nearest`): what does a question alone give away?
# 4. a dataset of your own.
#
# Last: [8. Quiz](8_quiz.ipynb).
