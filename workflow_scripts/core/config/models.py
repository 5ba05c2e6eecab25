"""Which network: `models` names a checkpoint at a revision, and the family that knows how to drive it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from workflow_scripts.core.config.section import MovingRevision, Section

Family = Literal[
    "gemma3",
    "paligemma2",
    "llava",
    "idefics3",
    "internvl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_5",
    "chexagent",
    "text",
]
"""Modules of `models.families`, where each says what is particular to it."""

COMPUTES_FEATURES = ("qwen2_5_vl", "qwen3_vl", "qwen3_5", "text")
"""Families whose features are not stored unless the configuration says so: of Qwen3-VL an image of 768 × 768 pixels
has 12 MB of them, ten times MedGemma's; a text model has none."""

VISION_IN_FLOAT8 = ("gemma3", "paligemma2")
"""Families whose vision tower has products in 8-bit floating point, where that is asked for."""

READS_NO_IMAGES = ("text",)

ONE_IMAGE = ("paligemma2", "llava", "chexagent")
"""Families that cannot tell whose image is whose: PaliGemma 2 reads all images first, LLaVA learned from one image,
and CheXagent's context is full with two."""


Boxes = Literal["dataset", "native"]
BOXES = (
    "Form of boxes in prompts and answers. dataset: as the row's question says. native: as the family was taught to "
    "write them; answers are carried back to the dataset's form before they are read."
)
BOX_CONVENTIONS = {
    "gemma3": "medgemma",
    "paligemma2": "paligemma",
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "qwen3_5": "qwen3_vl",
    "internvl": "internvl",
    "chexagent": "chexagent",
}
"""Families that were taught a form of boxes of their own, with its name, see `tasks.boxes.model_conventions`."""


class BoxForm(Section):
    """The form of boxes that a model is asked for, as its steps know it."""

    convention: str | None = None  # the family's own; None: the dataset's
    side: int | None = None  # images are resized to a square of so many pixels before the family's own preparation
    padded: bool = False  # before that they are padded to a square, the image in its middle


DATASETS_FORM = BoxForm()


class SyntheticModel(Section):
    """The tiny Gemma-3-shaped model that ships with the workflow."""

    source: Literal["synthetic"] = "synthetic"
    family: Literal["gemma3"] = "gemma3"
    boxes: Boxes = Field("dataset", description=BOXES)
    gpus: int = Field(0, ge=0, description="GPUs of a job that loads this model.")

    @property
    def box_form(self) -> BoxForm:
        """The form of boxes that the model is asked for."""
        return BoxForm(convention=BOX_CONVENTIONS[self.family]) if self.boxes == "native" else DATASETS_FORM

    @property
    def stores_features(self) -> bool:
        """Whether the vision tower's output is stored, where a recipe does not tune the tower."""
        return True


class ImagePreparation(Section):
    """What is done to an image before the family's own preparation; training and inference see the same."""

    size: int | None = Field(
        None,
        ge=16,
        le=4096,
        description="Pixels of a side: each image is first resized to such a square (Lanczos, sides independently). "
        "null: as it is.",
    )
    pad: bool = Field(
        False,
        description="Before that, pad each image with black to a square, itself in the middle, as MedGemma's notebooks "
        "do before they ask for boxes; `boxes: native` then counts the padding.",
    )

    @property
    def squares(self) -> bool:
        """Whether images are made squares."""
        return self.pad or self.size is not None


class StockTower(Section):
    """The checkpoint that a stock vision tower is taken from."""

    checkpoint: str = Field(description="Repository on the hub, or a local folder, with safetensors.")
    revision: MovingRevision | None = Field(None, description="Full commit, or `main`; null for a local folder only.")


