"""The Qwen3.5 family: most language layers keep a state instead of keys and values, so that the library decodes."""

from typing import Any

import torch
from transformers import PreTrainedModel, Qwen3_5ForConditionalGeneration

from workflow_scripts.models.families.family import language_targets
from workflow_scripts.models.families.qwen3_vl import QwenVL

_LINEAR_ATTENTION = "in_proj_qkv|in_proj_z|in_proj_a|in_proj_b|out_proj"
_ATTENTION = f"q_proj|k_proj|v_proj|o_proj|{_LINEAR_ATTENTION}"


class Qwen35(QwenVL):
    """The model counts positions itself, from token types and the images' grids."""

    model_class = Qwen3_5ForConditionalGeneration
    lora_targets = language_targets("language_model", _ATTENTION, f"{_ATTENTION}|gate_proj|up_proj|down_proj")
    library_decoding = True

    def text_inputs(self, processor, ids, mask, sizes, prompt_lengths=None) -> dict[str, torch.Tensor]:
        """Token types: 1 where a token is an image's."""
        return {"mm_token_type_ids": (ids == self.image_token_id(processor)).int()}

    def encoder_outputs(self, model: PreTrainedModel, processor, features, sizes) -> dict[str, Any]:
        outputs = super().encoder_outputs(model, processor, features, sizes)
        return outputs | {"image_grid_thw": self.grids(processor, sizes, features.device)}


FAMILY = Qwen35()
