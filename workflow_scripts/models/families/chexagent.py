"""The CheXagent family: CheXagent-2 for chest X-rays, from transformers' own parts.

Its published code needs an old release of transformers; the network is `models.chexagent`. Images are squashed to a
square; each patch is a token. Features are stored before the projector, whose output is two and a half times as wide.
"""

from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.saliency.grids import TokenGrid, whole_image
from workflow_scripts.models.chexagent.configuration import CheXagentConfig
from workflow_scripts.models.chexagent.network import CheXagentForConditionalGeneration
from workflow_scripts.models.chexagent.processor import END, CheXagentProcessor, parts_of, read_processor
from workflow_scripts.models.families.family import Chat, Family, Size, language_targets
from workflow_scripts.models.markup import chat_ids

ATTENTION = "q_proj|k_proj|v_proj|dense"


class CheXagent(Family):
    """ChatML-like turns without a BOS; at most two images fill the published checkpoint's context."""

    model_class = CheXagentForConditionalGeneration
    keep_unquantised = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
    lora_targets = language_targets("language_model", ATTENTION, f"{ATTENTION}|fc1|fc2")

    def load_processor(self, folder: Path) -> CheXagentProcessor:
        return read_processor(folder)

    def load_model(self, folder: Path, **options: Any) -> CheXagentForConditionalGeneration:
        """The network of a checkpoint, published or saved here.

        Raises:
            BadFile: a tensor is missing, left over, or of another shape.
        """
        model, report = CheXagentForConditionalGeneration.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        for fault, names in report.items():
            if names:
                shown = ", ".join(sorted(map(str, names))[:3])
                raise BadFile(f"{folder} is not CheXagent-2: {fault.replace('_', ' ')}: {shown}; download it again")
        processor = read_processor(folder)
        model.config.image_token_id = processor.image_token_id
        tokenizer = processor.tokenizer
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        return model

    def image_token_id(self, processor: CheXagentProcessor) -> int:
        return processor.image_token_id

    def image_tokens(self, processor: CheXagentProcessor, size: Size) -> int:
        return processor.image_tokens

    def token_grids(self, processor: CheXagentProcessor, size: Size) -> list[TokenGrid]:
        side = isqrt(self.image_tokens(processor, size))
        return [whole_image(side, side, size)]

    def bos_place(self, processor: CheXagentProcessor, sizes: Sequence[Size]) -> None:
        return None

    def end_of_answer(self, processor: CheXagentProcessor) -> str:
        return END

    def prompt_ids(self, processor: CheXagentProcessor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        """See `Family.prompt_ids`.

        Raises:
            Refused: there are more images than the context holds.
        """
        if (fault := self.check_images(processor, sizes)) is not None:
            question = next(part["text"] for part in parts_of(chat[-1]["content"]) if part["type"] == "text")
            raise Refused(
                f"the row that asks {question[:80]!r} has {fault}: leave its subset out by `splits.NAME.only`"
            )
        return chat_ids(processor.tokenizer, chat, processor.prompt)

    def check_images(self, processor: CheXagentProcessor, sizes: Sequence[Size]) -> str | None:
        if len(sizes) <= processor.most_images:
            return None
        return (
            f"{len(sizes)} images of {processor.image_tokens:,} tokens; expected at most {processor.most_images}, "
            "which fill CheXagent's context"
        )

    def context(self, config: Any) -> None:
        """Two images alone fill the published checkpoint's context, and it was trained on them: see `check_images`."""
        return None

    def pixels(self, processor: CheXagentProcessor, image: Image.Image) -> torch.Tensor:
        return processor.image_processor([image], return_tensors="pt")["pixel_values"]

    def feature_width(self, config: CheXagentConfig) -> int:
        return config.vision_config.hidden_size

    def features(self, model: CheXagentForConditionalGeneration, processor, pixels, sizes) -> torch.Tensor:
        return model.model.vision_tower(pixels).last_hidden_state.flatten(0, 1)

    def encoder_outputs(self, model: CheXagentForConditionalGeneration, processor, features, sizes) -> dict[str, Any]:
        patches = features.view(len(sizes), -1, features.shape[-1])
        projected = model.model.multi_modal_projector(patches)
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=projected)}}


FAMILY = CheXagent()
