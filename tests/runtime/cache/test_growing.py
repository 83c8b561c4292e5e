"""A cache that grows does what the one in place does, whatever is done to its rows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gpt2edge import Engine, ModelDir
from gpt2edge.errors import ModelDirError, QuantizationError
from gpt2edge.quant import INT8, quantize
from gpt2edge.runtime.decoding.concat_decoder import ConcatCache, ConcatDecoder
from gpt2edge.runtime.decoding.decoder import Decoder
from tests.runtime.models import make_engine

ROWS, LENGTH = 4, 24


@pytest.fixture(scope="module")
def in_place(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return make_engine(tmp_path_factory.mktemp("in_place"))


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return make_engine(tmp_path_factory.mktemp("growing"), profile="portable")


@pytest.fixture
def optimum(growing: Engine, tmp_path: Path) -> Path:
    """What Optimum would have written: the same files, names and graph, and no manifest."""
    folder = Path(shutil.copytree(growing.model.path, tmp_path / "optimum"))
    (folder / "manifest.json").unlink()
    return folder


def test_which_cache_a_graph_gets(in_place: Engine, growing: Engine) -> None:
    assert type(in_place.decoder(rows=1, max_length=8)) is Decoder
    decoder = growing.decoder(rows=1, max_length=8)
    assert type(decoder) is ConcatDecoder
    assert isinstance(decoder.cache, ConcatCache)


def test_logits_are_those_of_the_cache_in_place(in_place: Engine, growing: Engine) -> None:
    token_ids = np.random.default_rng(0).integers(0, 259, 300).tolist()  # more than one chunk
    difference = growing.logits(token_ids) - in_place.logits(token_ids)
    assert np.abs(difference).max() <= 5e-5


@pytest.mark.parametrize("seed", range(6))
def test_any_use_of_the_rows(growing: Engine, seed: int) -> None:
    """Rows are what they would be, had each been entered afresh."""
    rng = np.random.default_rng(seed)
    decoder = growing.decoder(rows=ROWS, max_length=LENGTH)
    texts: list[list[int]] = [[] for _ in range(ROWS)]
    for _ in range(40):
        _change(decoder, texts, rng)
        assert decoder.cache.lengths.tolist() == list(map(len, texts))
        count = int(rng.integers(1, ROWS + 1))
        if max(map(len, texts[:count])) < LENGTH and rng.random() < 0.7:
            token_ids = rng.integers(0, 259, count)
            found = decoder.decode(token_ids).copy()
            for row in range(count):
                texts[row].append(int(token_ids[row]))
                assert np.abs(found[row] - growing.logits(texts[row])[-1]).max() <= 5e-5


def _change(decoder: Decoder, texts: list[list[int]], rng: np.random.Generator) -> None:
    """One random change of the rows, and of the ``texts`` that they hold."""
    cache, row, other = decoder.cache, int(rng.integers(ROWS)), int(rng.integers(ROWS))
    kind = rng.integers(5)
    if kind == 0:
        length = int(rng.integers(len(texts[row]) + 1))
        cache.truncate(row, length)
        del texts[row][length:]
    elif kind == 1 and len(texts[row]) < LENGTH:
        tokens = rng.integers(0, 259, int(rng.integers(1, LENGTH - len(texts[row]) + 1))).tolist()
        decoder.prefill(row, tokens)
        texts[row] += tokens
    elif kind == 2:
        cache.fork(row, [other])
        texts[other] = list(texts[row])
    elif kind == 3:
        order = rng.integers(0, ROWS, ROWS).tolist()
        cache.select(order)
        texts[:] = [list(texts[at]) for at in order]
    elif kind == 4 and texts[row]:
        start = int(rng.integers(len(texts[row])))
        tail = cache.read(row, start, len(texts[row]))
        cache.truncate(row, start)
        cache.append(row, tail)


def test_a_step_does_not_bring_the_cache_home(
    growing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = growing.decoder(rows=2, max_length=16)
    decoder.prefill(0, [1, 2, 3])
    decoder.cache.fork(0, [1])
    decoder.decode([4, 5])
    monkeypatch.setattr(ConcatCache, "_store", None)  # any copy would fail
    decoder.decode([6, 7])
    decoder.decode([8, 9])


def test_a_folder_of_optimums(growing: Engine, optimum: Path) -> None:
    model = ModelDir.open(optimum)
    assert model.manifest.profile == "optimum"
    assert model.nbytes == sum(path.stat().st_size for path in optimum.iterdir())
    assert model.damaged_files() == []
    engine = Engine(optimum)
    ours = growing.generate("hello", max_new_tokens=20).token_ids
    assert engine.generate("hello", max_new_tokens=20).token_ids == ours
    with pytest.raises(QuantizationError, match="of profile optimum"):
        quantize(model, optimum.parent / "out", recipe=INT8)


def test_old_decoders_are_refused(optimum: Path) -> None:
    (optimum / "model.onnx").rename(optimum / "decoder_model_merged.onnx")
    with pytest.raises(ModelDirError, match=r"merged\.onnx is of an old export, .* export the"):
        Engine(optimum)


def test_a_graph_without_a_cache_is_refused(optimum: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(optimum / "model.onnx", load_external_data=False)
    for value in graph.graph.input:
        value.name = value.name.replace("past_key_values.", "cache_")
    for node in graph.graph.node:
        node.input[:] = [name.replace("past_key_values.", "cache_") for name in node.input]
    onnx.save(graph, optimum / "model.onnx")
    with pytest.raises(ModelDirError, match=r"no key/value cache .* text-generation-with-past"):
        Engine(optimum)


def test_a_merged_decoder_is_known_by_its_inputs(optimum: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(optimum / "model.onnx", load_external_data=False)
    branch = onnx.helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1])
    graph.graph.input.append(branch)
    onnx.save(graph, optimum / "model.onnx")
    with pytest.raises(ModelDirError, match=r"decoder of an old export: .* use_cache_branch"):
        Engine(optimum)


def test_a_checkpoint_is_not_taken_for_a_model(optimum: Path) -> None:
    (optimum / "model.onnx").unlink()
    with pytest.raises(ModelDirError, match="holds a checkpoint, not an exported model"):
        Engine(optimum)
    (optimum / "model.onnx").touch()
    (optimum / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelDirError, match="model_type is 'llama'; it must be one of 'gpt2', "):
        Engine(optimum)
