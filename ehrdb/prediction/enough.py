"""How many labels of each class a head needs before its probabilities mean anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ehrdb.errors import TrainingError

LEAST = {"train": 10, "val": 5}
"""Positive labels, and as many negative ones, for each split that a head is made from."""


@dataclass(frozen=True)
class Supply:
    """What one head has to learn from: per split its labels and how many of them are positive."""

    what: str
    labels: Mapping[str, int]
    positives: Mapping[str, int]

    @property
    def base_rate(self) -> float:
        """The share of positive labels, of all splits together."""
        return sum(self.positives.values()) / sum(self.labels.values())

    @property
    def short(self) -> list[str]:
        """Splits with too few labels of a class."""
        return [split for split, least in LEAST.items() if self._rarer(split) < least]

    @property
    def lone(self) -> list[str]:
        """Splits with labels of one class only."""
        return [split for split in LEAST if self._rarer(split) == 0]

    def counts(self, splits: Iterable[str]) -> str:
        """In words, for a message."""
        return ", ".join(f"{self.positives[split]} of {self.labels[split]} {split} labels positive" for split in splits)

    def _rarer(self, split: str) -> int:
        return min(self.positives[split], self.labels[split] - self.positives[split])


def require_enough(supplies: Iterable[Supply], *, accept_few: bool) -> None:
    """Raise TrainingError that names every head that would be made from one class, or from few labels of one."""
    supplies = list(supplies)
    for supply in supplies:
        if supply.lone:
            raise TrainingError(
                f"{supply.what}: labels of one class only ({supply.counts(supply.lone)})",
                hint="Load more patients, or choose another task (`ehrdb label` shows counts).",
            )
    short = [f"{supply.what} ({supply.counts(supply.short)})" for supply in supplies if supply.short]
    if short and not accept_few:
        least = " and ".join(f"{count} in {split}" for split, count in LEAST.items())
        raise TrainingError(
            f"too few labels of a class: {'; '.join(short)}",
            hint=f"A head needs {least} of each class. Load more patients, or train it nevertheless: --accept-few",
        )
