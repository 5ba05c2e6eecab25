"""Which tower computes features: ours in few passes where it fits, else the library's, compiled where that pays."""

from importlib.util import find_spec
from typing import Any

import torch

from workflow_scripts.core.command import Refused
from workflow_scripts.models.loading import Loaded

WORTH_COMPILING = 2000
"""Images from which on compiling the library's tower (half a minute) pays."""

FEW_PASSES = "in few passes"
FEW_PASSES_FLOAT8 = "in few passes, products in 8 bits"


def speed_up_tower(loaded: Loaded, images: int, *, fp8: bool) -> str:
    """Put the fastest tower that fits into the model; its name, for the log and the record of shards.

    Args:
        images: how many are to be computed.
        fp8: whether products are to be of 8-bit codes.

    Raises:
        Refused: they are to be, and the tower or the device does not fit.
    """
    family, base = loaded.family, loaded.base
    tower = family.vision_tower(base)
    reason = _unfit(loaded, fp8=fp8)
    if reason is None:
        from workflow_scripts.models.fused.vision.siglip import SiglipTower

        assert tower is not None
        (name,) = (name for name, module in base.named_modules() if module is tower)
        values = family.values_of_levels(loaded.processor)
        base.set_submodule(name, SiglipTower(tower, values, fp8=fp8))
        return FEW_PASSES_FLOAT8 if fp8 else FEW_PASSES
    if fp8:
        raise Refused(f"the model's vision_fp8 cannot be followed: {reason}; set it to false")
    if tower is not None and loaded.device.type == "cuda" and images >= WORTH_COMPILING and family.fixed_size:
        tower.compile(dynamic=False)
        return f"the library's, compiled ({reason})"
    return f"the library's ({reason})"


def takes_levels(loaded: Loaded) -> bool:
    """Whether the tower is given levels 0 to 255 of pixels (`Family.levels`), not their values."""
    return bool(getattr(loaded.family.vision_tower(loaded.base), "takes_levels", False))


def risen(loaded: Loaded) -> torch.Tensor | None:
    """One integer on the device, 1 where what the tower computed last is to be computed again; None where never."""
    tower: Any = loaded.family.vision_tower(loaded.base)
    return tower.risen if takes_levels(loaded) else None


def keep_greatest(loaded: Loaded) -> None:
    """Let attention keep the greatest score so far, since scores rose too far without it; say so."""
    tower: Any = loaded.family.vision_tower(loaded.base)
    tower.keep_greatest()
    print("vision tower: attention's scores rise by more than 2¹⁰⁰: the greatest so far is kept from here on")


def _unfit(loaded: Loaded, *, fp8: bool) -> str | None:
    """Why the tower is not computed in few passes, of 8-bit codes or not; None where it is."""
    if loaded.device.type != "cuda":
        return "few passes are for a GPU"
    if not loaded.family.fused_tower:
        return f"few passes are not for family {type(loaded.family).__name__}"
    if find_spec("triton") is None:
        return "Triton is not installed"
    from workflow_scripts.models.fused.vision.siglip import unfit

    tower = loaded.family.vision_tower(loaded.base)
    return "the model has no tower" if tower is None else unfit(tower, fp8=fp8)
