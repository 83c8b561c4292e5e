"""GPT-2's relatives: the logits of transformers, and the invariants and tools of GPT-2.

The checkpoints and their logits are in ``tests/data/relatives``.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from gpt2edge import GREEDY, Engine, SamplingParams
from gpt2edge.cli.commands.inspect import transformer_parameters
from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError, ProviderError
from gpt2edge.export import SourceOptions, export_checkpoint
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.verify import reference
from gpt2edge.export.verify.parity import _session
from gpt2edge.graph import names
from gpt2edge.graph.tensors import TensorReader
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT8_BLOCK, Calibration, quantize
from gpt2edge.quant.calibration.equalization import EqualizedTensors, equalize
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.options import PromptLookup, RuntimeOptions
from gpt2edge.runtime.ort.session import require_windows
from gpt2edge.runtime.sampling.log_probs import log_softmax
from gpt2edge.runtime.search.verifiers.reward_models import OutcomeModel
from gpt2edge.runtime.speculative.cost_model import DraftLength

TINY: Final = Path(__file__).parent / "data" / "tiny"
FOLDER: Final = Path(__file__).parent / "data" / "relatives"
HEADS: Final = {"gpt1-labels", "gpt1-choices", "gpt2-choices"}
LANGUAGE_MODELS: Final = sorted({path.name for path in FOLDER.iterdir()} - HEADS)
SAMPLED: Final = SamplingParams(temperature=0.9, top_p=0.95, seed=5)
PROMPT: Final = [5, 9, 11, 5, 9, 11, 5, 9]
TEXT: Final = Calibration(token_ids=np.random.default_rng(2).integers(3, 60, 400).tolist())


def skip_where_too_old(name: str) -> None:
    """Skip a model that this onnxruntime cannot run, such as GPT-Neo before 1.24."""
    try:
        require_windows(
            ModelConfig.from_dict(json.loads((FOLDER / name / "config.json").read_text()))
        )
    except ProviderError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=LANGUAGE_MODELS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    skip_where_too_old(request.param)
    out = tmp_path_factory.mktemp(request.param)
    return export_checkpoint(FOLDER / request.param, out / "cpu", origin=request.param)


@pytest.fixture(scope="module")
def engine(exported: ModelDir) -> Iterator[Engine]:
    with Engine(exported.path) as engine:
        yield engine


def expected(name: str) -> tuple[list[int], Any]:
    """Token ids, and transformers' logits after each of them."""
    with np.load(FOLDER / name / "expected.npz") as data:
        return data["input_ids"].tolist(), data["logits"]


def stepwise(decoder: Decoder, ids: list[int], *, chunk: int, prefill: int) -> Any:
    """Logits after every token: ``prefill`` tokens in chunks, then one at a time in place."""
    rows = [
        part
        for start in range(0, prefill, chunk)
        for part in decoder.prefill_all(0, ids[start : min(start + chunk, prefill)])
    ]
    rows += [decoder.decode([token])[:1].copy() for token in ids[prefill:]]
    return np.concatenate(rows)


def test_logits_are_those_of_transformers_in_prefill_and_decode(
    exported: ModelDir, engine: Engine
) -> None:
    ids, logits = expected(exported.manifest.source)
    assert np.abs(engine.logits(ids) - logits).max() < 1e-4
    for chunk, prefill in ((32, 14), (3, 14), (1, 1)):
        decoder = engine.decoder(rows=1, max_length=len(ids))
        found = stepwise(decoder, ids, chunk=chunk, prefill=prefill)
        assert np.abs(found - logits).max() < 1e-4, (chunk, prefill)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_portable_graph_computes_the_same(name: str, tmp_path: Path) -> None:
    portable = export_checkpoint(FOLDER / name, tmp_path / "out", profile="portable")
    ids, logits = expected(name)
    with Engine(portable.path) as engine:
        assert np.abs(engine.logits(ids) - logits).max() < 1e-4
        decoder = engine.decoder(rows=1, max_length=len(ids))
        found = stepwise(decoder, ids, chunk=5, prefill=14)
        assert np.abs(found - logits).max() < 1e-4


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_reference_computes_the_same_with_a_cache_and_without(name: str) -> None:
    checkpoint = Checkpoint.open(FOLDER / name)
    ids, logits = expected(name)
    whole, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids)
    first, cache = reference.forward(checkpoint.config, checkpoint.tensor, ids[:9])
    rest, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids[9:], cache)
    for hidden in (whole, np.concatenate([first, rest])):
        found = reference.logits(hidden, checkpoint.tensor, checkpoint.head.weight)
        assert np.abs(found - logits).max() < 1e-4


