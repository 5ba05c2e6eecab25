# %% [markdown]
# # 3. Data preparation
#
# After this module you can read a FLARE question file, say what the conversion does to it, find out why a row is
# not in the data, and tell whether an evaluated image was trained on.

# %%
import json

import altair
import pandas as pd
from lessons import REFERENCE, open_course, sheet, show, show_chart, show_image, with_boxes

course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %% [markdown]
# ## What a dataset is
#
# `{training,validation-public}/<Modality>/<subset>/` with question files and images, in folders or zips. This is the
# first record of a question file, as its source wrote it:

# %%
rows = course.rows(course.split)
source = rows[0]
records = json.loads((course.images / source.source_file).read_text(encoding="utf-8"))
print(source.source_file)
print(json.dumps(records[source.source_row], indent=1, ensure_ascii=False))

# %% [markdown]
# The step `data.convert` types it. A row carries its *expected format*: what the question asks for, and where that is
# known from. Everything that later reads an answer looks at this column, and never at the reference answer.

# %%
expected = source.expected
show(
    pd.DataFrame(
        [
            ("uid", source.uid),
            ("task", source.task),
            ("case_id", source.case_id),
            ("answer", source.answer),
            ("answer by", expected.answer_by),
            ("options", ", ".join(option.letter for option in expected.options)),
            ("known from", "; ".join(f"{known.field}: {known.source}" for known in expected.sources)),
        ],
        columns=["column", "value"],
    )
)

# %% [markdown]
# What no question states is learned from the subset's training rows, with the votes for and against:

# %%
show(
    course.table("data/{dataset}/conventions.parquet")[
        ["subset", "task", "field", "value", "votes", "rows", "source"]
    ].head(8)
)

# %% [markdown]
# ## Images with their answers
#
# Look at your data before you train on them. Boxes are corners in pixels of the original image, whatever the source
# writes.

# %%
shown = {row.subset: row for row in reversed(rows)}
drawn = []
for row in shown.values():
    boxes = [*(row.boxes or ()), *(instance.box for instance in row.instances or ())]
    drawn.append(with_boxes(course.image(row), boxes, REFERENCE))
captions = [f"{row.modality}, {row.subset}: {row.answer[:60]}" for row in shown.values()]
show_image(sheet(drawn, captions), "One image of each subset with its reference answer and boxes")

# %% [markdown]
# ## What is wrong with the data
#
# Rows in = rows out + quarantined, and each quarantined row has a reason. Nothing is dropped in silence. The toy
# dataset has defects planted into it, of the kinds that were found in FLARE.

# %%
quarantine = course.table("data/{dataset}/quarantine.parquet")
everything = course.table("data/{dataset}/rows.parquet")
print(f"{len(everything)} rows + {len(quarantine)} in quarantine = {len(everything) + len(quarantine)} records")
show(
    quarantine.groupby("reason")
    .agg(rows=("reason", "size"), example=("detail", "first"))
    .sort_values("rows", ascending=False)
)

# %% [markdown]
# The page `data/toy/audit/index.html` below the results shows all of it: class balance, sizes and lengths, near
# duplicates, groups that leak.
#
# ## Leaks
#
# A row of training that shares an image or a case with an evaluated split would teach the answer. Such rows leave the
# training split, and say with what they shared:

# %%
left_out = course.table("splits/{training}/left_out.parquet")
show(left_out[["uid", "reason", "detail"]])

training = course.rows(course.training)
seen = {image.sha256 for row in training for image in row.images}
evaluated_images = {image.sha256 for row in rows for image in row.images}
print(f"{len(training)} rows to train on, {len(rows)} to evaluate, {len(seen & evaluated_images)} images in both")

# %% [markdown]
# ## Balance
#
# A model that always names the commonest class is right as often as that class is common. Count before you train.

# %%
counts = everything.groupby(["folder", "task"]).size().rename("rows").reset_index()
chart = altair.Chart(counts, width=480, height=28 * counts["task"].nunique()).mark_bar()
chart = chart.encode(
    altair.Y("task:N", title=None),
    altair.X("rows:Q", title="rows"),
    altair.Color("folder:N", title="split folder").scale(range=["#0072b2", "#e69f00"]),
    altair.YOffset("folder:N"),
)
show_chart(
    chart, "Rows by task and split folder: " + ", ".join(f"{n.task} {n.folder} {n.rows}" for n in counts.itertuples())
)

# %% [markdown]
# ## What the model is trained on
#
# The step `data.sft` writes conversations, as JSONL and as Parquet that any trainer reads:

# %%
with course.path("splits/{training}/sft.jsonl").open(encoding="utf-8") as lines:
    print(json.dumps(json.loads(next(lines)), indent=1, ensure_ascii=False))

# %% [markdown]
# With your own folder of this shape the same notebooks run on your data: `config/local.yaml` (see the how-to "Your
# own data").
#
# Next: [4. Fine-tuning](4_fine_tuning.ipynb).
