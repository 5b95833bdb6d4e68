"""A MEDS data set's files: whose rows stand in which, and who is otherwise than at the last load."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

Digests = pl.DataFrame
"""patient_id; digest: hexadecimal, of the files that hold the patient, in their order, and of the split."""


@dataclass(frozen=True)
class Shard:
    """A file. `subjects`: each once; `has_nobody`: a row says of nobody whose it is, or there is none."""

    digest: bytes
    subjects: pl.Series
    has_nobody: bool


@dataclass(frozen=True)
class Shards:
    """The files in the order in which they are read."""

    by_file: Mapping[Path, Shard]

    @property
    def files(self) -> list[Path]:
        """All."""
        return list(self.by_file)

    def subjects(self) -> pl.Series:
        """Everybody, in order."""
        return pl.concat([shard.subjects for shard in self.by_file.values()]).unique().sort()

    def holding(self, subjects: pl.Series) -> list[Path]:
        """The files with rows of one of these, or of nobody: whoever meets those refuses them."""
        wanted = subjects.implode()
        return [
            file for file, shard in self.by_file.items() if shard.has_nobody or bool(shard.subjects.is_in(wanted).any())
        ]

    def digests(self, low: int, high: int, splits: pl.DataFrame) -> Digests:
        """Of the subjects `low` to `high`; `splits` has subject_id and split."""
        rows = [
            shard.subjects.filter(shard.subjects.is_between(low, high))
            .to_frame("patient_id")
            .with_columns(shard=number)
            for number, shard in enumerate(self.by_file.values())
        ]
        of_patient = pl.concat(rows).group_by("patient_id").agg(pl.col("shard").sort())
        of_patient = of_patient.join(splits, left_on="patient_id", right_on="subject_id", how="left")
        kinds = of_patient.select("shard", "split").unique()
        digests = [self._digest(shards, split) for shards, split in kinds.iter_rows()]
        kinds = kinds.with_columns(pl.Series("digest", digests, pl.String))
        return of_patient.join(kinds, on=["shard", "split"], nulls_equal=True).select("patient_id", "digest")

    def _digest(self, shards: Iterable[int], split: str | None) -> str:
        all_digests = [shard.digest for shard in self.by_file.values()]
        digest = hashlib.sha256(repr(split).encode())
        for number in shards:
            digest.update(all_digests[number])
        return digest.hexdigest()
