"""Decoders' graphs as a GPU gets them: what can be said of them without one."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxscript", reason="needs the export extra")

import onnx
from onnx import TensorProto

from ehrdb.encoder.cuda import computed_as_stored
from ehrdb.encoder.export import export
from ehrdb.encoder.manifest import GRAPH
from ehrdb.encoder.runtime import CUDA
from ehrdb.encoder.tuning import candidates_on
from tests.encoder.models import tiny_gemma3, tiny_qwen3

pytestmark = pytest.mark.export


@pytest.fixture(scope="module", params=[tiny_qwen3, tiny_gemma3])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with weights in bf16."""
    make: Callable[[Path], Path] = request.param
    folder = tmp_path_factory.mktemp("cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exporters warn about what users cannot change
        export(str(make(folder / "model")), folder / "encoder", name="tiny", precision="bf16", sample_texts=["Asthma"])
    return folder / "encoder"


def test_bf16_is_computed_as_bf16_but_for_angles_and_pooling(folder: Path) -> None:
    graph = onnx.load_from_string(computed_as_stored(folder / GRAPH)).graph

    casts = Counter(
        each.i for node in graph.node if node.op_type == "Cast" for each in node.attribute if each.name == "to"
    )
    angles = [node.output[0] for node in graph.node if node.op_type in ("Cos", "Sin")]
    narrowed = {node.input[0] for node in graph.node if node.op_type == "Cast" and _to(node) == TensorProto.BFLOAT16}
    pooled = next(node for node in graph.node if node.name == "tail_pooled")
    widened = next(node for node in graph.node if node.output[0] == pooled.input[1])

    assert narrowed == set(angles)
    assert _to(widened) == TensorProto.FLOAT
    assert casts[TensorProto.FLOAT] == 2  # positions, and the states that are pooled
    assert all(tensor.data_type != TensorProto.FLOAT or next(iter(tensor.dims)) == 1 for tensor in graph.initializer)


def test_nothing_in_the_rewritten_graph_is_missing(folder: Path) -> None:
    graph = onnx.load_from_string(computed_as_stored(folder / GRAPH)).graph

    there = {value.name for part in (graph.initializer, graph.input) for value in part}
    made = {name for node in graph.node for name in node.output}

    assert {name for node in graph.node for name in node.input if name} <= there | made


def test_tuning_on_a_gpu_tries_what_it_can_run() -> None:
    assert candidates_on(CUDA, is_decoder=True, known=["int8"]) == ["bf16", "fp16"]
    assert candidates_on(CUDA, is_decoder=False, known=["fp32"]) == ["fp32", "bf16", "fp16"]


def _to(node: Any) -> int:
    return next(int(each.i) for each in node.attribute if each.name == "to")