@pytest.mark.parametrize("profile", ["cpu", "portable"])
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_hidden_states_are_what_the_head_reads(name: str, profile: str, tmp_path: Path) -> None:
    if profile == "cpu":
        skip_where_too_old(name)
    model = export_checkpoint(FOLDER / name, tmp_path / "out", profile=profile, hidden_states=True)
    ids, logits = expected(name)
    (hidden,) = _session(model.graph_path).run([names.HIDDEN_STATES], whole(model, ids))
    checkpoint = Checkpoint.open(FOLDER / name)
    want, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids)
    assert hidden.shape == (1, *want.shape)
    assert np.abs(hidden[0] - want).max() < 1e-4
    with Engine(model.path) as engine:
        assert engine._session.hidden_output == names.HIDDEN_STATES
        assert np.abs(engine.logits(ids) - logits).max() < 1e-4


def whole(model: ModelDir, ids: list[int]) -> dict[str, Any]:
    """Feeds of a graph for all of ``ids`` and an empty cache."""
    shape = (1, model.config.n_kv_head, 0, model.config.head_dim)
    cache = {past: np.zeros(shape, np.float32) for past, _ in names.cache(model.config.n_layer)}
    positions = np.arange(len(ids))[None]
    return {
        names.INPUT_IDS: np.array([ids]),
        names.ATTENTION_MASK: np.ones_like(positions),
        names.POSITION_IDS: positions,
        **cache,
    }


def test_the_engine_finds_hidden_states_in_every_graph_it_edits(engine: Engine) -> None:
    session = engine._session
    if not session.takes_lengths:
        pytest.skip("this onnxruntime loads graphs as they are")
    assert session.hidden_output == ("kept" if engine.config.norms_after else "ln_f")


def test_labels_of_a_classifier(tmp_path: Path) -> None:
    model = export_checkpoint(FOLDER / "gpt1-labels", tmp_path / "out")
    ids, logits = expected("gpt1-labels")
    with Engine(model.path) as engine:
        assert np.abs(engine.logits(ids)[-1] - logits).max() < 1e-4


@pytest.mark.parametrize("name", ["gpt1-choices", "gpt2-choices"])
def test_choices_are_scored_as_by_transformers(name: str, tmp_path: Path) -> None:
    options = SourceOptions(head="multiple_choice_head")
    model = export_checkpoint(FOLDER / name, tmp_path / "out", options=options)
    with np.load(FOLDER / name / "expected.npz") as data:
        ids, scores = data["input_ids"].tolist(), data["choices"]
    assert model.manifest.task == "token-classification"
    with Engine(model.path) as engine:
        assert np.abs(engine.logits(ids)[:, 0] - scores).max() < 1e-4
        assert engine.logits(ids).shape == (len(ids), 1)
    quantized = quantize(model, tmp_path / "int8", recipe="int8", calibration=TEXT)
    with Engine(quantized.path) as engine:
        assert np.abs(engine.logits(ids)[:, 0] - scores).max() < 0.1 * np.abs(scores).max()


def test_a_value_head_of_trl_is_a_verifier(tmp_path: Path) -> None:
    """Its value is a product with the last hidden state, here computed by the reference."""
    rng = np.random.default_rng(1)
    source = shutil.copytree(TINY, tmp_path / "in")
    tensors = load_file(source / "model.safetensors")
    weight, bias = rng.normal(size=(1, 32)).astype("f4"), np.array([0.25], np.float32)
    tensors |= {"v_head.summary.weight": weight, "v_head.summary.bias": bias}
    save_file(tensors, source / "model.safetensors")
    options = SourceOptions(head="v_head")
    model = export_checkpoint(source, tmp_path / "out", options=options)
    checkpoint = Checkpoint.open(source)
    with Engine(model.path) as engine:
        verifier = OutcomeModel(engine, activation="none")
        (found,) = verifier.score("To be, or", [" not to be"])
        ids = [*engine.encode("To be, or"), *engine.encode(" not to be", add_special_tokens=False)]
    hidden, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids)
    assert abs(found - float(hidden[-1] @ weight[0] + bias[0])) < 1e-3


