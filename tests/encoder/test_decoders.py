"""Decoders against the paper's own way in PyTorch: left padding, last token or mean, unit length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="needs the export extra")

import onnx
import onnxruntime
import torch
from transformers import AutoModel, AutoTokenizer

from ehrdb.encoder.export import export
from ehrdb.encoder.graph import write_graph
from ehrdb.encoder.manifest import GRAPH, Chunking, load_manifest
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.prompts import prompt_for, split_prompt
from ehrdb.encoder.runtime import BatchingEncoder, open_batching
from ehrdb.encoder.sharing import Group, groups
from ehrdb.encoder.source import open_source
from ehrdb.errors import EmptyText, ModelNotSupported
from tests.encoder.conftest import made_once, short_texts
from tests.encoder.models import (
    tiny_gemma3,
    tiny_gte_qwen2,
    tiny_llama,
    tiny_llm2vec,
    tiny_mistral,
    tiny_qwen3,
    without_end_token,
)

pytestmark = pytest.mark.export
PROMPT = prompt_for("new_lupus", "list_recent")
TEXTS = ["Asthma", "Creatinine (mg/dL): 1.1\nHeart failure", "Lupus\n" * 30]
LAST: dict[str, Any] = {"prompt_position": "last", "pooling": "last_token"}
Make = Callable[[Path], Path]


class Exports:
    """Tiny models and their exports, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, make: Make, **options: Any) -> tuple[Path, BatchingEncoder]:
        """The model's folder and its encoder."""
        model = made_once(self._folder / make.__name__, make)
        texts = short_texts() if "precision" in options else TEXTS  # figures need more than a few

        def make_encoder(directory: Path) -> None:
            export(str(model), directory, name="tiny", accept_quality_loss=True, sample_texts=texts, **options)

        name = "_".join([make.__name__, "encoder", *map(str, options.values())])
        directory = made_once(self._folder / name, make_encoder)
        return model, open_batching(directory, load_manifest(directory))


@pytest.fixture(scope="module")
def exports(kept: Path) -> Exports:
    return Exports(kept / "decoders")


@pytest.mark.parametrize("make", [tiny_qwen3, tiny_llama, tiny_mistral])
def test_causal_decoders_equal_left_padded_last_token_pooling(make: Make, exports: Exports) -> None:
    model, encoder = exports(make)

    np.testing.assert_allclose(encoder.encode(prompted()).vectors, last_token(model, prompted()), atol=1e-5)


def test_a_decoder_in_chunks_averages_their_unit_vectors(exports: Exports) -> None:
    """The instruction stands in front of the whole; the mean is not scaled again. Here a byte is a token."""
    model, encoder = exports(tiny_qwen3, chunking="unit_mean", max_tokens=100)
    text = prompted()[0] + "\nAsthma" * 200
    size, most = 100 - 8, 8192 // 100
    pieces = [text[start : start + size] for start in range(0, len(text), size)][:most]

    vector = encoder.encode([text]).vectors[0]

    assert 10 < len(pieces) < most
    np.testing.assert_allclose(vector, last_token(model, pieces).mean(axis=0), atol=1e-5)
    assert np.linalg.norm(vector) < 0.999


@pytest.mark.parametrize("chunking", ["mean", "concat", "lines"])
def test_a_language_model_has_no_other_chunks(chunking: Chunking, tmp_path: Path) -> None:
    with pytest.raises(ModelNotSupported, match=f"--chunking {chunking}"):
        export(str(tiny_qwen3(tmp_path / "m")), tmp_path / "e", name="tiny", chunking=chunking)


def test_gte_sees_both_ways(exports: Exports) -> None:
    model, encoder = exports(tiny_gte_qwen2)

    expected = last_token(model, prompted(), sees_both_ways=True)

    np.testing.assert_allclose(encoder.encode(prompted()).vectors, expected, atol=1e-5)
    assert np.abs(expected - last_token(model, prompted())).max() > 0.01


def test_llm2vec_averages_the_text_without_its_instruction(exports: Exports) -> None:
    model, encoder = exports(tiny_llm2vec)

    np.testing.assert_allclose(encoder.encode(prompted()).vectors, llm2vec(model, TEXTS), atol=1e-5)