class HubModel(Section):
    """A checkpoint on the Hugging Face hub, or a folder in the same layout."""

    source: Literal["hub"] = "hub"
    family: Family = Field(description="How it is prompted, loaded and adapted.")
    checkpoint: str = Field(description="Repository on the hub, or a local folder.")
    revision: MovingRevision | None = Field(
        None,
        description="Full commit; `main`, resolved to a commit when it is fetched, and recorded; null for a local "
        "folder only.",
    )
    gated: bool = Field(True, description="Whether a token is needed: HF_TOKEN, or that of `hf auth login`.")
    boxes: Boxes = Field("dataset", description=BOXES)
    features: Literal["stored", "computed"] | None = Field(
        None,
        description="The vision tower's output. stored: computed once an image. computed: in each job anew, where it "
        "would fill the disk. null: stored, but for the Qwen-VL families.",
    )
    vision_fp8: bool = Field(
        False,
        description="Matrix products of the vision tower in 8-bit floating point, where features are stored: needs an "
        "H100 or H200; see docs/performance.md.",
    )
    vision_tower: Literal["adapted", "clip"] | None = Field(
        None,
        description="Of LLaVA-Med 1.5 in its authors' layout, which is converted. adapted: the tower that was trained "
        "along and lies in the checkpoint. clip: stock CLIP, which the authors' loader puts there. null: the "
        "checkpoint is loaded as it is.",
    )
    clip: StockTower | None = Field(None, description="Where stock CLIP's tower comes from.")
    gpus: int = Field(1, ge=0, description="GPUs of a job that loads this model.")
    image: ImagePreparation = ImagePreparation()

    @model_validator(mode="after")
    def _tower_is_known(self) -> "HubModel":
        if self.vision_tower is not None and self.family != "llava":
            raise ValueError(f"vision_tower: family {self.family} is not converted; leave it out")
        if (self.vision_tower == "clip") != (self.clip is not None):
            raise ValueError("clip: name the checkpoint of stock CLIP where `vision_tower` is clip, and only there")
        return self

    def clip_to_fetch(self) -> "Checkpoint":
        """What is fetched for `vision_tower: clip`."""
        assert self.clip is not None
        return Checkpoint(family="clip", checkpoint=self.clip.checkpoint, revision=self.clip.revision)

    @model_validator(mode="after")
    def _native_boxes_are_known(self) -> "HubModel":
        if self.boxes == "native" and self.family not in BOX_CONVENTIONS:
            raise ValueError(
                f"boxes: family {self.family} has no form of boxes of its own; set dataset (native is for "
                f"{', '.join(BOX_CONVENTIONS)})"
            )
        return self

    @model_validator(mode="after")
    def _images_are_read(self) -> "HubModel":
        if self.image.squares and self.family in READS_NO_IMAGES:
            key = "size" if self.image.size is not None else "pad"
            raise ValueError(f"image.{key}: family {self.family} reads no images; leave it out")
        return self

    @model_validator(mode="after")
    def _tower_has_float8(self) -> "HubModel":
        if not self.vision_fp8:
            return self
        if self.family not in VISION_IN_FLOAT8:
            raise ValueError(
                f"vision_fp8: the tower of family {self.family} is not computed in 8 bits; leave it out (it is for "
                f"{' and '.join(VISION_IN_FLOAT8)})"
            )
        if not self.stores_features:
            raise ValueError("vision_fp8 is for features that are stored: leave it out, or `features: computed`")
        if self.gpus == 0:
            raise ValueError(
                "vision_fp8: jobs take no GPU, and 8 bits need an H100 or H200; set gpus: 1, or leave it out"
            )
        return self

    @property
    def box_form(self) -> BoxForm:
        """The form of boxes that the model is asked for."""
        if self.boxes == "dataset":
            return DATASETS_FORM
        return BoxForm(convention=BOX_CONVENTIONS[self.family], side=self.image.size, padded=self.image.pad)

    @property
    def stores_features(self) -> bool:
        """Whether the vision tower's output is stored, where a recipe does not tune the tower."""
        if self.family in READS_NO_IMAGES:
            return False
        return self.family not in COMPUTES_FEATURES if self.features is None else self.features == "stored"

    def to_fetch(self) -> "Checkpoint":
        """What is fetched of it, and recorded with what its jobs have to know."""
        keys = {"family", "checkpoint", "revision", "gated", "vision_fp8"}
        return Checkpoint(**self.model_dump(include=keys), image_size=self.image.size, image_pad=self.image.pad)


Model = Annotated[SyntheticModel | HubModel, Field(discriminator="source")]


WEIGHTS_GB = {
    "microsoft/llava-med-v1.5-mistral-7b": 15.1,  # 7.57 thousand million parameters in bfloat16, by its architecture
    "StanfordAIMI/CheXagent-2-3b": 6.3,  # 3.14 thousand million parameters in bfloat16, by its architecture
    "google/medgemma-4b-it": 8.6,  # as the next one
    "google/medgemma-1.5-4b-it": 8.6,  # 4.30 thousand million parameters in bfloat16, by its architecture
    "rajpurkarlab/medgemma-4b-it-crimson": 7.8,  # as its authors say
    "leoyinn/flare25-medgemma": 0.13,  # rank 16 on the modules that its card lists, in float32
    "StanfordAIMI/GREEN-radllama2-7b": 13.5,  # 6.74 thousand million parameters in two bytes each, by its architecture
}
"""Gigabytes of weights of the checkpoints that shipped configurations name, for a plan."""


class Checkpoint(Section):
    """What is fetched before a job reads it, for a model, an adapter, a judge or an encoder."""

    family: str  # of a model; adapter, judge or encoder
    checkpoint: str
    revision: MovingRevision | None = None
    gated: bool = False
    image_size: int | None = None  # of a model
    image_pad: bool = False  # of a model
    vision_fp8: bool = False  # of a model
    base: str | None = None  # of an adapter: the repository that it is put on

    @property
    def gigabytes(self) -> float | None:
        """What the weights that are fetched amount to, where that is known."""
        return None if self.local else WEIGHTS_GB.get(self.checkpoint)

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return Path(self.checkpoint).expanduser().is_dir()
