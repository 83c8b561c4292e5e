"""The committed solvers: they export at parity and solve some problems."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import gpt2edge
from gpt2edge.errors import ProviderError
from gpt2edge.export.verify import reference
from gpt2edge.runtime.ort.session import require_int8_cache
from tasks.stepmath import problems as stepmath
from tests.conftest import ROOT

pytest.importorskip("onnx", reason="needs the export extra")
safetensors = pytest.importorskip("safetensors", reason="needs the export extra")

from gpt2edge.evaluate.divergence import kl_divergence  # noqa: E402
from gpt2edge.export import export_checkpoint  # noqa: E402
from gpt2edge.export.sources.checkpoint import Checkpoint  # noqa: E402
from gpt2edge.quant import INT8_BLOCK, quantize  # noqa: E402

MODELS = ROOT / "training" / "models"
FOLDERS = sorted(MODELS.glob("stepmath-*"))
SMALLEST = MODELS / "stepmath-0.1m"
TOLERANCE = 1e-4
PROBLEMS = stepmath.heldout_problems(60)


@pytest.fixture(scope="module")
def solver(tmp_path_factory: pytest.TempPathFactory) -> gpt2edge.Engine:
    """The smallest generator in float32."""
    folder = tmp_path_factory.mktemp("solver") / "fp32"
    export_checkpoint(SMALLEST, folder)
    return gpt2edge.load(folder)


def test_smallest_is_the_numpy_forward(solver: gpt2edge.Engine) -> None:
    checkpoint = Checkpoint.open(SMALLEST)
    problem = PROBLEMS[0]
    ids = solver.encode(problem.prompt + problem.solution)
    hidden, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids)
    expected = reference.logits(hidden, checkpoint.tensor, checkpoint.head.weight)
    far = np.abs(solver.logits(ids) - expected).max()
    assert far <= TOLERANCE * max(1, np.abs(expected).max() / 10)  # logits reach 32


def test_an_int8_cache_reads_prompts_that_it_never_saw(
    solver: gpt2edge.Engine, tmp_path: Path
) -> None:
    """Trained on solutions alone, the model writes nothing like a problem to find scales on."""
    try:
        require_int8_cache()
    except ProviderError as error:
        pytest.skip(str(error))
    texts = [solver.encode(problem.prompt + problem.solution) for problem in PROBLEMS[:20]]
    losses = []
    for cache in ("float32", "int8"):
        recipe = replace(INT8_BLOCK, rounding="nearest", kv_cache=cache)
        model = quantize(solver.model, tmp_path / cache, recipe=recipe)
        losses.append(kl_divergence(solver, gpt2edge.load(model.path), texts))
    assert losses[1] < 3 * losses[0]


def test_smallest_solves_some_and_not_all(solver: gpt2edge.Engine) -> None:
    completions = solver.generate_batch(
        [problem.prompt for problem in PROBLEMS],
        max_new_tokens=128,
        sampling=gpt2edge.SamplingParams(temperature=0.0),
    )
    pairs = list(zip(PROBLEMS, completions, strict=True))
    right = sum(stepmath.is_right(problem, done.text) for problem, done in pairs)
    assert 0.08 < right / len(PROBLEMS) < 0.7
    assert sum(done.finish_reason == "eos" for done in completions) > 0.9 * len(PROBLEMS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_tokens(folder: Path) -> None:
    """One tokenizer for all; each digit alone; steps tokenized apart are the text's tokens."""
    assert (folder / "tokenizer.json").read_bytes() == (SMALLEST / "tokenizer.json").read_bytes()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for problem in PROBLEMS:
        text = problem.prompt + problem.solution
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids) == text
        pieces = [tokenizer.decode([token]) for token in ids]
        assert all(sum(char.isdigit() for char in piece) <= 1 for piece in pieces)
        parts = [problem.prompt, *stepmath.split_solution(problem.solution)]
        assert [token for part in parts for token in tokenizer.encode(part).ids] == ids
    odd = "naïve 東京 🎉 ٣ \t 12,5"
    assert tokenizer.decode(tokenizer.encode(odd).ids) == odd


@pytest.mark.interop
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_is_transformers(folder: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="interop: needs torch")
    transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
    name = Checkpoint.open(folder).keys["architectures"][0]
    theirs = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    export_checkpoint(folder, tmp_path / "onnx")
    engine = gpt2edge.load(tmp_path / "onnx")
    for problem in PROBLEMS[:5]:
        ids = engine.encode(problem.prompt + problem.solution)
        with torch.no_grad():
            expected = theirs(torch.tensor([ids])).logits[0].numpy()  # [time, size]
        far = np.abs(engine.logits(ids) - expected).max()
        assert far <= TOLERANCE * max(1, np.abs(expected).max() / 10)
