"""AUROC, AUPRC and Brier score with intervals from a bootstrap over patients.

Every replicate weights a row by how often its patient was drawn. All replicates share one sort of the scores:
the rows become a sparse matrix (steps of the ranking x patients), and its product with the drawing counts
(patients x replicates) gives the weight of every step in every replicate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ehrdb.prediction.bootstrap import Drawing, Estimate, Floats, Integers, estimate

_CELLS = 60_000  # step weights worked on at once: half a megabyte, reused by the allocator and kept in cache


@dataclass(frozen=True)
class Metrics:
    """The three metrics of one test set."""

    auroc: Estimate
    auprc: Estimate
    brier: Estimate


def measure(labels: Integers, probabilities: Floats, drawing: Drawing) -> Metrics:
    """The metrics of a test set. Shapes: labels of 0 and 1, probabilities (rows,)."""
    ranking = Ranking.of(labels, probabilities, drawing.patient, len(drawing.counts))
    auroc, auprc = ranking.auroc_auprc(drawing.counts)
    brier = _brier(labels, probabilities, drawing)
    return Metrics(estimate(auroc), estimate(auprc), estimate(brier))


@dataclass(frozen=True)
class Ranking:
    """One sort of a test set, ready to be weighted.

    A step is a distinct score that some positive row has. `positive` (steps, patients) counts the positives
    at each step. `negative` (steps + 1, patients) counts the negatives scored at or above the step and below
    the one before it, the last row those below every positive. `tied` counts the negatives at exactly the
    step's score.
    """

    positive: csr_matrix
    negative: csr_matrix
    tied: csr_matrix

    @classmethod
    def of(cls, labels: Integers, scores: Floats, patient: Integers, patients: int) -> Ranking:
        """Rank rows; `patient` is each row's index among so many patients."""
        order = np.argsort(-scores, kind="stable")
        score, positive, patient = scores[order], labels[order] == 1, patient[order]
        group = np.cumsum(np.append(0, np.diff(score) != 0))
        is_step = np.zeros(group[-1] + 1, dtype=bool)
        is_step[group[positive]] = True
        step = (np.cumsum(is_step) - is_step)[group]
        tied = ~positive & is_step[group]
        steps = int(is_step.sum())

        def count(rows: NDArray[np.bool_], height: int) -> csr_matrix:
            return csr_matrix((np.ones(rows.sum()), (step[rows], patient[rows])), shape=(height, patients))

        return cls(count(positive, steps), count(~positive, steps + 1), count(tied, steps))

    def auroc(self, counts: Floats) -> Floats:
        """AUROC under every column of counts (patients, columns); NaN where a class has no weight."""
        return self.auroc_auprc(counts)[0]

    def auroc_auprc(self, counts: Floats) -> tuple[Floats, Floats]:
        """AUROC and average precision under every column of counts, as scikit-learn's `sample_weight`."""
        width = min(256, max(8, _CELLS // self.positive.shape[0]))
        parts = [
            self._columns(np.ascontiguousarray(counts[:, start : start + width]))
            for start in range(0, counts.shape[1], width)
        ]
        auroc, auprc = (np.concatenate(part) for part in zip(*parts, strict=True))
        return auroc, auprc

    def _columns(self, counts: Floats) -> tuple[Floats, Floats]:
        positive, negative = self.positive @ counts, self.negative @ counts
        positives, negatives = positive.sum(axis=0), negative.sum(axis=0)
        all_pairs = positives * negatives
        above = np.cumsum(negative[:-1], axis=0, out=negative[:-1])
        pairs = all_pairs - np.einsum("ij,ij->j", positive, above)
        if self.tied.nnz:
            pairs += np.einsum("ij,ij->j", positive, self.tied @ counts) / 2
        auroc = np.divide(pairs, all_pairs, out=np.full_like(pairs, np.nan), where=all_pairs > 0)
        precision = np.cumsum(positive, axis=0)
        # Weights are whole numbers: a step without any has precision 0, as in scikit-learn.
        precision /= np.maximum(np.add(precision, above, out=above), 1, out=above)
        return auroc, np.einsum("ij,ij->j", positive, precision) / np.maximum(positives, 1)


def _brier(labels: Integers, probabilities: Floats, drawing: Drawing) -> Floats:
    patients = len(drawing.counts)
    error = np.bincount(drawing.patient, (labels - probabilities) ** 2, patients)
    rows = np.bincount(drawing.patient, minlength=patients)
    return np.asarray((error @ drawing.counts) / (rows @ drawing.counts))
