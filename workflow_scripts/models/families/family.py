"""What a family of models has to say: how it is prompted, how images enter it, what an adapter touches.

Image tensors are flat: the entries of all images one after the other, so that families whose images take different
numbers of tokens need no padding. An image's entries are one row of pixels, several tiles or many patches before the
vision tower (`pixels`), and one row an image token behind it (`features`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import AutoProcessor, PreTrainedModel

from workflow_scripts.core.saliency.grids import TokenGrid
from workflow_scripts.models.markup import text_ids

Size = tuple[int, int]
"""Width and height of an image in pixels, as it lies in the dataset."""

Chat = list[dict[str, Any]]

ATTENTION = "q_proj|k_proj|v_proj|o_proj"
PROJECTIONS = f"{ATTENTION}|gate_proj|up_proj|down_proj"


def language_targets(path: str, attention: str = ATTENTION, projections: str = PROJECTIONS) -> dict[str, str]:
    """Adapter targets by their names in a recipe, for a language model below `path` (a regular expression).

    Vision towers have projections of the same names, so that a list of suffixes would touch them too.
    """
    return {
        "language": rf".*{path}.*\.({projections})",
        "attention": rf".*{path}.*\.({attention})",
        "all-linear": "all-linear",
    }


class Family(ABC):
    """One architecture: everything in the workflow that differs between models goes through here."""

    model_class: ClassVar[type[PreTrainedModel]]
    keep_unquantised: ClassVar[tuple[str, ...]]
    """Modules that stay out of 4-bit, by their path."""
    lora_targets: ClassVar[dict[str, str]] = language_targets("language_model")
    first_position: ClassVar[int] = 0
    """Position of a prompt's first token, where positions simply count."""
    reads_images: ClassVar[bool] = True
    fixed_size: ClassVar[bool] = True
    """Whether every image has as many entries and tokens as any other."""
    stores_features: ClassVar[bool] = True
    """Whether the tower's output is small enough to be stored, unless the configuration says otherwise."""
    fused_tower: ClassVar[bool] = False
    """Whether features follow from the patches after the tower's last norm, and pixels can be given as levels."""
    library_decoding: ClassVar[bool] = False
    """Whether answers come from the library's `generate`, since layers keep more than keys and values."""

    def load_processor(self, folder: Path) -> Any:
        """Tokenizer and image preparation of a checkpoint, without code from its folder."""
        return AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

    def load_model(self, folder: Path, **options: Any) -> PreTrainedModel:
        """The network of a checkpoint, from safetensors, without code from its folder.

        Args:
            options: of `from_pretrained`: dtype, device_map, quantization_config.
        """
        return self.model_class.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, **options
        )

    # prompts

    @abstractmethod
    def image_token_id(self, processor: Any) -> int | None:
        """The token that stands where an image's features go; None for a family that reads no images."""

    @abstractmethod
    def image_tokens(self, processor: Any, size: Size) -> int:
        """Image tokens, and rows of features, of an image of this size."""

    @abstractmethod
    def prompt_ids(self, processor: Any, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        """Token ids of `chat` up to where the model's answer begins, image tokens expanded.

        Args:
            sizes: of the chat's images, in their order.
        """

    @abstractmethod
    def end_of_answer(self, processor: Any) -> str:
        """The text that closes an answer in training and ends generation."""

    def answer_ids(self, processor: Any, answer: str) -> list[int]:
        """Token ids of an answer and of what closes it."""
        return text_ids(processor.tokenizer, answer, self.end_of_answer(processor))

    def bos_place(self, processor: Any, sizes: Sequence[Size]) -> int | None:
        """Where the one BOS stands in the prompt of a row with these images; None: the family writes none."""
        return 0

    def text_inputs(
        self,
        processor: Any,
        ids: torch.Tensor,
        mask: torch.Tensor,
        sizes: Sequence[Sequence[Size]],
        prompt_lengths: Sequence[int] | None = None,
    ) -> dict[str, torch.Tensor]:
        """What `forward` takes besides ids, mask and images: tensors whose first two axes are those of `ids`.

        `positions` (rows, tokens, axes) becomes `position_ids`, see `arguments`.

        Args:
            ids: (rows, tokens), padded on the left or on the right.
            mask: 1 where `ids` is no padding.
            sizes: of each row's images.
            prompt_lengths: tokens before each row's answer; None where the rows are prompts alone.
        """
        return {}

    def context(self, config: Any) -> int | None:
        """Tokens of prompt and answer that the model reads at most; None where nothing is compared with it."""
        return getattr(config.get_text_config(), "max_position_embeddings", None)

    # images

    @abstractmethod
    def pixels(self, processor: Any, image: Image.Image) -> torch.Tensor:
        """An RGB image as the tower takes it: (entries, …), float32."""

    def levels(self, processor: Any, image: Image.Image) -> torch.Tensor:
        """An RGB image before its levels 0 to 255 are scaled: (1, height, width, channels), uint8.

        Those with a `fused_tower` have it.
        """
        raise NotImplementedError

    def values_of_levels(self, processor: Any) -> torch.Tensor:
        """What `pixels` makes of each level of each channel: (channels, 256), float32."""
        raise NotImplementedError

    def pixel_inputs(self, processor: Any, pixels: torch.Tensor, sizes: Sequence[Size]) -> dict[str, Any]:
        """Pixels of images as arguments of the model's `forward`."""
        return {"pixel_values": pixels}

    def vision_tower(self, model: PreTrainedModel) -> torch.nn.Module | None:
        """The network that looks at pixels."""
        return model.model.vision_tower

    @abstractmethod
    def feature_width(self, config: Any) -> int:
        """Values of one row of features."""

    @abstractmethod
    def features(
        self, model: PreTrainedModel, processor: Any, pixels: torch.Tensor, sizes: Sequence[Size]
    ) -> torch.Tensor:
        """What is stored of images: (image tokens of all, feature width), in the tower's dtype."""

    @abstractmethod
    def encoder_outputs(
        self, model: PreTrainedModel, processor: Any, features: torch.Tensor, sizes: Sequence[Size]
    ) -> dict[str, Any]:
        """Features of images as arguments of the model's `forward` and `generate`."""

    def token_grids(self, processor: Any, size: Size) -> list[TokenGrid] | None:
        """Where the tokens of an image of this size lie in it, in their order; None for a family that does not say."""
        return None

    def check_images(self, processor: Any, sizes: Sequence[Size]) -> str | None:
        """Why a row with these images cannot be read; None where it can."""
        return None


def arguments(inputs: dict[str, Any]) -> dict[str, Any]:
    """A batch's inputs as `forward` takes them: several axes of positions come first."""
    if "positions" not in inputs:
        return inputs
    rest = {name: value for name, value in inputs.items() if name != "positions"}
    return rest | {"position_ids": inputs["positions"].permute(2, 0, 1)}