def test_an_end_token_that_only_the_settings_ask_for_is_appended(tmp_path: Path, exports: Exports) -> None:
    model = without_end_token(tiny_gte_qwen2(tmp_path / "model"))

    export(str(model), tmp_path / "encoder", name="tiny", sample_texts=TEXTS)

    encoder = open_batching(tmp_path / "encoder", load_manifest(tmp_path / "encoder"))
    _, with_template = exports(tiny_gte_qwen2)
    assert encoder._tokenizer(TEXTS) == with_template._tokenizer(TEXTS)


@pytest.mark.parametrize(
    ("make", "precision"),
    [(tiny_qwen3, "fp32"), (tiny_qwen3, "int8"), (tiny_gte_qwen2, "fp32"), (tiny_llm2vec, "fp32")],
)
def test_padding_changes_nothing(make: Make, precision: str, exports: Exports) -> None:
    options = {} if precision == "fp32" else {"precision": precision}
    _, encoder = exports(make, **options)
    padded = BatchingEncoder(encoder.manifest, encoder._tokenizer, encoder._forward, run_tokens=8192, parallel=1)

    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS])

    np.testing.assert_allclose(padded.encode(TEXTS).vectors, alone, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_text_has_the_same_vector_to_the_last_bit_in_any_batch(precision: str, exports: Exports) -> None:
    options = {} if precision == "fp32" else {"precision": precision}
    _, encoder = exports(tiny_qwen3, **options)
    texts = [*TEXTS, "Asthmb", "Migraine", PROMPT + "Asthma", PROMPT + "Anemia"]

    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])

    assert np.array_equal(encoder.encode(texts).vectors, alone)


def test_int8_multiplies_integers_that_are_quantized_once_for_all_that_read_them(exports: Exports) -> None:
    model, encoder = exports(tiny_qwen3, precision="int8")

    graph = onnx.load(model.parent / "tiny_qwen3_encoder_int8" / GRAPH, load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]

    assert encoder.manifest.row_scales
    # two layers: q, k, v and what attention gives; gate and up, and what they give
    assert (kinds.count("MatMulIntegerToFloat"), kinds.count("QuantizeLinear")) == (2 * 7, 2 * 4)


def test_the_end_of_a_long_text_is_cut_and_prompt_and_end_token_stay(exports: Exports) -> None:
    _, encoder = exports(tiny_qwen3, max_tokens=300)
    long = PROMPT + "Asthma\n" * 100

    encoded = encoder.encode([long, long[:299]])

    assert encoded.truncated.tolist() == [True, False]
    assert encoded.token_counts.tolist() == [300, 300]
    np.testing.assert_allclose(encoded.vectors[0], encoded.vectors[1], atol=1e-6)


def test_the_instruction_last_equals_a_pass_of_its_own_for_every_task(exports: Exports) -> None:
    """Gemma 3 has layers that see all and layers that see a window, and normalized queries and keys as Qwen3 has."""
    model, encoder = exports(tiny_gemma3, **LAST)
    tasks = [prompt_for(task, "list_recent") + text for text in TEXTS for task in ("new_lupus", "guo_los", None)]

    behind = [text + "\n" + prompt.removesuffix("\nQuery:\n") for prompt, text in map(split_prompt, tasks)]

    np.testing.assert_allclose(encoder.encode(tasks).vectors, last_token(model, behind), atol=1e-5)


def test_the_instruction_last_survives_where_a_long_text_is_cut(exports: Exports) -> None:
    _, encoder = exports(tiny_gemma3, **LAST, max_tokens=300)
    long = "Asthma\n" * 100

    encoded = encoder.encode(
        [prompt_for("new_lupus", "list_recent") + long, prompt_for("guo_icu", "list_recent") + long]
    )

    assert encoded.truncated.tolist() == [True, True]
    assert encoded.token_counts.max() <= 300
    assert np.abs(encoded.vectors[0] - encoded.vectors[1]).max() > 0.01


