"""Choosing a precision by measurement, and the machine that it was measured on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ehrdb.encoder import Encoded
from ehrdb.encoder.machine import adds_exactly, same_kind, this_machine
from ehrdb.encoder.manifest import Machine, Manifest, Precision, Tuning
from ehrdb.encoder.runtime import BatchingEncoder, open_batching
from ehrdb.encoder.tuning import TIMED_CHARACTERS, TIMED_TEXTS, fastest, tokens_per_second
from ehrdb.testing import FakeEncoder

X86 = "model name\t: Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n"


@pytest.mark.parametrize(
    ("told", "flags"), [(X86, ("avx2", "avx512f", "avx512_vnni")), (ARM, ("asimddp", "i8mm")), ("", ())]
)
def test_a_machine_is_its_processor_and_the_instructions_that_matter(
    tmp_path: Path, told: str, flags: tuple[str, ...]
) -> None:
    (tmp_path / "cpuinfo").write_text(told)

    machine = this_machine(tmp_path / "cpuinfo")

    assert machine.flags == flags
    assert machine.processor
    assert machine.cores >= 1


@pytest.mark.parametrize(
    ("flags", "exact"),
    [("avx2 avx512f", False), ("avx2 avx_vnni", True), ("avx512f avx512_vnni", True), ("amx_int8", True), ("", False)],
)
def test_products_of_integers_take_the_slower_way_only_where_the_fast_one_overflows(
    flags: str, exact: bool, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name: One\nflags: {flags}\n")

    assert adds_exactly(this_machine(tmp_path / "cpuinfo")) is exact


def test_more_cores_do_not_make_another_kind_of_machine() -> None:
    small, large = (Machine(processor="Xeon", flags=("avx2",), cores=cores) for cores in (2, 64))

    assert same_kind(small, large)
    assert not same_kind(small, small.model_copy(update={"flags": ("avx2", "avx512_vnni")}))


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({"fp32": 100, "int8": 150, "int7": 200}, "int7"),
        ({"fp32": 100, "int8": 150, "int7": 155}, "int8"),
        ({"fp32": 100, "int8": 90}, "fp32"),
        ({"int8": 10}, "int8"),
    ],
)
def test_the_fastest_wins_and_a_less_exact_one_only_where_it_is_worth_it(
    speeds: dict[Precision, float], chosen: Precision
) -> None:
    assert fastest(speeds) == chosen


def test_candidates_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("ehrdb.encoder.tuning.time.perf_counter", lambda: clock.now)
    encoders = {"fp32": Slow("fp32", 4, clock), "int8": Slow("int8", 1, clock)}

    speeds = tokens_per_second(encoders, ["one two", "three four five"], seconds=20)  # type: ignore[arg-type]

    assert speeds == {"fp32": 5 / 4, "int8": 5 / 1}
    assert clock.order == ["fp32", "int8"] * 9  # once to warm up, then eight times five seconds


def test_long_texts_are_cut_for_timing() -> None:
    encoder = FakeEncoder()

    tokens_per_second({"fp32": encoder}, ["short", *(str(i) * 9000 for i in range(TIMED_TEXTS))], seconds=0)

    assert {len(text) for text in encoder.seen} == {TIMED_CHARACTERS}


def test_the_runtime_says_where_it_runs_on_another_kind_of_processor(
    minilm: BatchingEncoder, minilm_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Machine(processor="another", flags=(), cores=2)

    with caplog.at_level(logging.WARNING):
        open_batching(minilm_directory, _tuned(minilm.manifest, elsewhere))

    assert "another kind of processor" in caplog.text
    assert "ehrdb encoder tune minilm" in caplog.text


def test_the_runtime_is_silent_on_the_machine_it_was_tuned_on(
    minilm: BatchingEncoder, minilm_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        open_batching(minilm_directory, _tuned(minilm.manifest, this_machine()))

    assert not caplog.text


def test_figures_do_not_make_another_encoder(minilm: BatchingEncoder) -> None:
    assert _tuned(minilm.manifest, this_machine()).digest == minilm.manifest.digest


def _tuned(manifest: Manifest, machine: Machine) -> Manifest:
    return manifest.model_copy(update={"tuning": Tuning(machine=machine, providers=("CPU",), candidates=())})


@dataclass
class Clock:
    """Moves on only while somebody encodes."""

    now: float = 0
    order: list[str] = field(default_factory=list)


class Slow(FakeEncoder):
    """Takes its time on the clock."""

    def __init__(self, name: str, seconds: float, clock: Clock) -> None:
        super().__init__()
        self._of, self._seconds, self._clock = name, seconds, clock

    def encode(self, texts: Sequence[str]) -> Encoded:
        """As the other, later."""
        self._clock.order.append(self._of)
        self._clock.now += self._seconds
        return super().encode(texts)
