# %% [markdown]
# # 2. The architecture of MedGemma 1.5
#
# After this module you can say what becomes of an image on its way into the language model, how many numbers that
# is at each place, and where the adapter of QLoRA stands.

# %%
import altair
import pandas as pd
from architecture import architecture_of, drawing, parameters_of, read_config
from lessons import open_course, sheet, show, show_chart, show_image, show_svg
from safetensors import safe_open

course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %% [markdown]
# ## The whole, drawn from its configuration
#
# MedGemma 1.5 4B is a `Gemma3ForConditionalGeneration`: a SigLIP vision tower, a projector, and the language model
# Gemma 3. The drawing is computed from the numbers of its published `config.json`, in `medgemma15.json`.

# %%
published = read_config()
medgemma = architecture_of(published)
show_svg(
    drawing(medgemma, "MedGemma 1.5 4B", rank=16),
    f"{medgemma.side} by {medgemma.side} pixels, {medgemma.patches:,} patches, {medgemma.image_tokens} image tokens of "
    f"width {medgemma.width:,}, {medgemma.layers} decoder layers with LoRA at seven projections each",
)

# %% [markdown]
# Check the arithmetic: 896 / 14 = 64, and 64 × 64 = 4,096 patches. Pooling averages 4 × 4 of them, which leaves
# 16 × 16 = 256 image tokens. Whatever the size of your image, the language model sees 256 vectors of it: a finding of
# a few pixels in a 3,000-pixel radiograph is small already when it is squared to 896.
#
# ## Where the parameters are

# %%
medgemma_parameters = parameters_of(published)
counts = pd.DataFrame(
    [*medgemma_parameters.items(), ("adapter, r = 16", medgemma.adapter_parameters(16))], columns=["part", "parameters"]
)
whole = sum(medgemma_parameters.values())
counts["share of the model"] = [f"{count / whole:.2%}" for count in counts["parameters"]]
counts["parameters"] = [f"{count:,}" for count in counts["parameters"]]
show(counts)
print(f"together, without the adapter: {whole:,}")

# %% [markdown]
# The adapter is less than one percent of the model. That is what makes tuning fit one GPU: gradients and the
# optimiser's moments are held for these parameters alone, and the frozen projections are read in 4 bits.
#
# ## The model of this run
#
# The same class with other numbers. Where you switched to MedGemma, this is MedGemma's own `config.json`.

# %%
config = read_config(course.path("models/{model}/config.json"))
here = architecture_of(config)
names = {
    "side": "side of the image, pixels",
    "patches": "patches",
    "vision_layers": "layers of the vision tower",
    "image_tokens": "image tokens",
    "width": "width of the language model",
    "layers": "decoder layers",
    "vocabulary": "words of the vocabulary",
}
show(
    pd.DataFrame(
        [(text, f"{getattr(medgemma, name):,}", f"{getattr(here, name):,}") for name, text in names.items()],
        columns=["", "MedGemma 1.5 4B", course.model],
    )
)

# %% [markdown]
# ## What the patches are
#
# One image of the validation split, as the tower receives it, and with the edges of its patches.

# %%
reports = [row for row in course.rows(course.split) if row.task == "report"]
row = min(reports, key=lambda row: "normal" in row.answer.lower())
image = course.image(row)
squared = image.resize((here.side, here.side))
lined = squared.convert("RGB").resize((448, 448))
for place in range(0, 448, 448 * here.patch // here.side):
    for step in range(448):
        lined.putpixel((place, step), (213, 94, 0))
        lined.putpixel((step, place), (213, 94, 0))
show_image(
    sheet(
        [image, squared, lined],
        [
            f"as stored, {image.width} by {image.height}",
            f"squared, {here.side} by {here.side}",
            f"{here.patches:,} patches of {here.patch} by {here.patch} pixels",
        ],
        columns=3,
    ),
    f"A chest image as stored, squared to {here.side} pixels, and cut into {here.patches} patches",
)

# %% [markdown]
# ## What the tower makes of them, computed once
#
# The tower is frozen, so its pooled output for an image never changes. The workflow computes it once an image (the
# step `features.extract`) and training, every epoch and both systems read it. The index of the store says where an
# image's features lie; images are known by the hash of their bytes.

# %%
index = course.table("features/{model}/{split}/index.parquet")
print(f"{len(index)} images of the split, each {here.image_tokens} × {here.vision_width} numbers")
show(index.assign(sha256=index["sha256"].str[:12] + "…", shard=index["shard"].str[-40:]).head(4))

# %%
first = index.iloc[0]
with safe_open(course.path("features/{model}/{split}/index.parquet").parent / first["shard"], "pt") as shard:
    begin, end = shard.get_tensor("offsets")[int(first["row"]) : int(first["row"]) + 2].tolist()
    features = shard.get_slice("features")[begin:end].float()
print(f"rows {begin} to {end - 1} of the shard are one image: {tuple(features.shape)}")

norms = features.norm(dim=-1).reshape(round(here.image_tokens**0.5), -1)
grid = pd.DataFrame(
    [(x, y, float(norms[y, x])) for y in range(norms.shape[0]) for x in range(norms.shape[1])],
    columns=["x", "y", "length"],
)
chart = altair.Chart(grid, width=220, height=220).mark_rect()
chart = chart.encode(
    altair.X("x:O", title=None),
    altair.Y("y:O", title=None),
    altair.Color("length:Q", title="length").scale(scheme="viridis"),
)
show_chart(chart, "Lengths of the pooled vectors of one image, on the grid of its image tokens")

# %% [markdown]
# ## The adapter's places
#
# LoRA leaves a weight matrix W as it is and adds a product of two thin ones: the layer computes W·x + (α/r)·B·(A·x),
# where A has r rows and B has r columns. B starts at zero, so an untrained adapter changes nothing. The recipe says
# beside which matrices:

# %%
recipe = course.configuration.recipes[course.configuration.systems[course.tuned].recipe]
show(pd.DataFrame([{"recipe": course.configuration.systems[course.tuned].recipe, **recipe.lora.model_dump()}]))

with safe_open(course.path("systems/{tuned}/adapter/adapter_model.safetensors"), "pt") as adapter:
    shapes = {name: tuple(adapter.get_slice(name).get_shape()) for name in adapter.keys()}  # noqa: SIM118
table = pd.DataFrame(
    [(name.split("language_model.")[1], " × ".join(map(str, shape))) for name, shape in shapes.items()],
    columns=["tensor, below the language model", "shape"],
)
show(table.head(14))
print(f"{len(shapes)} tensors = 2 × 7 × {here.layers} layers, {sum(a * b for a, b in shapes.values()):,} parameters")

# %% [markdown]
# `targets: language` adapts the language model alone. `targets: all-linear` would adapt the vision tower too: then no
# features can be stored, since every step of training changes them, and each epoch costs several times as much.
#
# Next: [3. Data preparation](3_data.ipynb).
