# %% [markdown]
# # 1. Background
#
# A vision-language model reads an image and a question, and writes an answer. This course follows one question
# through the whole life of such a model on medical images: the data are audited and converted, a published model is
# tuned on them with QLoRA, both models answer held-out questions, and their answers are scored. It mirrors the six
# modules of the University of Toronto and UHN mini course on MedGemma and FLARE, on the commands of this workflow.
#
# After this module you can say which kinds of question there are, what one row of data holds, and why a number
# without an interval and a baseline says little.
#
# Every notebook shows a finished run. One line says whose:

# %%
from lessons import open_course, sheet, show, show_image

course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %% [markdown]
# `config/config.yaml` is the embedded default: a synthetic dataset in the shape of FLARE-MLLM-2D, and a model with
# the architecture of MedGemma 1.5 and 1 million parameters in place of 4.3 billion. It runs on two CPU cores in
# about three minutes. **The numbers of this course are those of toys**: they show how the work is done, not how
# well a model reads medical images.
#
# ## Seven kinds of question
#
# FLARE asks seven kinds of question, each with its own form of answer and its own measure.

# %%
rows = course.rows(course.split)
first = {}
for row in rows:
    first.setdefault(row.task, row)

show(
    course.table("splits/{split}/rows.parquet")
    .groupby("task")
    .agg(rows=("uid", "size"), subsets=("subset", "nunique"), cases=("case_id", "nunique"))
    .assign(question=[first[task].question[:90] for task in sorted(first)])
    .assign(answer=[first[task].answer[:60] for task in sorted(first)])
)

# %%
show_image(
    sheet([course.image(row) for row in first.values()], [f"{row.task}: {row.answer[:60]}" for row in first.values()]),
    "One image of each task, with its reference answer: " + ", ".join(first),
)

# %% [markdown]
# ## Why a workflow, and not a notebook
#
# A notebook that trains, answers and scores is quickly written. What goes wrong in such notebooks is known from
# published ones, and each point is a module of this course:
#
# | what goes wrong | what it does to a result | module |
# | --- | --- | --- |
# | broken rows are dropped or repaired in silence | nobody knows on what the number rests | 3 |
# | an image, or another view of the patient, lies in training and validation | the result is too good | 3 |
# | the prompt of training differs from that of inference | the tuned model is worse than it is | 4 |
# | a missing adapter leaves the base model to answer | base and tuned are the same model | 5 |
# | answers that cannot be read vanish, or become zero | the mean is of the easy rows | 6 |
# | one number for all data, no interval, no baseline | chance, or an ever-normal report, looks like skill | 6 |
#
# ## A baseline, first of all
#
# Before any model: what does it score never to look at an image? `majority` answers each question with the commonest
# training answer of its subset.

# %%
metrics = course.table("scores/{split}/metrics.parquet")
primary = metrics[metrics["primary"] & (metrics["subset"] == "macro")]
show(primary.pivot(index=["task", "metric", "direction"], columns="system", values="value"))

# %% [markdown]
# Read the table by rows, with the direction in mind: of errors (`mae`) the lower is the better. Wherever the base
# model is no better than `majority`, it has not been shown to look at the image at all.
#
# Next: [2. Architecture](2_architecture.ipynb).
