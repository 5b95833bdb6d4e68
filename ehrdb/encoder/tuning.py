"""Which of several exports of a model is fastest on this machine, by measurement."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from ehrdb.encoder import Encoder
from ehrdb.encoder.manifest import Precision
from ehrdb.encoder.runtime import CPU, CUDA, OPENVINO

CANDIDATES: dict[str, tuple[Precision, ...]] = {
    CPU: ("fp32", "int8", "int7"),
    CUDA: ("fp32", "bf16", "fp16"),
    OPENVINO: ("fp32",),
}
"""What is tried on each execution provider, the most exact first. OpenVINO has none of the integers' operators."""
DECODERS_ON_CUDA: tuple[Precision, ...] = ("bf16", "fp16")
"""ONNX Runtime has no CUDA kernel for decoders' attention at full precision."""
WORTH = 1.05
"""How much faster a less exact candidate has to be."""
SECONDS = 3.0
"""That each candidate is timed for, at least."""
TIMED_TEXTS, TIMED_CHARACTERS = 4, 4000


def candidates_on(provider: str, is_decoder: bool, known: Iterable[Precision] = ()) -> list[Precision]:
    """What is tried on this provider, and of what is at hand what it can run."""
    tried = dict.fromkeys((*CANDIDATES[provider], *known))
    return [each for each in tried if _can_run(provider, is_decoder, each)]


def _can_run(provider: str, is_decoder: bool, precision: Precision) -> bool:
    if provider == OPENVINO:
        return precision in CANDIDATES[OPENVINO]
    return provider != CUDA or not is_decoder or precision in DECODERS_ON_CUDA


def tokens_per_second(
    encoders: Mapping[Precision, Encoder], texts: Sequence[str], seconds: float = SECONDS
) -> dict[Precision, float]:
    """Speed of each on the longest of the texts: in turns, so that other load meets all of them; medians."""
    longest = [text[:TIMED_CHARACTERS] for text in sorted(texts, key=len)[-TIMED_TEXTS:]]
    speeds: dict[Precision, list[float]] = {precision: [] for precision in encoders}
    for encoder in encoders.values():
        encoder.encode(longest)
    ends = time.perf_counter() + seconds * len(encoders)
    while not all(speeds.values()) or time.perf_counter() < ends:
        for precision, encoder in encoders.items():
            started = time.perf_counter()
            tokens = int(encoder.encode(longest).token_counts.sum())
            speeds[precision].append(tokens / (time.perf_counter() - started))
    return {precision: median(measured) for precision, measured in speeds.items()}


def fastest(speeds: Mapping[Precision, float]) -> Precision:
    """The fastest; of those in the order given, an earlier one where a later one is not worth it."""
    chosen, *others = speeds
    for precision in others:
        if speeds[precision] > WORTH * speeds[chosen]:
            chosen = precision
    return chosen