def test_a_value_head_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no value head 'v_head'; it has multiple_choice_head"):
        export_checkpoint(
            FOLDER / "gpt2-choices", tmp_path / "out", options=SourceOptions(head="v_head")
        )
    with pytest.raises(ValueError, match="head is 'lm_head'; it must be one of v_head"):
        SourceOptions(head="lm_head")


def test_a_row_in_a_batch_is_the_row_alone(engine: Engine) -> None:
    prompts = [PROMPT, PROMPT[:3], [7], list(range(3, 20))]
    for sampling in (GREEDY, SAMPLED):
        alone = [engine.generate(p, max_new_tokens=9, sampling=sampling) for p in prompts]
        batch = engine.generate_batch(prompts, max_new_tokens=9, sampling=sampling)
        if sampling is GREEDY:
            assert [done.token_ids for done in batch] == [done.token_ids for done in alone]
        else:
            assert batch[0].token_ids == alone[0].token_ids


def test_forks_and_prompts_in_chunks_continue_as_the_whole(engine: Engine) -> None:
    whole = engine.generate(PROMPT, max_new_tokens=12, sampling=GREEDY)
    chunked = Engine(engine.model.path, RuntimeOptions(prefill_chunk=1))
    assert chunked.generate(PROMPT, max_new_tokens=12, sampling=GREEDY).token_ids == whole.token_ids
    ids = [*PROMPT, *whole.token_ids]
    decoder = engine.decoder(rows=3, max_length=len(ids))
    for _ in decoder.prefill_all(0, PROMPT):
        pass
    decoder.cache.fork(0, [1, 2])
    found = [np.array(decoder.decode([token] * 3)) for token in whole.token_ids]
    logits = engine.logits(ids)[len(PROMPT) :]
    for step, wanted in zip(found, logits, strict=True):
        assert np.abs(step - wanted).max() < 1e-4


def test_speculation_changes_no_text(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DraftLength, "best", lambda _self, _kind, most, **_: most)
    guessing = Engine(engine.model.path, RuntimeOptions(speculation=PromptLookup(min_ngram=1)))
    for sampling in (GREEDY, SAMPLED):
        plain = engine.generate(PROMPT, max_new_tokens=20, sampling=sampling)
        other = guessing.generate(PROMPT, max_new_tokens=20, sampling=sampling)
        assert other.token_ids == plain.token_ids
        assert other.timing.guessed_tokens > 0


@pytest.mark.parametrize("recipe", ["int8", "int8-block", "int4"])
def test_recipes_stay_close_to_float32(exported: ModelDir, recipe: str, tmp_path: Path) -> None:
    """As close as they stay for a GPT-2 of this size and scale of weights."""
    smaller = quantize(exported, tmp_path / recipe, recipe=recipe, calibration=TEXT)
    ids, logits = expected(exported.manifest.source)
    with Engine(smaller.path) as engine:
        assert divergence(logits, engine.logits(ids)) < {"int8": 0.02, "int4": 0.2}.get(
            recipe, 0.005
        )


@pytest.mark.usefixtures("int8_cache")
def test_an_int8_cache_stays_close_to_float32(exported: ModelDir, tmp_path: Path) -> None:
    recipe = replace(INT8_BLOCK, kv_cache="int8")
    smaller = quantize(exported, tmp_path / "out", recipe=recipe, calibration=TEXT)
    ids, logits = expected(exported.manifest.source)
    with Engine(smaller.path) as engine:
        decoder = engine.decoder(rows=1, max_length=len(ids))
        assert divergence(logits, stepwise(decoder, ids, chunk=5, prefill=14)) < 0.02


def divergence(a: Any, b: Any) -> float:
    """Return the mean KL(A || B) in nats of two arrays of logits."""
    p, q = log_softmax(a), log_softmax(b)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


