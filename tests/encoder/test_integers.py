"""Products of integers, by themselves: what the rewritten graph gives, and what its rows may not do to each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the export extra")

import onnx
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ehrdb.encoder.integers import LEVELS, by_error, products, quantize_products, quantized_columns, quantized_rows
from ehrdb.encoder.machine import adds_exactly, this_machine
from ehrdb.encoder.pooling import Floats

pytestmark = pytest.mark.export
SIZE = 64
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("levels", LEVELS.values())
def test_a_product_of_integers_is_exactly_what_its_rounded_factors_give(levels: int) -> None:
    rows, weights = _random(5, SIZE), _random(SIZE, 32)
    q_rows, row_scales = quantized_rows(rows)
    q_weights, column_scales = quantized_columns(weights, levels)
    model = _model(weights)

    quantize_products(model, levels)

    exact = (q_rows @ q_weights.astype(np.float64)) * row_scales * column_scales
    np.testing.assert_allclose(_run(model, rows, exact=levels == 127), exact, rtol=1e-5, atol=1e-6)


def test_the_largest_activations_and_weights_do_not_overflow() -> None:
    """Pairs of 255 x 127 are more than 16 bits hold, which processors without VNNI add them up in."""
    rows, weights = np.full((3, SIZE), 7, np.float32), np.full((SIZE, 32), 3, np.float32)
    for precision, levels in LEVELS.items():
        model = _model(weights)
        quantize_products(model, levels)

        given_ = _run(model, rows, exact=precision == "int8")

        np.testing.assert_allclose(given_, rows @ weights, rtol=1e-5)


def test_int8_stays_within_two_percent_and_int7_within_three() -> None:
    rows, weights = _random(64, SIZE), _random(SIZE, SIZE)
    exact = rows @ weights

    errors = {}
    for precision, levels in LEVELS.items():
        model = _model(weights)
        quantize_products(model, levels)
        off = _run(model, rows, exact=precision == "int8") - exact
        errors[precision] = float(np.linalg.norm(off) / np.linalg.norm(exact))

    assert errors["int8"] < 0.02
    assert errors["int8"] < errors["int7"] < 0.03


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_row_gives_the_same_whatever_rows_stand_beside_it(count: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((count, SIZE)).astype(np.float32)
    rows *= np.logspace(-6, 6, count, dtype=np.float32)[:, None]
    session = _session(_quantized(_weights()))

    alone = np.concatenate([session.run(None, {"x": row[None]})[0] for row in rows])

    assert np.array_equal(session.run(None, {"x": rows})[0], alone)


def test_a_row_of_zeros_gives_zeros() -> None:
    rows = np.stack([np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)])

    given_ = _run(_quantized(_weights()), rows)

    assert np.array_equal(given_[0], np.zeros_like(given_[0]))
    assert np.isfinite(given_).all()


def test_a_column_of_zeros_gives_zeros() -> None:
    weights = _weights()
    weights[:, 3] = 0

    given_ = _run(_quantized(weights), _random(4, SIZE))

    assert np.array_equal(given_[:, 3], np.zeros(4, np.float32))


@pytest.mark.parametrize("values", [{5: np.inf}, dict.fromkeys(range(SIZE), np.nan)])
def test_an_overflow_is_seen_in_the_result(values: dict[int, float]) -> None:
    """A norm makes a whole row NaN of one overflow."""
    rows = _random(2, SIZE)
    for column, value in values.items():
        rows[0, column] = value

    given_ = _run(_quantized(_weights()), rows)

    assert not np.isfinite(given_[0]).all()
    assert np.isfinite(given_[1]).all()


def test_products_that_read_the_same_rows_quantize_them_once() -> None:
    model = _model(_weights(), _weights(), _weights())

    quantize_products(model, LEVELS["int8"])

    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("MatMulIntegerToFloat"), kinds.count("MatMul")) == (1, 3, 0)


def test_the_weights_are_held_as_integers_alone() -> None:
    model = _model(_weights())

    quantize_products(model, LEVELS["int8"])

    large = [tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 2]
    assert large == [TensorProto.INT8]


def test_wide_products_stay_as_they_are() -> None:
    model = _model(_weights(), _weights())
    first, second = products(model)

    quantize_products(model, LEVELS["int8"], wide=[second])

    kinds = {node.output[0]: node.op_type for node in model.graph.node}
    assert (kinds[first], kinds[second]) == ("Mul", "MatMul")


def test_the_product_that_integers_harm_most_comes_first(tmp_path: Path) -> None:
    spread = _weights()
    spread[0] *= 1000  # one weight of each column is so large that the others round to nothing
    model = _model(_weights(), spread, _weights())
    onnx.save(model, tmp_path / "model.onnx")
    rows = _random(16, SIZE)
    rows[:, 0] = 0

    order = by_error(tmp_path / "model.onnx", LEVELS["int8"], [{"x": rows, "unknown": rows}])

    assert order[0] == products(model)[1]
    assert sorted(order) == sorted(products(model))


def _random(rows: int, columns: int) -> Floats:
    return RANDOM.standard_normal((rows, columns)).astype(np.float32)


def _weights() -> Floats:
    return np.random.default_rng(1).standard_normal((SIZE, 32)).astype(np.float32)


def _model(*weights: Floats) -> onnx.ModelProto:
    """One product of `x` with each."""
    names = [f"w{i}" for i in range(len(weights))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", name], [f"y_{name}"]) for name in names],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", SIZE])],
        [helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, ["rows", None]) for name in names],
        [numpy_helper.from_array(value, name) for name, value in zip(names, weights, strict=True)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _quantized(weights: Floats) -> onnx.ModelProto:
    model = _model(weights)
    quantize_products(model, LEVELS["int8"])
    return model


def _run(model: onnx.ModelProto, rows: Floats, exact: bool = True) -> Floats:
    return np.asarray(_session(model, exact).run(None, {"x": rows})[0])


def _session(model: onnx.ModelProto, exact: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if exact and not adds_exactly(this_machine()):
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