def test_all_tasks_of_a_timeline_share_one_row_however_long_it_is(exports: Exports) -> None:
    _, encoder = exports(tiny_gemma3, **LAST)
    asked = [prompt_for(task, "list_recent") + "Asthma\n" * 200 for task in ("new_lupus", "new_celiac", "lab_anemia")]

    chunks = [text.chunks[0] for text in encoder._tokenizer(asked)]

    (group,) = groups(chunks)
    assert group.rows == [0, 1, 2]
    assert len(group.beginning) > chunks[0].shared  # the instruction's beginning is common, too
    assert max(map(len, group.ends)) < 80


def test_a_text_without_a_beginning_in_common_is_read_alone(exports: Exports) -> None:
    _, encoder = exports(tiny_gemma3, **LAST)
    forward = encoder._forward_shared
    assert forward

    np.testing.assert_allclose(forward(Group([0], [], [[5, 6]])), forward(Group([0], [5], [[6]])), atol=1e-6)


def test_a_bidirectional_model_cannot_read_the_instruction_last(tmp_path: Path) -> None:
    with pytest.raises(ModelNotSupported, match="causal"):
        export(str(tiny_llm2vec(tmp_path / "m")), tmp_path / "e", name="tiny", prompt_position="last")


def test_a_prompt_without_a_text_is_empty(exports: Exports) -> None:
    with pytest.raises(EmptyText):
        exports(tiny_qwen3)[1].encode([PROMPT])


@pytest.mark.parametrize(
    ("precision", "cosine"),
    [("int8", 0.99), ("int4", 0.99), ("bf16", 0.999), ("fp16", 0.9999)],
)
def test_smaller_weights_stay_near(precision: str, cosine: float, exports: Exports) -> None:
    parity = exports(tiny_qwen3, precision=precision)[1].manifest.parity

    assert parity is not None
    assert parity.mean_cosine >= cosine


def test_int4_keeps_the_sensitive_products_at_8_bits(tmp_path: Path) -> None:
    """Of eight layers the two in the middle have their widening products at 4."""
    eight_layers(tmp_path / "traced")
    with open_source(str(tiny_qwen3(tmp_path / "model"))) as source:
        for precision in ("fp32", "int4"):
            (tmp_path / precision).mkdir()
            write_graph(source, tmp_path / "traced", tmp_path / precision, precision)

    nodes = onnx.load(tmp_path / "int4" / GRAPH, load_external_data=False).graph.node
    bits = {node.name: each.i for node in nodes for each in node.attribute if each.name == "bits"}
    assert len(bits) == 8 * 7
    assert {name for name, count in bits.items() if count == 4} == {
        f"{layer}_{part}_Q4" for layer in (3, 4) for part in ("gate", "up")
    }
    exact, rounded = (unit(ran(tmp_path / precision)) for precision in ("fp32", "int4"))
    assert (exact * rounded).sum(axis=1).mean() >= 0.99


def test_the_graph_has_fused_attention_and_nothing_but_vectors_comes_out(exports: Exports) -> None:
    model, _ = exports(tiny_qwen3)

    graph = onnx.load(model.parent / "tiny_qwen3_encoder" / GRAPH, load_external_data=False).graph
    operators = {node.op_type for node in graph.node}

    fused = {"GroupQueryAttention", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "QuickGelu"}
    assert fused <= operators
    assert not operators & {"Softmax", "RotaryEmbedding", "RMSNormalization", "Sigmoid"}
    assert [output.name for output in graph.output] == ["vectors"]


def test_the_graph_does_not_tell_where_it_was_made(exports: Exports) -> None:
    model, _ = exports(tiny_qwen3)

    assert b".py" not in (model.parent / "tiny_qwen3_encoder" / GRAPH).read_bytes()


def test_decoders_take_instructions(exports: Exports) -> None:
    manifest = exports(tiny_qwen3)[1].manifest

    assert manifest.prompt_template
    assert (manifest.pooling, manifest.chunking, manifest.normalize) == ("last_token", "none", True)


