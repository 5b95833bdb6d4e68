"""The default model's weights straight to its optimized ONNX graph, with numpy and onnx alone: no torch.

The nodes are those that Optimum and ONNX Runtime's optimizer arrive at. In the original's place stand vectors that
PyTorch gave once for a few made-up texts (reference.json, bound to the weights' digest): the same quality gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from ehrdb.encoder.manifest import GRAPH, TOKENIZER, Chunking, Manifest
from ehrdb.encoder.parity import compare_vectors, require_quality
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.runtime import open_encoder
from ehrdb.encoder.source import DEFAULT_MODEL, ModelSource, open_source
from ehrdb.encoder.writing import Register, describe, made_beside
from ehrdb.errors import DigestMismatch

OPSET = 17  # the first with LayerNormalization
FUSED = "com.microsoft"
TOOLS = ("numpy", "onnx", "onnxruntime", "safetensors", "tokenizers")
Weights = Mapping[str, Floats]


def convert(
    directory: Path,
    *,
    name: str = DEFAULT_MODEL,
    chunking: Chunking = "mean",
    register: Register = lambda manifest: None,
) -> Manifest:
    """Make the default model's encoder in `directory` and return its manifest, as `export` does with torch.

    Raises EncoderError where the weights are not at hand, QualityGateFailed where the graph's vectors differ.
    """
    reference = json.loads((files("ehrdb.encoder") / "reference.json").read_text(encoding="utf-8"))
    with made_beside(directory) as work, open_source(DEFAULT_MODEL) as source:
        if source.weights_digest != reference["weights_digest"]:
            raise DigestMismatch(
                f"{source.folder} does not hold the weights of {DEFAULT_MODEL}",
                hint="Export what it holds with torch: pip install 'ehrdb[export]'.",
            )
        _write_tokenizer(source, work)
        onnx.save(_graph(_config(source), _weights(source)), work / GRAPH)
        manifest = describe(work, source, source.usage, name, "fp32", TOOLS)
        parity = compare_vectors(open_encoder(work, manifest), reference["texts"], np.array(reference["vectors"]))
        passed = require_quality(parity, "fp32", accept_loss=False)
        manifest = manifest.model_copy(update={"parity": passed, "chunking": chunking})
        manifest.save(work)
        register(manifest)
    return manifest


def _config(source: ModelSource) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((source.folder / "config.json").read_text(encoding="utf-8"))
    return config


def _weights(source: ModelSource) -> Weights:
    weights: Weights = load_file(source.folder / "model.safetensors")
    return weights


def _write_tokenizer(source: ModelSource, work: Path) -> None:
    tokenizer = Tokenizer.from_file(str(source.folder / TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(work / TOKENIZER))


def _layers(config: dict[str, Any]) -> list[str]:
    return [f"encoder.layer.{number}." for number in range(config["num_hidden_layers"])]


def _projections(weights: Weights, layer: str) -> tuple[Floats, Floats]:
    """Queries', keys' and values' weights side by side (hidden, 3 hidden), and their biases."""
    names = [f"{layer}attention.self.{part}" for part in ("query", "key", "value")]
    return (
        np.concatenate([weights[f"{name}.weight"].T for name in names], axis=1),
        np.concatenate([weights[f"{name}.bias"] for name in names]),
    )


def _graph(config: dict[str, Any], weights: Weights) -> onnx.ModelProto:
    """Token ids, mask and pooling weights in, vectors out."""
    constants: dict[str, Any] = {}
    nodes = list(_embedding_nodes(config, weights, constants))
    states = "embedded"
    for layer in _layers(config):
        nodes += _layer_nodes(config, weights, constants, layer, states)
        states = f"{layer}states"
    nodes.append(helper.make_node("MatMul", ["pooling", states], ["vectors"]))
    graph = helper.make_graph(
        nodes,
        "bert",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("pooling", TensorProto.FLOAT, ["batch", "count", "tokens"]),
        ],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", "count", "dimension"])],
        [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)],
        ir_version=8,
        producer_name="ehrdb",
    )


def _embedding_nodes(config: dict[str, Any], weights: Weights, constants: dict[str, Any]) -> Iterator[onnx.NodeProto]:
    constants["words"] = weights["embeddings.word_embeddings.weight"]
    # A text is one segment: its vector belongs to every position.
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    constants["positions"] = weights["embeddings.position_embeddings.weight"] + segment
    constants["zero"], constants["one"] = np.array([0], np.int64), np.array([1], np.int64)
    yield helper.make_node("Shape", ["input_ids"], ["tokens"], start=1)
    yield helper.make_node("Slice", ["positions", "zero", "tokens", "zero"], ["position_rows"])
    yield helper.make_node("Gather", ["words", "input_ids"], ["word_rows"])
    yield helper.make_node("Add", ["word_rows", "position_rows"], ["rows"])
    scale, shift = _norm(weights, constants, "embeddings.LayerNorm")
    yield helper.make_node("LayerNormalization", ["rows", scale, shift], ["embedded"], epsilon=config["layer_norm_eps"])
    yield helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.INT32)
    yield helper.make_node("ReduceSum", ["mask", "one"], ["lengths"], keepdims=0)


def _layer_nodes(
    config: dict[str, Any], weights: Weights, constants: dict[str, Any], layer: str, states: str
) -> Iterator[onnx.NodeProto]:
    """Attention and feed-forward, each followed by the sum with what went in and its norm."""
    constants[f"{layer}qkv"], constants[f"{layer}qkv_bias"] = _projections(weights, layer)
    yield helper.make_node(
        "Attention",
        [states, f"{layer}qkv", f"{layer}qkv_bias", "lengths"],
        [f"{layer}attended"],
        domain=FUSED,
        num_heads=config["num_attention_heads"],
    )
    yield from _added(config, weights, constants, f"{layer}attention.output", f"{layer}attended", states, f"{layer}mid")
    wide = _product(weights, constants, f"{layer}intermediate.dense")
    yield helper.make_node("MatMul", [f"{layer}mid", wide], [f"{layer}wide"])
    constants[f"{layer}wide_bias"] = weights[f"{layer}intermediate.dense.bias"]
    yield helper.make_node("BiasGelu", [f"{layer}wide", f"{layer}wide_bias"], [f"{layer}active"], domain=FUSED)
    yield from _added(config, weights, constants, f"{layer}output", f"{layer}active", f"{layer}mid", f"{layer}states")


def _added(
    config: dict[str, Any],
    weights: Weights,
    constants: dict[str, Any],
    part: str,
    states: str,
    before: str,
    output: str,
) -> Iterator[onnx.NodeProto]:
    product = _product(weights, constants, f"{part}.dense")
    yield helper.make_node("MatMul", [states, product], [f"{part}.product"])
    scale, shift = _norm(weights, constants, f"{part}.LayerNorm")
    constants[f"{part}.bias"] = weights[f"{part}.dense.bias"]
    yield helper.make_node(
        "SkipLayerNormalization",
        [f"{part}.product", before, scale, shift, f"{part}.bias"],
        [output],
        domain=FUSED,
        epsilon=config["layer_norm_eps"],
    )


def _product(weights: Weights, constants: dict[str, Any], name: str) -> str:
    constants[name] = weights[f"{name}.weight"].T
    return name


def _norm(weights: Weights, constants: dict[str, Any], name: str) -> tuple[str, str]:
    constants[f"{name}.scale"] = weights[f"{name}.weight"]
    constants[f"{name}.shift"] = weights[f"{name}.bias"]
    return f"{name}.scale", f"{name}.shift"
