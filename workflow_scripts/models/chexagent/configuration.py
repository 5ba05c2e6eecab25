"""The configuration of CheXagent-2, in this module's nested form and in the flat one of the published checkpoint."""

from typing import Any, ClassVar

from transformers import AutoConfig, PhiConfig, PreTrainedConfig, SiglipVisionConfig
from transformers.configuration_utils import SubConfigSpec

VIT_L_16 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 16,
    "image_size": 512,
}
"""XraySigLIP ViT-L/16, whose shape the published configuration leaves to another repository."""

OF_THE_WHOLE = ("architectures", "auto_map", "dtype", "model_type", "torch_dtype", "transformers_version", "visual")
"""Keys of the published configuration that say nothing about the language model."""


class CheXagentConfig(PreTrainedConfig):
    """A SigLIP tower, a projector that follows from both widths, and a Phi language model."""

    model_type = "chexagent"
    sub_configs_defaults: ClassVar = {
        "vision_config": SubConfigSpec(config_class=SiglipVisionConfig, init_kwargs=VIT_L_16),
        "text_config": SubConfigSpec(config_class=PhiConfig),
    }

    vision_config: Any = None
    text_config: Any = None
    image_token_id: int | None = None
    """The token whose places images take; the published configuration leaves it to the tokenizer."""
    tie_word_embeddings: bool = False

    @property
    def image_tokens(self) -> int:
        """Tokens of an image: one a patch."""
        return (self.vision_config.image_size // self.vision_config.patch_size) ** 2

    @property
    def most_images(self) -> int:
        """Images whose tokens the language model's context holds."""
        return self.text_config.max_position_embeddings // self.image_tokens

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "CheXagentConfig":
        """A configuration from either form.

        Raises:
            ValueError: it is of CheXagent's first version, or its projector ends in another width than the language
                model has.
        """
        return super().from_dict(nested(config_dict), **kwargs)


def nested(published: dict[str, Any]) -> dict[str, Any]:
    """The published configuration (Phi's keys, and `visual`) as this module's; one that is nested stays as it is.

    Raises:
        ValueError: see `CheXagentConfig.from_dict`.
    """
    if "qformer_config" in published:
        raise ValueError("this is CheXagent's first version, another architecture; expected CheXagent-2")
    if "visual" not in published:
        return published
    visual, width = published["visual"], published.get("hidden_size")
    if visual.get("output_dim", width) != width:
        raise ValueError(f"visual.output_dim is {visual['output_dim']}, hidden_size {width}; expected one width")
    return {
        **{key: value for key, value in published.items() if key in ("dtype", "torch_dtype")},
        "text_config": {key: value for key, value in published.items() if key not in OF_THE_WHOLE},
        "vision_config": VIT_L_16 | {"image_size": visual.get("image_size", VIT_L_16["image_size"])},
    }


AutoConfig.register(CheXagentConfig.model_type, CheXagentConfig)
