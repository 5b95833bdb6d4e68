"""Choosing a precision by measurement, and the machine that it was measured on."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from ehrdb.encoder import Encoded
from ehrdb.encoder.machine import same_kind, this_machine
from ehrdb.encoder.manifest import Machine, Manifest, Precision, Tuning
from ehrdb.encoder.runtime import BatchingEncoder, open_encoder
from ehrdb.encoder.tuning import fastest, tokens_per_second
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


def test_candidates_are_timed_in_turns_on_the_longest_texts() -> None:
    order: list[str] = []
    encoders = {"fp32": Slow("fp32", 0.004, order), "int8": Slow("int8", 0.001, order)}

    speeds = tokens_per_second(encoders, ["short", "longer text", "x" * 9000], seconds=0.05)  # type: ignore[arg-type]

    assert speeds["int8"] > 2 * speeds["fp32"]
    assert order[:4] == ["fp32", "int8", "fp32", "int8"]


def test_the_runtime_says_where_it_runs_on_another_kind_of_processor(
    minilm: BatchingEncoder, minilm_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Machine(processor="another", flags=(), cores=2)

    with caplog.at_level(logging.WARNING):
        open_encoder(minilm_directory, _tuned(minilm.manifest, elsewhere))

    assert "another kind of processor" in caplog.text
    assert "ehrdb encoder tune minilm" in caplog.text


def test_the_runtime_is_silent_on_the_machine_it_was_tuned_on(
    minilm: BatchingEncoder, minilm_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        open_encoder(minilm_directory, _tuned(minilm.manifest, this_machine()))

    assert not caplog.text


def test_figures_do_not_make_another_encoder(minilm: BatchingEncoder) -> None:
    assert _tuned(minilm.manifest, this_machine()).digest == minilm.manifest.digest


def _tuned(manifest: Manifest, machine: Machine) -> Manifest:
    return manifest.model_copy(update={"tuning": Tuning(machine=machine, providers=("CPU",), candidates=())})


class Slow(FakeEncoder):
    """Takes its time."""

    def __init__(self, name: str, seconds: float, order: list[str]) -> None:
        super().__init__()
        self._of, self._seconds, self._order = name, seconds, order

    def encode(self, texts):  # type: ignore[no-untyped-def]
        """As the other, later."""
        self._order.append(self._of)
        time.sleep(self._seconds)
        encoded: Encoded = super().encode(texts)
        return encoded
