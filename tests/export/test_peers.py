"""Peers run our folders and the engine runs theirs: 200 greedy tokens, the same as PyTorch's.

``make interop-peers`` builds the environments and runs this.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from gpt2edge import GREEDY, Engine, StopParams
from gpt2edge.export import export_checkpoint, export_with_optimum
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, write_checkpoint
from tests.conftest import ROOT

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

NEW: Final = 200
PROMPTS: Final = ([12, 50, 31, 7, 66, 80, 45, 11, 3, 90, 21, 5], [40, 41], [9, 8, 7, 6, 5])
KEYS: Final = {**SMALL, "n_positions": 256, "bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture(scope="module", params=["storyteller", "random"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "storyteller":
        return ROOT / "training" / "models" / "storyteller"
    folder = tmp_path_factory.mktemp("random") / "hf"
    write_checkpoint(folder, KEYS, seed=3)
    return folder


@pytest.fixture(scope="module")
def fused(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("fused") / "out")


@pytest.fixture(scope="module")
def portable(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    out = tmp_path_factory.mktemp("portable") / "out"
    return export_checkpoint(checkpoint, out, profile="portable")


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> list[list[int]]:
    """What PyTorch generates after each of PROMPTS, alone."""
    return [_pytorch(checkpoint, tuple(prompt)) for prompt in PROMPTS]


@cache
def _pytorch(checkpoint: Path, prompt: tuple[int, ...]) -> list[int]:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2LMHeadModel.from_pretrained(checkpoint).to(torch.float32)
    return _generated(model, [prompt])[0]


def _generated(model: Any, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """transformers' greedy search on a left-padded batch, the end token banned."""
    torch = pytest.importorskip("torch")
    width = max(map(len, prompts))
    pads = [width - len(prompt) for prompt in prompts]
    ids = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
    mask = [[0] * pad + [1] * (width - pad) for pad in pads]
    found = model.generate(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        min_new_tokens=NEW,
        max_new_tokens=NEW,
        do_sample=False,
        repetition_penalty=1.0,
        pad_token_id=0,
    )
    rows: list[list[int]] = found[:, width:].tolist()
    return rows


def _by_the_engine(model: ModelDir) -> list[list[int]]:
    completions = Engine(model.path).generate_batch(
        PROMPTS, max_new_tokens=NEW, sampling=GREEDY, stop=StopParams(ignore_eos=True)
    )
    return [list(completion.token_ids) for completion in completions]


def test_the_engine(fused: ModelDir, portable: ModelDir, expected: list[list[int]]) -> None:
    assert _by_the_engine(fused) == expected
    assert _by_the_engine(portable) == expected


@pytest.mark.parametrize("io_binding", [False, True])
def test_optimum_runs_the_fused_folder(
    fused: ModelDir, expected: list[list[int]], io_binding: bool
) -> None:
    theirs = _optimum().from_pretrained(fused.path, use_io_binding=io_binding)
    assert [_generated(theirs, [prompt])[0] for prompt in PROMPTS] == expected


@pytest.mark.parametrize("io_binding", [False, True])
def test_optimum_runs_the_portable_folder(
    portable: ModelDir, expected: list[list[int]], io_binding: bool
) -> None:
    theirs = _optimum().from_pretrained(portable.path, use_io_binding=io_binding)
    assert _generated(theirs, PROMPTS[:1]) == expected[:1]
    assert _generated(theirs, PROMPTS) == expected  # padded on the left


def test_the_engine_runs_optimums_folder(
    checkpoint: Path, expected: list[list[int]], tmp_path: Path
) -> None:
    _optimum()
    model = export_with_optimum(checkpoint, tmp_path / "theirs")
    assert model.manifest.profile == "optimum"
    assert _by_the_engine(model) == expected
    (model.path / "manifest.json").unlink()  # as Optimum alone leaves it
    assert _by_the_engine(ModelDir.open(model.path)) == expected


def test_transformers_reads_the_tokenizer(fused: ModelDir, portable: ModelDir) -> None:
    transformers = pytest.importorskip("transformers")
    _optimum()  # transformers of the version that Optimum takes
    if fused.tokenizer_path is None:
        pytest.skip("this checkpoint has no tokenizer")
    text = "Once upon a time, 'tis\nsaid; naïve"
    ours = Engine(fused.path).encode(text)
    for model in (fused, portable):
        tokenizer = transformers.AutoTokenizer.from_pretrained(model.path)
        assert tokenizer(text).input_ids == ours


def test_onnxruntime_genai_runs_the_fused_folder(
    fused: ModelDir, expected: list[list[int]]
) -> None:
    genai = pytest.importorskip("onnxruntime_genai", reason="interop: needs onnxruntime-genai")
    theirs = genai.Model(str(fused.path))
    found: list[list[int]] = []
    for prompt in PROMPTS:
        length = len(prompt) + NEW
        parameters = genai.GeneratorParams(theirs)
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = genai.Generator(theirs, parameters)
        generator.append_tokens(np.array([prompt], np.int32))
        found.append([])
        while not generator.is_done():
            generator.generate_next_token()
            found[-1].append(int(generator.get_next_tokens()[0]))
    assert found == expected
    if fused.tokenizer_path is not None:
        text = "Once upon a time, 'tis\nsaid"
        assert genai.Tokenizer(theirs).encode(text).tolist() == Engine(fused.path).encode(text)


def _optimum() -> Any:
    reason = "interop: needs optimum-onnx"
    return pytest.importorskip("optimum.onnxruntime", reason=reason).ORTModelForCausalLM
