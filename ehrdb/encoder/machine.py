"""The processor of this machine: what decides which kind of arithmetic is fastest on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from ehrdb.encoder.manifest import Machine

FLAGS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("asimddp", "i8mm", "bf16", "sve"),
)
"""As Linux names them: products of 8-bit integers (VNNI, AMX, ARM's dot products) and of bfloat16."""
EXACT = {"avx_vnni", "avx512_vnni", "amx_int8"}
"""With one of these, x86 adds products of 8-bit integers in 32 bits; without, pairs of them in 16, which overflow."""


def this_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """Name, instructions that matter and usable cores; without /proc (macOS) no instructions are known."""
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = set((told.get("flags") or told.get("Features") or "").split())
    return Machine(
        processor=told.get("model name") or platform.processor() or platform.machine(),
        flags=tuple(flag for flag in FLAGS if flag in known),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def adds_exactly(machine: Machine) -> bool:
    """Whether ONNX Runtime's fastest products of 8-bit integers are exact there; its other way takes any processor."""
    return not EXACT.isdisjoint(machine.flags)


def same_kind(one: Machine, other: Machine) -> bool:
    """Whether what was fastest on one is likely so on the other."""
    return (one.processor, one.flags) == (other.processor, other.flags)
