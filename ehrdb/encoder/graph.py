"""Writing the optimized ONNX graph of a model."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ehrdb.encoder.decoder import write_decoder
from ehrdb.encoder.fusion import hold_angles, keep_no_cache
from ehrdb.encoder.integers import LEVELS, quantize_products
from ehrdb.encoder.manifest import GRAPH, Precision
from ehrdb.encoder.source import ModelSource
from ehrdb.encoder.tail import add_tail
from ehrdb.errors import ModelNotSupported

BLOCK = 32  # weights that share a scale in 8 and 4 bit products
EDGE_LAYERS = 3  # at either end, too sensitive for 4 bits
ON_GPU = ("fp16", "bf16")
"""What a decoder is exported as to run on a GPU, whose attention may need the outputs that the CPU's can do without."""


def trace(source: ModelSource, folder: Path, precision: Precision, shares_prefix: bool = False) -> None:
    """Put the graph at full precision into `folder`, as write_graph takes it for this precision."""
    if precision == "int4" and not source.is_decoder:
        raise ModelNotSupported(f"int4 of {source.usage.architecture} is not supported", hint="Use int8 or fp32.")
    folder.mkdir()
    if source.is_decoder:
        write_decoder(source, folder, shares_prefix)
    else:
        _write_encoder(source, folder, precision in LEVELS)


def write_graph(
    source: ModelSource, traced: Path, work: Path, precision: Precision, wide: Collection[str] = ()
) -> None:
    """Put the graph that was traced of `source` into `work`: token ids and pooling weights in, vectors out.

    `wide`: products that stay at full precision where the others become integers.
    """
    if precision == "fp32":
        for path in traced.iterdir():
            shutil.copy(path, work)
    elif precision == "fp16":
        _halve(traced / GRAPH, work / GRAPH)
    elif precision == "bf16":
        _round(traced / GRAPH, work / GRAPH)
    elif precision == "int4":
        _quantize_weights(traced / GRAPH, work / GRAPH)
    else:
        _integers(traced / GRAPH, work / GRAPH, LEVELS[precision], wide)
    if source.is_decoder and precision not in ON_GPU:
        keep_no_cache(work / GRAPH)
    add_tail(work / GRAPH, source.usage.pooling, source.modules.layers)


def _write_encoder(source: ModelSource, folder: Path, for_integers: bool) -> None:
    """BERT-like: Optimum exports, ONNX Runtime's optimizer fuses.

    For integers, attention is fused without its projections: those are products to quantize like the others.
    """
    from optimum.exporters.onnx import main_export
    from optimum.onnxruntime import OptimizationConfig, ORTOptimizer

    plain, optimized = folder / "plain", folder / "optimized"
    main_export(
        str(source.folder),
        output=plain,
        task="feature-extraction",
        library_name="transformers",
        do_validation=False,
    )
    config = OptimizationConfig(
        optimization_level=2, use_multi_head_attention=for_integers, enable_gelu_approximation=for_integers
    )
    ORTOptimizer.from_pretrained(plain).optimize(config, save_dir=optimized, file_suffix="")
    (optimized / "model.onnx").rename(folder / GRAPH)
    shutil.rmtree(plain)
    shutil.rmtree(optimized)


def _integers(graph: Path, target: Path, levels: int, wide: Collection[str]) -> None:
    import onnx

    model = onnx.load(graph)
    quantize_products(model, levels, wide)
    _halve_token_table(model)
    _save(model, target)


def _quantize_weights(graph: Path, target: Path) -> None:
    """Weights alone, in blocks: 4 bits where they cost little, 8 for the rest.

    SmolLM2: mean cosine 0.99 instead of 0.96.
    """
    import onnx

    model = onnx.load(graph)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    products = {
        n.name: weights[n.input[1]] for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights
    }
    four = _inner_widening(products)
    model = _in_blocks(model, bits=8, is_symmetric=True, left_out=four)
    model = _in_blocks(model, bits=4, is_symmetric=False, left_out=[])
    _halve_token_table(model)
    _save(model, target)


def _inner_widening(products: dict[str, tuple[int, ...]]) -> list[str]:
    """The two widening products of each feed-forward layer but the first and last three layers."""
    widest = max(shape[1] for shape in products.values())
    return [name for name, shape in products.items() if shape[1] == widest][2 * EDGE_LAYERS : -2 * EDGE_LAYERS]


def _in_blocks(model: Any, bits: int, is_symmetric: bool, left_out: list[str]) -> Any:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=is_symmetric, accuracy_level=4, bits=bits)
    quantizer = MatMulNBitsQuantizer(model, algo_config=config, nodes_to_exclude=left_out)
    quantizer.process()
    return quantizer.model.model


def _halve_token_table(model: Any) -> None:
    """The table of token vectors at half precision: of a small model it is a third of all weights."""
    import onnx
    from onnx import helper

    tables = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 2}
    for node in [node for node in model.graph.node if node.op_type == "Gather" and node.input[0] in tables]:
        tensor = tables[node.input[0]]
        if tensor.data_type == onnx.TensorProto.FLOAT:
            _convert(tensor, np.float16)
        looked_up = node.output[0]
        node.output[0] = looked_up + "_half"
        cast = helper.make_node("Cast", [node.output[0]], [looked_up], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(list(model.graph.node).index(node) + 1, cast)


def _halve(graph: Path, target: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(graph)
    halved = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, node_block_list=hold_angles(model)
    )
    _save(halved, target)


def _round(graph: Path, target: Path) -> None:
    """Weights as bfloat16, as most models are published; a CPU widens them and computes at full precision."""
    import ml_dtypes
    import onnx
    from onnx import helper

    model = onnx.load(graph)
    held = set(hold_angles(model))
    angles = {name for node in model.graph.node if node.name in held for name in node.input}
    weights = [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in angles
    ]
    for position, tensor in enumerate(weights):
        name = tensor.name
        _convert(tensor, ml_dtypes.bfloat16)
        tensor.name = f"{name}_bf16"
        cast = helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(position, cast)
    _save(model, target)


def _convert(tensor: Any, kind: Any) -> None:
    """Another number format for a weight, in place."""
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))


def _save(model: Any, target: Path) -> None:
    """With the weights in a file of their own: a graph file holds 2 GB at most."""
    import onnx

    data = target.with_suffix(".onnx.data").name
    onnx.save(model, target, save_as_external_data=True, location=data, all_tensors_to_one_file=True)
    target.with_name(data).chmod(0o644)  # as the other files: the worker may be another user
