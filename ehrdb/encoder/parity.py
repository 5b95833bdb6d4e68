"""Is the export the same model? Figures on sample texts, and the gate they must pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ehrdb.encoder import Encoded, Encoder
from ehrdb.encoder.manifest import Parity, Precision
from ehrdb.encoder.pooling import Floats
from ehrdb.errors import QualityGateFailed

CONDITIONS = (
    *("Essential hypertension", "Type 2 diabetes mellitus", "Heart failure", "Asthma", "Atrial fibrillation"),
    *("Chronic kidney disease stage 3", "Hyperlipidemia", "Osteoarthritis of knee", "Migraine", "Psoriasis"),
    *("Community acquired pneumonia", "Urinary tract infection", "Fracture of neck of femur", "Epilepsy"),
    *("Malignant neoplasm of breast", "Cirrhosis of liver", "Hypothyroidism", "Major depressive disorder"),
)
DRUGS = (
    *("Lisinopril 10 MG Oral Tablet", "Metformin 500 MG Oral Tablet", "Furosemide 40 MG Oral Tablet"),
    *("Simvastatin 20 MG", "Insulin glargine 100 UNT/ML", "Warfarin sodium 5 MG", "Amoxicillin 500 MG"),
)
LABS = (
    *("Hemoglobin (g/dL)", "Creatinine (mg/dL)", "Glucose (mg/dL)", "Sodium (mmol/L)", "Potassium (mmol/L)"),
    *("Platelets (10*9/L)", "Body weight (kg)", "Systolic blood pressure (mmHg)", "Heart rate (/min)"),
)


LENGTH_ERROR = 0.1
"""Of any vector at most, at any precision: a Normalize module that was misread makes more of it."""
SAMPLE_CHARACTERS = 1000
LONG_SAMPLE_CHARACTERS = 8000
"""Of the texts in a comparison, and of the longest one: PyTorch on a CPU would take hours for whole ones."""


@dataclass(frozen=True)
class Reference:
    """The original's vectors of some texts, and the seconds that it took for them."""

    texts: list[str]
    vectors: Floats
    seconds: float


def reference(original: Encoder, texts: Sequence[str]) -> Reference:
    """What to compare exports with."""
    encoded, seconds = _timed(original, list(texts))
    return Reference(list(texts), encoded.vectors, seconds)


def measure(exported: Encoder, wanted: Reference, positions: Sequence[int] = ()) -> Parity:
    """Compare vectors on the reference's texts, or on those of them at `positions`."""
    chosen = list(positions) or list(range(len(wanted.texts)))
    texts, vectors = [wanted.texts[i] for i in chosen], wanted.vectors[chosen]
    got, seconds = _timed(exported, texts)
    tokens = int(got.token_counts.sum())
    share = sum(map(len, texts)) / sum(map(len, wanted.texts))
    return _figures(got.vectors, vectors, tokens / seconds, tokens / (share * wanted.seconds))


def compare_vectors(exported: Encoder, texts: Sequence[str], wanted: Floats) -> Parity:
    """Compare with vectors that the original gave for these texts earlier, elsewhere: its speed is unknown."""
    got, seconds = _timed(exported, list(texts))
    return _figures(got.vectors, wanted, int(got.token_counts.sum()) / seconds, None)


def passes(parity: Parity, precision: Precision) -> bool:
    """The gate: how near to the original an export of this precision has to be."""
    if parity.length_error > LENGTH_ERROR:
        return False
    if precision == "fp32":
        return parity.min_cosine >= 0.9999
    if precision in ("fp16", "bf16"):
        return parity.mean_cosine >= 0.999
    return parity.mean_cosine >= 0.99 and parity.overlap_at_10 >= 0.9


def require_quality(parity: Parity, precision: Precision, accept_loss: bool) -> Parity:
    """Pass the figures on, marked where a loss was accepted; raise QualityGateFailed where it was not."""
    if passes(parity, precision):
        return parity
    if not accept_loss:
        raise QualityGateFailed(
            f"the {precision} export differs from the original: mean cosine {parity.mean_cosine:.5f}, minimum "
            f"{parity.min_cosine:.5f}, neighbour overlap@10 {parity.overlap_at_10:.3f}, lengths differ by up to "
            f"{parity.length_error:.1%} on {parity.texts} texts",
            hint="Choose another --precision, or register it marked with --accept-quality-loss.",
        )
    return parity.model_copy(update={"is_accepted_loss": True})


def _figures(got: Floats, wanted: Floats, speed: float, original_speed: float | None) -> Parity:
    cosines = np.sum(_unit(got) * _unit(wanted), axis=1)
    lengths, wanted_lengths = (np.linalg.norm(vectors, axis=1) for vectors in (got, wanted))
    return Parity(
        texts=len(got),
        mean_cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
        length_error=float(np.abs(lengths / wanted_lengths - 1).max()),
        overlap_at_10=overlap(got, wanted),
        tokens_per_second=speed,
        original_tokens_per_second=original_speed,
    )


def overlap(a: Floats, b: Floats, k: int = 10) -> float:
    """Share of each text's k nearest neighbours under `a` that are so under `b` too (k < number of texts)."""
    k = min(k, len(a) - 1)
    if k < 1:
        return 1.0
    near_a, near_b = _neighbours(a, k), _neighbours(b, k)
    return float(np.mean([len(set(x) & set(y)) / k for x, y in zip(near_a, near_b, strict=True)]))


def made_up_texts(count: int = 32) -> list[str]:
    """Records of 1 to 300 lines in the default format, for a database without patients."""
    return [_record(np.random.default_rng(seed), lines=1 + seed * 300 // count) for seed in range(count)]


def shortened(texts: list[str]) -> list[str]:
    """Each text's first SAMPLE_CHARACTERS, the longest one's LONG_SAMPLE_CHARACTERS."""
    longest = max(range(len(texts)), key=lambda i: len(texts[i]))
    return [text[: LONG_SAMPLE_CHARACTERS if i == longest else SAMPLE_CHARACTERS] for i, text in enumerate(texts)]


def _record(random: np.random.Generator, lines: int) -> str:
    """Conditions and drugs that this patient has, each with its own share, and labs with values."""
    named = [*random.choice(CONDITIONS, 6), *random.choice(DRUGS, 3)]
    measured = random.choice(LABS, 4)
    labs = [f"{random.choice(measured)}: {random.integers(2, 180)}" for _ in range(lines)]
    return "\n".join(str(line) for line in random.permutation([*named, *labs])[:lines])


def _timed(encoder: Encoder, texts: list[str]) -> tuple[Encoded, float]:
    encoder.encode(texts[:1])
    started = time.perf_counter()
    return encoder.encode(texts), time.perf_counter() - started


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _neighbours(vectors: Floats, k: int) -> list[list[int]]:
    similarity = _unit(vectors) @ _unit(vectors).T
    np.fill_diagonal(similarity, -2)
    nearest: list[list[int]] = np.argsort(-similarity, axis=1, kind="stable")[:, :k].tolist()
    return nearest
