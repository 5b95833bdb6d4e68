"""How else the same model can be run on this machine: each peer a function from texts to vectors, for bench/encoder.py.

What a peer imports is no part of ehrdb: install what is to be compared beside it, in an environment for benchmarks.

    pip install -e '.[cpu,export]' optimum-intel openvino ctranslate2 llama-cpp-python
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.source import ModelSource, open_source

Embed = Callable[[], Floats]


def start(peer: str, arguments: argparse.Namespace, texts: list[str]) -> Embed:
    """Load the peer; what is returned embeds all texts each time it is called."""
    kind, _, option = peer.partition("-")
    with open_source(arguments.model) as source:
        return PEERS[kind](source, arguments, texts, option)


def _sentence_transformers(backend: str) -> Callable[..., Embed]:
    def load(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(arguments.threads)
        options = {"dtype": getattr(torch, option)} if option else {"export": True}
        model = SentenceTransformer(str(source.root), backend=backend, device=arguments.provider, model_kwargs=options)
        model.max_seq_length = arguments.tokens
        model.tokenizer.pad_token = model.tokenizer.pad_token or model.tokenizer.eos_token
        return lambda: np.asarray(model.encode(texts, batch_size=arguments.batch, normalize_embeddings=True))

    return load


def _optimum(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
    """Optimum's own export, a text a run."""
    import onnxruntime
    from optimum.exporters.onnx import main_export

    with tempfile.TemporaryDirectory() as folder:
        main_export(str(source.folder), folder, task="feature-extraction", do_validation=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        session = onnxruntime.InferenceSession(str(Path(folder) / "model.onnx"), options)
    names = {node.name for node in session.get_inputs()}

    def states(ids: Any) -> Floats:
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(ids.size)[None]}
        return np.asarray(session.run(None, {name: value for name, value in given.items() if name in names})[0][0])

    return _one_by_one(source, arguments, texts, states)


def _openvino(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
    """optimum-intel's conversion, a text a request, a stream for each thread; int8: weights, and rows in groups."""
    from optimum.intel import OVModelForFeatureExtraction

    config = {"NUM_STREAMS": str(arguments.threads), "INFERENCE_NUM_THREADS": str(arguments.threads)}
    if option == "int8":
        config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "32"
    model = OVModelForFeatureExtraction.from_pretrained(
        source.folder, export=True, load_in_8bit=option == "int8", ov_config=config, use_cache=False
    )
    model.compile()
    names = {name for each in model.model.inputs for name in each.names}
    compiled = model.request

    def states(ids: Any) -> Floats:
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        given["position_ids"] = np.arange(ids.size)[None]
        request = compiled.create_infer_request()
        result = request.infer({name: value for name, value in given.items() if name in names})
        return np.array(next(iter(result.values()))[0])

    return _one_by_one(source, arguments, texts, states, arguments.threads)


def _ctranslate2(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
    """BERT-like models only."""
    import ctranslate2

    with tempfile.TemporaryDirectory() as folder:
        converter = ctranslate2.converters.TransformersConverter(str(source.folder))
        converter.convert(folder, quantization=option or "float32", force=True)
        encoder = ctranslate2.Encoder(
            folder, "cpu", compute_type=option or "float32", inter_threads=arguments.threads, intra_threads=1
        )

    def states(ids: Any) -> Floats:
        return np.asarray(np.array(encoder.forward_batch(ids.tolist()).last_hidden_state)[0], dtype=np.float32)

    return _one_by_one(source, arguments, texts, states, arguments.threads)


def _llama_cpp(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
    """The GGUF file as it is."""
    import llama_cpp

    model = llama_cpp.Llama(
        arguments.model, embedding=True, n_ctx=arguments.tokens, n_threads=arguments.threads, verbose=False
    )

    def embed_one(text: str) -> Floats:
        vector = np.array(model.embed(text), dtype=np.float32)
        return vector.mean(axis=0) if vector.ndim == 2 else vector

    return lambda: np.stack([embed_one(text) for text in texts])


def _one_by_one(
    source: ModelSource,
    arguments: argparse.Namespace,
    texts: list[str],
    states: Callable[[Any], Floats],
    at_once: int = 1,
) -> Embed:
    """Mean of the states, or the last one: as ehrdb pools this model in the benchmark."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.folder)
    is_mean = not source.modules.is_declared or source.usage.pooling == "mean"
    workers = ThreadPoolExecutor(at_once)

    def embed_one(text: str) -> Floats:
        ids = np.array([tokenizer(text, truncation=True, max_length=arguments.tokens)["input_ids"]], dtype=np.int64)
        found = states(ids)
        return np.asarray(found.mean(axis=0) if is_mean else found[-1], dtype=np.float32)

    return lambda: np.stack(list(workers.map(embed_one, texts)))


PEERS: dict[str, Callable[..., Embed]] = {
    "torch": _sentence_transformers("torch"),
    "onnx": _sentence_transformers("onnx"),
    "optimum": _optimum,
    "openvino": _openvino,
    "ctranslate2": _ctranslate2,
    "llama.cpp": _llama_cpp,
}
