"""Threads of torch on the CPU, so that a result has the same bits on each run."""

import torch

TORCH_THREADS = 2
"""Threads where their number changes the bits of a result.

Sums taken in another order are other sums, and a long training makes another model of them: the cores that a run was
given (`snakemake --cores`) must not decide. On a machine of one core the two threads take turns.
"""

_VECTORISED = (
    *("acos", "asin", "atan", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2"),
    *("rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh"),
)


def use_threads(count: int) -> None:
    """Let torch use `count` threads, after one thread alone has called each function of MKL's vector library.

    Where two threads make the first such call of a process at once, one of them may get a variant of low accuracy: on
    two busy cores, a process in 240 took square roots that were wrong in the fifth digit (torch 2.13, MKL), and with
    them a first step of AdamW.
    """
    for dtype in (torch.float32, torch.float64):
        few = torch.full((1024,), 0.5, dtype=dtype)
        for name in _VECTORISED:
            getattr(torch, name)(few)
    torch.set_num_threads(count)
