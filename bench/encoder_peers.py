"""How else the same model can be run on this machine: each peer a function from texts to vectors, for bench/encoder.py.

What a peer imports is no part of ehrdb: install what is to be compared beside it, in an environment for benchmarks.

    pip install -e '.[cpu,export]' optimum-intel openvino nncf ctranslate2 fastembed llama-cpp-python

`PEERS` says which package each needs; the benchmark names those that are absent. llama.cpp reads a GGUF file and needs
`--gguf`; fastembed has no models but those it downloads, so it gets a graph that Optimum exported. infinity pins
packages of its own and runs in none of these environments.
"""

from __future__ import annotations

import argparse
import queue
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
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
        return PEERS[kind][1](source, arguments, texts, option)


def absent(peer: str) -> str | None:
    """The package that this peer needs and that is not installed here."""
    package = PEERS[peer.partition("-")[0]][0]
    return None if find_spec(package) else package


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


def _compiled(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
    """torch.compile over transformers' model, attention by PyTorch's fused kernels.

    For causal models: they need no mask then, and so get the fastest attention. A shape compiles once: sorted
    texts are padded on the right to multiples of 64 tokens.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.folder)
    dtype = getattr(torch, option)
    model = AutoModel.from_pretrained(source.folder, dtype=dtype, attn_implementation="sdpa").to(arguments.provider)
    model = torch.compile(model.eval(), dynamic=False)
    is_mean = not source.modules.is_declared or source.usage.pooling == "mean"

    def embed() -> Floats:
        found = tokenizer(texts, truncation=True, max_length=arguments.tokens)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(found[i]))
        vectors = np.zeros((len(texts), source.usage.dimension), np.float32)
        for start in range(0, len(texts), arguments.batch):
            rows = order[start : start + arguments.batch]
            lengths = torch.tensor([len(found[i]) for i in rows], device=arguments.provider)
            ids = torch.zeros((len(rows), -(-max(len(found[i]) for i in rows) // 64) * 64), dtype=torch.int64)
            for row, i in zip(ids, rows, strict=True):
                row[: len(found[i])] = torch.tensor(found[i])
            vectors[rows] = _pooled(model, ids.to(arguments.provider), lengths, is_mean)
        return vectors

    return embed


def _pooled(model: Any, ids: Any, lengths: Any, is_mean: bool) -> Floats:
    import torch

    with torch.inference_mode():
        states = model(input_ids=ids, use_cache=False).last_hidden_state
        if not is_mean:
            return np.asarray(states[torch.arange(len(ids)), lengths - 1].float().cpu())
        counts = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        weights = (counts / lengths[:, None]).to(states.dtype)
        return np.asarray((weights[:, None] @ states)[:, 0].float().cpu())


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
    """optimum-intel's conversion, a text a request, a stream for each thread.

    int8: weights of 8 bits, and activations quantized in groups of 32 as they come. What the processor has decides
    whether the rest is bfloat16: that is OpenVINO's default.
    """
    import openvino
    from optimum.intel import OVModelForFeatureExtraction, OVWeightQuantizationConfig

    config = {"NUM_STREAMS": str(arguments.threads), "INFERENCE_NUM_THREADS": str(arguments.threads)}
    if option == "int8":
        config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "32"
    if option == "fp32":
        config["INFERENCE_PRECISION_HINT"] = "f32"
    weights = OVWeightQuantizationConfig(bits=8) if option == "int8" else None
    model = OVModelForFeatureExtraction.from_pretrained(
        source.folder, export=True, quantization_config=weights, compile=False, use_cache=False
    )
    names = {name for each in model.model.inputs for name in each.names}
    compiled = openvino.Core().compile_model(model.model, "CPU", config)
    requests = queue.SimpleQueue[Any]()
    for _ in range(arguments.threads):
        requests.put(compiled.create_infer_request())

    def states(ids: Any) -> Floats:
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        given["position_ids"] = np.arange(ids.size)[None]
        request = requests.get()
        result = request.infer({name: value for name, value in given.items() if name in names})
        found = np.array(next(iter(result.values()))[0])
        requests.put(request)
        return found

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


def _fastembed(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
    """Its own loop over a graph that Optimum exported, since it can download none here; BERT-like models only."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource as Place
    from fastembed.common.model_description import PoolingType
    from optimum.exporters.onnx import main_export

    folder = tempfile.mkdtemp()
    main_export(str(source.folder), folder, task="feature-extraction", do_validation=False)
    TextEmbedding.add_custom_model(
        model="bench/model",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=Place(url="http://localhost/never"),
        dim=source.usage.dimension,
        model_file="model.onnx",
    )
    model = TextEmbedding("bench/model", specific_model_path=folder, threads=arguments.threads)
    tokenizer = model.model.tokenizer
    tokenizer.enable_truncation(arguments.tokens)
    return lambda: np.stack(list(model.embed(texts, batch_size=1)))


def _llama_cpp(source: ModelSource, arguments: argparse.Namespace, texts: list[str], option: str) -> Embed:
    """The file that --gguf names."""
    import llama_cpp

    model = llama_cpp.Llama(
        str(arguments.gguf),
        embedding=True,
        n_ctx=arguments.tokens + 8,
        n_batch=arguments.tokens + 8,
        n_ubatch=arguments.tokens + 8,
        n_threads=arguments.threads,
        n_threads_batch=arguments.threads,
        pooling_type=llama_cpp.LLAMA_POOLING_TYPE_MEAN,
        verbose=False,
    )
    return lambda: np.stack([np.array(model.embed(text), dtype=np.float32).reshape(-1) for text in texts])


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


PEERS: dict[str, tuple[str, Callable[..., Embed]]] = {
    "torch": ("sentence_transformers", _sentence_transformers("torch")),
    "compiled": ("torch", _compiled),
    "onnx": ("optimum", _sentence_transformers("onnx")),
    "optimum": ("optimum", _optimum),
    "openvino": ("openvino", _openvino),
    "ctranslate2": ("ctranslate2", _ctranslate2),
    "fastembed": ("fastembed", _fastembed),
    "llama.cpp": ("llama_cpp", _llama_cpp),
}
"""The package that each needs, and how to load it."""
