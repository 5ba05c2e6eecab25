"""The Qwen2.5-VL family: as Qwen3-VL, without features of earlier vision layers."""

from transformers import Qwen2_5_VLForConditionalGeneration

from workflow_scripts.models.families.qwen3_vl import QwenVL


class Qwen25VL(QwenVL):
    """ChatML with a system turn of its own where none is given."""

    model_class = Qwen2_5_VLForConditionalGeneration


FAMILY = Qwen25VL()