def eight_layers(folder: Path) -> None:
    """A graph of a decoder's products, seven in each layer, with sums and norms between them."""
    random = np.random.default_rng(0)
    sizes = {**dict.fromkeys(("q", "k", "v", "o"), (64, 64)), "gate": (64, 96), "up": (64, 96), "down": (96, 64)}
    weights = {f"{layer}_{part}": sizes[part] for layer in range(8) for part in sizes} | {"table": (257, 64)}
    nodes, states = [node("Gather", "embedded", "table", "input_ids")], "embedded"
    for layer in map(str, range(8)):
        nodes += [node("MatMul", f"{layer}_{part}", states, f"{layer}_{part}.weight") for part in ("q", "k", "v")]
        nodes += [node("Sum", f"{layer}_seen", *(f"{layer}_{part}" for part in ("q", "k", "v")))]
        nodes += [node("MatMul", f"{layer}_o", f"{layer}_seen", f"{layer}_o.weight")]
        nodes += normed(f"{layer}_middle", states, f"{layer}_o")
        wide = [f"{layer}_gate", f"{layer}_up"]
        nodes += [node("MatMul", name, f"{layer}_middle", f"{name}.weight") for name in wide]
        nodes += [node("Mul", f"{layer}_wide", *wide)]
        nodes += [node("MatMul", f"{layer}_down", f"{layer}_wide", f"{layer}_down.weight")]
        nodes += normed(states := f"{layer}_states", f"{layer}_middle", f"{layer}_down")
    values = {
        name if name == "table" else f"{name}.weight": random.normal(0, 0.08, size) for name, size in weights.items()
    }
    values["scale"] = np.ones(64)
    constants = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    given = onnx.helper.make_tensor_value_info(states, onnx.TensorProto.FLOAT, ["batch", "tokens", 64])
    graph = onnx.helper.make_graph(nodes, "decoder", [ids], [given], constants)
    folder.mkdir()
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / GRAPH)


def normed(name: str, *states: str) -> list[Any]:
    """A sum of states, each scaled to one length."""
    return [node("Sum", f"{name}_sum", *states), node("LayerNormalization", name, f"{name}_sum", "scale")]


def node(kind: str, name: str, *inputs: str) -> Any:
    """A node of this name, which is that of what it gives."""
    return onnx.helper.make_node(kind, inputs, [name], name=name)


def ran(folder: Path) -> Floats:
    """Each token's state."""
    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    given = {"input_ids": np.arange(257)[None], "pooling": np.eye(257, dtype=np.float32)[None]}
    return np.asarray(session.run(None, given)[0][0])


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def prompted() -> list[str]:
    return [PROMPT + text for text in TEXTS]


def last_token(folder: Path, texts: list[str], sees_both_ways: bool = False) -> Floats:
    """Qwen3's and GTE's model cards: padded on the left, state at the last position, scaled."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    batch = tokenizer(texts, padding=True, truncation=True, max_length=8192, return_tensors="pt")
    states = _states(folder, batch["input_ids"], batch["attention_mask"], sees_both_ways)
    return np.asarray(torch.nn.functional.normalize(states[:, -1], p=2, dim=1).numpy())


def llm2vec(folder: Path, texts: list[str]) -> Floats:
    """LLM2Vec's encode for [instruction, text] pairs: the mask of the mean is the text's own tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    instruction = PROMPT.removeprefix("Instruct: ").removesuffix("\nQuery:\n").strip(".") + ":"
    batch = tokenizer([f"{instruction} {text}" for text in texts], padding=True, return_tensors="pt")
    states = _states(folder, batch["input_ids"], batch["attention_mask"], sees_both_ways=True)
    own = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    return np.stack([row[-count:].mean(0).numpy() for row, count in zip(states, own, strict=True)])


def _states(folder: Path, ids: torch.Tensor, mask: torch.Tensor, sees_both_ways: bool) -> torch.Tensor:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    visible = mask
    if sees_both_ways:
        visible = (1.0 - mask[:, None, None, :].expand(-1, 1, ids.shape[1], -1).float()) * -1e30
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        states: torch.Tensor = model(ids, attention_mask=visible, position_ids=positions).last_hidden_state
    return states
