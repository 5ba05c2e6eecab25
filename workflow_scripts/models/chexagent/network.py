"""CheXagent-2's network from transformers' own parts: a SigLIP tower, a projector, a Phi language model.

The checkpoint's own code needs an old release of transformers and is never imported. Its parts: the tower's last
block, before the norm behind it; a fixed sine for each patch's place; two linear layers, a norm and a square matrix;
one token a patch, which takes the place of an image token (Chen et al., 2024, arXiv:2401.12208).
"""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import GenerationMixin, PhiModel, PreTrainedModel, SiglipVisionModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling, CausalLMOutputWithPast

from workflow_scripts.models.chexagent.configuration import CheXagentConfig

PUBLISHED = {
    r"^model\.visual\.model\.": "model.vision_tower.",
    r"^model\.visual\.pos_embed": "model.multi_modal_projector.positions",
    r"^model\.visual\.attn_pool\.0\.": "model.multi_modal_projector.linear_1.",
    r"^model\.visual\.attn_pool\.2\.": "model.multi_modal_projector.linear_2.",
    r"^model\.visual\.ln_post\.": "model.multi_modal_projector.norm.",
    r"^model\.visual\.proj": "model.multi_modal_projector.projection",
    r"^model\.embed_tokens\.": "model.language_model.embed_tokens.",
    r"^model\.layers\.": "model.language_model.layers.",
    r"^model\.final_layernorm\.": "model.language_model.final_layernorm.",
}
"""Names of the published checkpoint's tensors, as regular expressions, and what takes their place here."""

EXPANSION = 4
"""Width of the projector's hidden layer over that of its output."""


def grid_positions(side: int, width: int) -> torch.Tensor:
    """Sines and cosines of the patches' places, row by row: (side × side, width), float32.

    The first half of the values says the column, the second half the row; each half is sin(p ω_i), then cos(p ω_i)
    with ω_i = 10000^(−i / n), i = 0 … n − 1, n = width / 4 (as in He et al., 2022, arXiv:2111.06377).
    """
    quarter = width // 4
    speeds = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * speeds
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = line[None, :].expand(side, -1, -1)
    rows = line[:, None].expand(-1, side, -1)
    return torch.cat([columns, rows], dim=-1).reshape(side * side, width).float()


class Tower(SiglipVisionModel):
    """A SigLIP tower whose output is its last block's; the norm and the head behind it are loaded and not used."""

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """(images, patches, width) of pixels (images, 3, side, side)."""
        return self.encoder(inputs_embeds=self.embeddings(pixel_values), **kwargs)


class Projector(nn.Module):
    """From a patch's features to a token's embedding: LayerNorm(MLP(x + position)) · projection."""

    def __init__(self, config: CheXagentConfig) -> None:
        super().__init__()
        width, out = config.vision_config.hidden_size, config.text_config.hidden_size
        self.side = config.vision_config.image_size // config.vision_config.patch_size
        self.positions = nn.Parameter(torch.zeros(self.side**2, width), requires_grad=False)
        self.linear_1 = nn.Linear(width, EXPANSION * out)
        self.act = ACT2FN["gelu"]
        self.linear_2 = nn.Linear(EXPANSION * out, out)
        self.norm = nn.LayerNorm(out, eps=1e-6)
        self.projection = nn.Parameter(torch.zeros(out, out))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(images, patches, language width) of the tower's (images, patches, vision width)."""
        hidden = self.linear_2(self.act(self.linear_1(features + self.positions)))
        return self.norm(hidden) @ self.projection


class CheXagentPreTrainedModel(PreTrainedModel):
    """What the two models below tell transformers."""

    config_class = CheXagentConfig
    config: CheXagentConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["PhiDecoderLayer", "SiglipEncoderLayer", "Projector"]
    _skip_keys_device_placement: ClassVar = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Projector):
            init.copy_(module.positions, grid_positions(module.side, module.positions.shape[1]))
            init.normal_(module.projection, std=len(module.projection) ** -0.5)


class CheXagentModel(CheXagentPreTrainedModel):
    """The tower, the projector and the language model without its head."""

    def __init__(self, config: CheXagentConfig) -> None:
        super().__init__(config)
        self.vision_tower = Tower._from_config(config.vision_config)
        self.multi_modal_projector = Projector(config)
        self.language_model = PhiModel._from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Features of images before the projector (`last_hidden_state`) and behind it (`pooler_output`)."""
        hidden = self.vision_tower(pixel_values).last_hidden_state
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=self.multi_modal_projector(hidden))

    def embed(self, input_ids: torch.Tensor, images: torch.Tensor | None) -> torch.Tensor:
        """Embeddings of tokens, those of images in the places of image tokens, in their order.

        Args:
            input_ids: (rows, tokens).
            images: projected features (images, patches, width); None where there are none.

        Raises:
            ValueError: there are more or fewer image tokens than patches.
        """
        embeddings = self.get_input_embeddings()(input_ids)
        if images is None:
            return embeddings
        places = input_ids == self.config.image_token_id
        patches = images.reshape(-1, images.shape[-1]).to(embeddings)
        if int(places.sum()) != len(patches):
            raise ValueError(f"{int(places.sum())} image tokens for {len(patches)} patches of images")
        return embeddings.masked_scatter(places[..., None], patches)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The language model's output for tokens and images.

        Args:
            pixel_values: (images, 3, side, side).
            mm_encoder_outputs: `get_image_features` of the images under "image", instead of their pixels.

        Raises:
            ValueError: images are given twice, or not as many as there are places for.
        """
        if pixel_values is not None and mm_encoder_outputs is not None:
            raise ValueError("images are given as pixels and as features; give one of them")
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("expected either input_ids or inputs_embeds")
        if inputs_embeds is None:
            encoded = (mm_encoder_outputs or {}).get("image")
            if pixel_values is not None:
                encoded = self.get_image_features(pixel_values)
            inputs_embeds = self.embed(input_ids, None if encoded is None else encoded.pooler_output)
        return self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )


class CheXagentForConditionalGeneration(CheXagentPreTrainedModel, GenerationMixin):
    """CheXagent-2 with its head over the vocabulary."""

    def __init__(self, config: CheXagentConfig) -> None:
        super().__init__(config)
        self.model = CheXagentModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_decoder(self) -> nn.Module:
        return self.model.language_model

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `CheXagentModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (rows, tokens, vocabulary), and the mean loss of `labels` where they are given.

        Args:
            labels: (rows, tokens), −100 where nothing is learned.
            logits_to_keep: so many last tokens' logits, or those at these places; 0 for all.
        """
        out = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        places = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, places])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


register_checkpoint_conversion_mapping(
    CheXagentConfig.model_type,
    [WeightRenaming(source_patterns=name, target_patterns=place) for name, place in PUBLISHED.items()],
)
