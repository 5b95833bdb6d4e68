"""Writing the optimized ONNX graph of a model, and the tokenizer beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ehrdb.encoder.decoder import write_decoder
from ehrdb.encoder.manifest import GRAPH, TOKENIZER, Precision
from ehrdb.encoder.source import ModelSource
from ehrdb.errors import ModelIncomplete, ModelNotSupported

BLOCK = 32  # weights that share a scale in 8 and 4 bit products


def write_graph(source: ModelSource, work: Path, precision: Precision) -> None:
    """Put the graph into `work`, at the precision asked for."""
    if precision == "int4" and not source.is_decoder:
        raise ModelNotSupported(f"int4 of {source.usage.architecture} is not supported", hint="Use int8 or fp32.")
    full = work / "full"
    full.mkdir()
    write = write_decoder if source.is_decoder else _write_encoder
    write(source, full)
    if precision == "fp32":
        for path in full.iterdir():
            path.rename(work / path.name)
    elif precision == "fp16":
        _halve(full / GRAPH, work / GRAPH)
    elif source.is_decoder:
        _quantize_weights(full / GRAPH, work / GRAPH, bits=8 if precision == "int8" else 4)
    else:
        _quantize(full / GRAPH, work / GRAPH)
    shutil.rmtree(full)


def write_tokenizer(source: ModelSource, work: Path) -> None:
    """Save the model's tokenizer, as transformers would use it, in one file. Raises ModelIncomplete."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, use_fast=True)
        backend = tokenizer.backend_tokenizer
    except Exception as error:
        raise ModelIncomplete(
            f"{source.folder} has no usable tokenizer ({type(error).__name__})",
            hint=f"Save the model's fast tokenizer ({TOKENIZER}) beside its weights.",
        ) from None
    ends = tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id
    if tokenizer.init_kwargs.get("add_eos_token") and not ends:  # GTE leaves it to its remote code
        eos = (tokenizer.eos_token, tokenizer.eos_token_id)
        backend.post_processor = TemplateProcessing(single=f"$A {eos[0]}", special_tokens=[eos])
    backend.no_truncation()
    backend.no_padding()
    backend.save(str(work / TOKENIZER))


def _write_encoder(source: ModelSource, folder: Path) -> None:
    """BERT-like: Optimum exports and fuses."""
    from optimum.exporters.onnx import main_export

    main_export(
        str(source.folder),
        output=folder / "optimum",
        task="feature-extraction",
        library_name="transformers",
        optimize="O2",
        do_validation=False,
    )
    (folder / "optimum" / "model.onnx").rename(folder / GRAPH)
    shutil.rmtree(folder / "optimum")


def _quantize(graph: Path, target: Path) -> None:
    """Per-channel weights and only products with a constant: quantizing attention too ruins MiniLM."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        graph,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul"],
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1},  # fused nodes hide that it is float
    )


def _quantize_weights(graph: Path, target: Path, bits: int) -> None:
    """Weights alone, in blocks; activations are scaled row by row, so texts side by side do not meet."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, accuracy_level=4, bits=bits)
    quantizer = MatMulNBitsQuantizer(onnx.load(graph), algo_config=config)
    quantizer.process()
    _save(quantizer.model.model, target)


def _halve(graph: Path, target: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    _save(convert_float_to_float16(onnx.load(graph), keep_io_types=True, disable_shape_infer=True), target)


def _save(model: Any, target: Path) -> None:
    """With the weights in a file of their own: a graph file holds 2 GB at most."""
    import onnx

    data = target.with_suffix(".onnx.data").name
    onnx.save(model, target, save_as_external_data=True, location=data, all_tensors_to_one_file=True)
    target.with_name(data).chmod(0o644)  # as the other files: the worker may be another user
