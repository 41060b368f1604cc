"""What training computes in: bfloat16 where the processor multiplies it, with weights in fp32 (mixed precision; Micikevicius et al. 2018)."""

from functools import cache
from pathlib import Path
from typing import Any

import torch


@cache
def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX512_BF16 or AMX): without, autocast is slower than fp32."""
    info = Path("/proc/cpuinfo")
    return info.exists() and any(flag in info.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def autocast() -> Any:
    """The context in which a network is asked while it is trained."""
    return torch.autocast("cpu", torch.bfloat16, enabled=has_bf16())
