"""Fused operators against the graph as it was traced: the same states, at half precision too."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="needs the export extra")

import onnx
import onnxruntime

from ehrdb.encoder.graph import write_graph
from ehrdb.encoder.manifest import GRAPH, Precision
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.source import open_source
from tests.encoder.conftest import Traces
from tests.encoder.models import tiny_gemma3, tiny_qwen3

pytestmark = pytest.mark.export
TOKENS = 600
GONE = {"RMSNormalization", "RotaryEmbedding", "Sigmoid"}


@pytest.fixture(scope="module", params=[tiny_qwen3, tiny_gemma3])
def traced(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, traces: Traces
) -> tuple[Path, Path, Path]:
    """A model, its graph as it was traced, and the same fused."""
    make: Callable[[Path], Path] = request.param
    folder = tmp_path_factory.mktemp("fusion")
    with warnings.catch_warnings(), open_source(str(make(folder / "model"))) as source:
        warnings.simplefilter("ignore")  # exporters warn about what users cannot change
        traces.trace(source, folder / "fused", "fp32")
        return folder / "model", traces.before_fusion(source), folder / "fused"


def test_fused_operators_give_the_same_states(traced: tuple[Path, Path, Path]) -> None:
    _, plain, fused = traced

    np.testing.assert_allclose(_states(fused), _states(plain), rtol=1e-5, atol=1e-5)


def test_norms_activations_and_rotary_embeddings_are_fused(traced: tuple[Path, Path, Path]) -> None:
    model = onnx.load(traced[2] / GRAPH, load_external_data=False)

    kinds = Counter(node.op_type for node in model.graph.node)

    assert GONE.isdisjoint(kinds)
    assert kinds["SkipSimplifiedLayerNormalization"] == 4  # two in each of two layers, the last norm with them


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("bf16", 0.999)])
def test_narrow_weights_run_and_keep_far_positions_apart(
    traced: tuple[Path, Path, Path], precision: Precision, least: float, tmp_path: Path
) -> None:
    fused = _written(traced, precision, tmp_path)
    pooling = np.eye(TOKENS, dtype=np.float32)[None]

    vectors = _run(tmp_path, pooling=pooling)[0, -50:]

    wanted = _states(fused)[0, -50:]
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((vectors * wanted).sum(axis=1) / lengths).min() > least


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_angles_of_positions_are_not_narrowed(
    traced: tuple[Path, Path, Path], precision: Precision, tmp_path: Path
) -> None:
    fused = _written(traced, precision, tmp_path)

    np.testing.assert_array_equal(_angles(tmp_path), _angles(fused))


@pytest.mark.parametrize(("precision", "outputs"), [("fp32", 1), ("int8", 1), ("bf16", 3)])
def test_on_a_processor_attention_hands_out_nothing_that_nobody_takes(
    traced: tuple[Path, Path, Path], precision: Precision, outputs: int, tmp_path: Path
) -> None:
    _written(traced, precision, tmp_path)

    graph = onnx.load(tmp_path / GRAPH, load_external_data=False).graph

    assert {len(node.output) for node in graph.node if node.op_type == "GroupQueryAttention"} == {outputs}


def _written(traced: tuple[Path, Path, Path], precision: Precision, target: Path) -> Path:
    """Write the graph of that precision; returns the fused one that it was made of."""
    model, _, fused = traced
    with open_source(str(model)) as source:
        write_graph(source, fused, target, precision)
    return fused


def _angles(folder: Path) -> Floats:
    """Of the first cosines in the graph."""
    model = onnx.load(folder / GRAPH)
    cosines = next(node for node in model.graph.node if node.op_type == "Cos")
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(cosines.input[0], onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.ones((1, TOKENS), np.int64)
    given = {"input_ids": ids, "attention_mask": ids, "pooling": np.ones((1, 1, TOKENS), np.float32)}
    taken = {node.name for node in session.get_inputs()}
    return np.asarray(session.run(None, {name: value for name, value in given.items() if name in taken})[0])


def _states(folder: Path) -> Floats:
    return _run(folder)


def _run(folder: Path, **given: Floats) -> Floats:
    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(0, 257, (1, TOKENS))
    return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids), **given})[0])