def test_equalization_keeps_every_models_function(exported: ModelDir) -> None:
    """Links that are exact for GPT-2 only are left out; the rest changes no bit of the logits."""
    proto = onnx.load(exported.graph_path, load_external_data=False)
    tensors = EqualizedTensors(TensorReader(proto.graph.initializer, exported.path))
    equalize(tensors, exported.config)
    assert tensors.input_factors
    ids, logits = expected(exported.manifest.source)
    head = names.weight(names.LM_HEAD)
    hidden, _ = reference.forward(exported.config, tensors.read, ids)
    weight = head if head in tensors else names.weight(names.WTE)
    assert np.abs(reference.logits(hidden, tensors.read, weight) - logits).max() < 1e-4


def test_links_of_each_architecture() -> None:
    """Norms that follow sums, and one head of values for all queries, have no link."""
    for name, left_out in (("gpt1", "c_attn"), ("gpt_bigcode", "attn.c_proj"), ("gpt_neo", None)):
        config = Checkpoint.open(FOLDER / name).config
        assert config.norms_after is (name == "gpt1")
        assert (config.n_kv_head == 1) is (name == "gpt_bigcode")
        assert left_out is None or config.architecture in ("openai-gpt", "gpt_bigcode")


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_weights_are_counted(name: str) -> None:
    checkpoint = Checkpoint.open(FOLDER / name)
    own = [n for n in checkpoint.parameter_names if n not in (names.weight(names.LM_HEAD), None)]
    assert transformer_parameters(checkpoint.config) == sum(checkpoint.tensor(n).size for n in own)


CHANGES: Final = {
    "n_head": ("gpt1", {"n_head": None}, "n_head is absent"),
    "heads of neo": ("gpt_neo", {"num_heads": None}, "num_heads is absent"),
    "afn": ("gpt1", {"afn": "gelu_new"}, "afn is 'gelu_new'; it must be one of gelu, relu"),
    "size": ("gpt_neo", {"num_layers": 0}, "num_layers is 0; it must be a whole number"),
    "window": ("gpt_neo", {"window_size": 0}, "window_size is 0"),
    "layers": ("gpt_neo", {"attention_layers": ["global"]}, "attention_layers is"),
    "kinds": ("gpt_neo", {"attention_layers": ["global", "far"]}, "must name global or local"),
    "projection": ("opt", {"word_embed_proj_dim": 8}, "embeddings that are projected"),
    "norm": ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before is false"),
    "queries": ("gpt_bigcode", {"multi_query": "yes"}, "multi_query is 'yes'"),
    "other": ("opt", {"model_type": "llama"}, "model_type is 'llama'; it must be one of 'gpt2', "),
    "no name": ("opt", {"model_type": []}, "model_type is"),
    "another shape": ("gpt_bigcode", {"multi_query": False}, "config.json makes it"),
    "another layer": ("gpt_neo", {"num_layers": 3, "attention_layers": ["global"] * 3}, "h.2.ln_1"),
}


@pytest.mark.parametrize(("name", "changes", "message"), CHANGES.values(), ids=CHANGES)
def test_a_config_that_does_not_fit(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = shutil.copytree(FOLDER / name, tmp_path / "in")
    keys = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**keys, **changes}))
    with pytest.raises(ExportError, match=message):
        export_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_defaults_are_those_of_transformers() -> None:
    """The published sizes that the configuration classes of transformers 5 have."""
    neo = ModelConfig.from_dict({"model_type": "gpt_neo"})
    assert (neo.n_layer, neo.n_inner, neo.windows[:2]) == (24, 8192, (0, 256))
    assert neo.attention_scale(3) == 1.0
    gpt1 = ModelConfig.from_dict({"model_type": "openai-gpt"})
    assert (gpt1.vocab_size, gpt1.n_positions, gpt1.activation_function) == (40478, 512, "gelu_new")
    assert gpt1.eos_token_ids == ()
    opt = ModelConfig.from_dict({"model_type": "opt"})
    assert (opt.bos_token_id, opt.eos_token_ids, opt.activation_function) == (2, (2,), "relu")
    assert ModelConfig.from_dict({"model_type": "gpt_bigcode"}).n_kv_head == 1
    assert not ModelConfig.from_dict({"model_type": "biogpt"}).tie_word_embeddings
