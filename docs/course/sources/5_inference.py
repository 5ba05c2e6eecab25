# %% [markdown]
# # 5. Inference with the base and the tuned model
#
# After this module you can answer a question with both models by hand, say why an answer ended, and tell an answer
# that is wrong from one that cannot be read.

# %%
from dataclasses import dataclass

import pandas as pd
import torch
from lessons import open_course, sheet, show, show_image
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

logging.disable_progress_bar()
course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %% [markdown]
# ## Sixteen validation rows
#
# The first sixteen reports. Sixteen rows are for looking at, not for concluding from: module 6 has all of them.

# %%
reports = [row for row in course.rows(course.split) if row.task == "report"][:16]
show_image(
    sheet([course.image(row) for row in reports], [row.answer for row in reports], columns=4),
    "The first image of each of sixteen rows, with its reference report",
)

# %% [markdown]
# ## What the workflow wrote
#
# One line a row and system: the text, why it ended, how many tokens it took. `stop` means that the model ended its
# turn, `length` that the limit of the task (`inference.max_new_tokens`) did.

# %%
answers = {
    name: course.table(f"predictions/{{split}}/{name}.parquet").set_index("uid") for name in (course.base, course.tuned)
}
show(
    answers[course.tuned].loc[
        [row.uid for row in reports[:4]], ["text", "finish_reason", "prompt_tokens", "new_tokens"]
    ]
)

# %% [markdown]
# ## The same by hand
#
# No secret is in it: the base model, the adapter beside it, greedy decoding. `disable_adapter` sets the adapter
# aside, so one load answers with both.

# %%
processor = AutoProcessor.from_pretrained(course.path("models/{model}"), local_files_only=True)
device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = torch.bfloat16 if device == "cuda" else torch.float32
model = AutoModelForImageTextToText.from_pretrained(course.path("models/{model}"), dtype=dtype).to(device)
model = PeftModel.from_pretrained(model, course.path("systems/{tuned}/adapter")).eval()


def answer(row):
    """What the model says to the question and the images of a row."""
    images = [{"type": "image", "image": course.image(row, place)} for place in range(len(row.images))]
    chat = [{"role": "user", "content": [*images, {"type": "text", "text": row.question}]}]
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(device, dtype=dtype)
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=course.limit(row.task), do_sample=False)
    return processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


by_hand = {course.tuned: {row.uid: answer(row) for row in reports}}
with model.disable_adapter():
    by_hand[course.base] = {row.uid: answer(row) for row in reports}

# %%
same = {name: sum(answers[name].loc[uid, "text"] == text for uid, text in by_hand[name].items()) for name in by_hand}
print(
    "answers that equal the workflow's:", ", ".join(f"{name} {count} of {len(reports)}" for name, count in same.items())
)

# %% [markdown]
# In float32 they are equal. In bfloat16, on a GPU, a few may differ: sums are rounded by the shapes of their
# products, and the workflow answers in batches. `snakemake stability` measures how many.
#
# ## Base beside tuned

# %%
show(
    pd.DataFrame(
        [
            (row.answer, answers[course.base].loc[row.uid, "text"], answers[course.tuned].loc[row.uid, "text"])
            for row in reports
        ],
        columns=["reference", course.base, course.tuned],
    )
)

# %% [markdown]
# Count before you are pleased: how many different texts did each write?


# %%
@dataclass
class Variety:
    system: str
    texts: int
    commonest: str
    share: float


whole = {
    name: frame.loc[[row.uid for row in course.rows(course.split) if row.task == "report"]]
    for name, frame in answers.items()
}
varieties = []
for name, frame in whole.items():
    counts = frame["text"].value_counts()
    varieties.append(Variety(name, len(counts), counts.index[0], counts.iloc[0] / len(frame)))
show(pd.DataFrame(varieties), 2)

# %% [markdown]
# A model that writes one normal sentence for nearly everything is right as often as the images are normal. The
# published tuned outputs of MedGemma 1.5 on IU X-ray do the same: 104 to 119 distinct sentences on 1,945 rows, one
# of them on a quarter of the rows. Module 6 asks what such a model scores on abnormal images.
#
# ## What became of each answer
#
# No answer is dropped. `valid` can be read as the question asks for; the others say what is wrong.

# %%
outcomes = pd.concat([course.table(f"scores/{{split}}/{name}/outcomes.parquet") for name in answers])
show(outcomes.pivot_table(index=["task", "system"], columns="outcome", values="uid", aggfunc="count", fill_value=0))

# %% [markdown]
# On MedGemma the base model's line looks otherwise: it answers in prose where a letter or a JSON list is asked for.
# The lenient reader then finds the letter in most of them, and the tables show both readings.
#
# Next: [6. Evaluation](6_evaluation.ipynb).
