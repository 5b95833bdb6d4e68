"""Encoders on ONNX Runtime's OpenVINO provider, which brings a package of its own instead of onnxruntime's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ehrdb.encoder.runtime import CPU, OPENVINO, BatchingEncoder, _provider_options, open_batching
from ehrdb.encoder.tuning import candidates_on

TEXTS = ["Asthma", "Essential hypertension\n" * 40, "Heart failure\nAtrial fibrillation\nOld age"]


@pytest.fixture
def on_openvino(minilm: BatchingEncoder, minilm_directory: Path) -> BatchingEncoder:
    if OPENVINO not in onnxruntime.get_available_providers():
        pytest.skip("needs onnxruntime-openvino (the `openvino` extra) in the place of onnxruntime")
    return open_batching(minilm_directory, minilm.manifest, [OPENVINO], threads=2)


def test_its_vectors_are_those_of_the_processor(on_openvino: BatchingEncoder, minilm: BatchingEncoder) -> None:
    cosines = (on_openvino.encode(TEXTS).vectors * minilm.encode(TEXTS).vectors).sum(axis=1)

    assert cosines.min() > 0.99999


def test_a_text_has_the_same_vector_in_any_batch(on_openvino: BatchingEncoder) -> None:
    alone = np.concatenate([on_openvino.encode([text]).vectors for text in TEXTS])

    assert (on_openvino.encode(TEXTS).vectors == alone).all()


def test_what_it_computes_is_not_rounded_unasked() -> None:
    """Where a processor has bfloat16, OpenVINO would use it by itself."""
    options = _provider_options(OPENVINO, cores=3)

    assert json.loads(options["load_config"]) == {"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}
    assert (options["num_of_threads"], options["num_streams"]) == ("3", "3")
    assert _provider_options(CPU, cores=3) == {}


def test_it_is_offered_what_it_can_run() -> None:
    assert candidates_on(OPENVINO, is_decoder=False, known=["int8"]) == ["fp32"]
