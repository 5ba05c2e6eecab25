# %% [markdown]
# # 4. Fine-tuning
#
# After this module you can read a recipe, say which tokens the model learns from, and tell from the curves whether a
# training went well.

# %%
import altair
import pandas as pd
from lessons import BASE, TUNED, moving_mean, open_course, show, show_chart
from transformers import AutoProcessor

from workflow_scripts.models.families.gemma3 import FAMILY
from workflow_scripts.models.prompts import chat

course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %% [markdown]
# ## The recipe
#
# QLoRA: the frozen weights are read in 4 bits (NF4), an adapter of low rank is trained beside them. All that changes
# the result stands in the recipe, and a changed value trains again.

# %%
name = course.configuration.systems[course.tuned].recipe
recipe = course.configuration.recipes[name]
show(
    pd.DataFrame(
        [(key, str(value)) for key, value in recipe.model_dump(exclude_none=True).items()],
        columns=[f"recipes.{name}", ""],
    )
)

# %% [markdown]
# Published recipes stand in `config/medgemma-flare.yaml`, by name: FLARE26-MedGemma, FLARE25-MedGemma, the IIT Delhi
# study, and the mini course's (r 16, α 16, 2e-4, 8 × 2 rows, a quarter of an epoch).
#
# ## What one row looks like to the model
#
# The conversation becomes tokens. The image is a block of image tokens; their vectors come from the vision tower and
# not from the vocabulary. The same function words the prompt in training and in inference.

# %%
processor = AutoProcessor.from_pretrained(course.path("models/{model}"), local_files_only=True)
row = next(row for row in course.rows(course.training) if row.task == "report")
sizes = [(image.width, image.height) for image in row.images]
prompt = FAMILY.prompt_ids(processor, chat(row.question, len(row.images)), sizes)
answer = FAMILY.answer_ids(processor, row.answer)

image_token = FAMILY.image_token_id(processor)
text = processor.tokenizer.decode([token for token in prompt if token != image_token])
print("prompt, without its image tokens:", repr(text))
print("answer:                          ", repr(processor.tokenizer.decode(answer)))

# %%
kinds = ["image" if token == image_token else "words of the prompt" for token in prompt] + ["answer"] * len(answer)
table = pd.DataFrame({"kind": kinds}).groupby("kind", sort=False).size().rename("tokens").reset_index()
table["in the loss"] = ["yes" if kind == "answer" else "no" for kind in table["kind"]]
show(table)

# %% [markdown]
# Only the answer's tokens are in the loss: the question and the image are given, there is nothing to learn about
# them. Before the first step the training checks just that, on the rows themselves: one token for the beginning,
# whole image blocks, labels that cover the answer and the end of the turn. A failed check stops the job and names
# the row.
#
# The same, token by token; a label of −100 is the usual mark for "not in the loss":

# %%
ids = prompt + answer
labels = [-100] * len(prompt) + answer
words = pd.DataFrame({"token": processor.tokenizer.convert_ids_to_tokens(ids), "id": ids, "label": labels})
show(words[[token != image_token for token in ids]].tail(len(answer) + 6))

# %% [markdown]
# ## The curves
#
# Each step is a line of `history.parquet`. The loss of single steps is noisy, so the mean of the last twenty is
# drawn.

# %%
history = course.table("systems/{tuned}/history.parquet")
show(
    history.iloc[[0, len(history) // 2, -1]][["step", "epoch", "loss", "token_accuracy", "entropy", "learning_rate"]], 4
)


# %%
def curve(column, title, colour, last=20):
    drawn = history[["step"]].assign(value=moving_mean(history[column].to_numpy(), last))
    lines = altair.Chart(drawn, width=280, height=150).mark_line(color=colour)
    return lines.encode(altair.X("step:Q"), altair.Y("value:Q", title=title).scale(zero=False))


start, end = history.iloc[:10].mean(), history.iloc[-10:].mean()
show_chart(
    altair.vconcat(
        altair.hconcat(curve("loss", "loss, nats a token", TUNED), curve("token_accuracy", "token accuracy", BASE)),
        altair.hconcat(
            curve("entropy", "entropy, nats", "#009e73"), curve("learning_rate", "learning rate", "#5f4b8b", 1)
        ),
    ),
    f"Loss falls from {start['loss']:.2f} to {end['loss']:.2f}, "
    f"token accuracy rises from {start['token_accuracy']:.2f} to {end['token_accuracy']:.2f}",
)

# %% [markdown]
# How to read them:
#
# - **Loss** falls fast while the model learns the form of the answers, then slowly. One that doubles, or is not a
#   number, ends the job with a sentence that says what to change.
# - **Token accuracy** near 1 after few steps means that the answers hardly differ, not that the model can see.
# - **Entropy** is how unsure the model is of the next token. A loss far above it, as at the start here, is a model
#   that is sure and wrong; where the two are near each other, it knows how little it knows.
# - The curves are of training rows. Whether tuning helped is decided on the validation split, in module 6.
#
# ## What comes out

# %%
files = sorted(course.path("systems/{tuned}/adapter").iterdir())
show(pd.DataFrame([(file.name, f"{file.stat().st_size:,}") for file in files], columns=["file", "bytes"]))

# %% [markdown]
# `PeftModel.from_pretrained(base, "adapter")` loads it anywhere. `provenance.json` says of what it was made: recipe,
# rows, model revision, code. To train again with another rank, change `r` in the recipe and start Snakemake: the
# training and what follows from it run, and nothing else. `snakemake -n` shows it first.
#
# Next: [5. Inference](5_inference.ipynb).
