"""The harness's tasks through gpt2edge and through its own ``hf`` backend: the same results.

Needs packages of its own: ``pip install '.[export,lm-eval]' torch transformers pytest``,
then ``pytest -m interop tests/plugins/test_lm_eval.py``.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt2edge.export import export_checkpoint
from tests.conftest import ROOT

os.environ.setdefault("HF_HUB_OFFLINE", "1")
lm_eval = pytest.importorskip("lm_eval", reason="interop: needs lm_eval")
pytest.importorskip("torch", reason="interop: needs torch")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

CHECKPOINT = ROOT / "training" / "models" / "storyteller"
TASKS = ROOT / "tests" / "data" / "lm_eval"
NAMES = ["gpt2edge_endings", "gpt2edge_passages", "gpt2edge_writing"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The task files, with absolute paths of their data."""
    from lm_eval.tasks import TaskManager

    folder = with_absolute_paths(tmp_path_factory.mktemp("tasks"))
    return TaskManager(include_path=str(folder), include_defaults=False)


def with_absolute_paths(folder: Path) -> Path:
    for path in TASKS.glob("*.yaml"):
        task = yaml.safe_load(path.read_text())
        name = "passages" if path.stem == "passages" else "endings"
        task["dataset_kwargs"] = {"data_files": {"test": str(TASKS / f"{name}.jsonl")}}
        (folder / path.name).write_text(yaml.safe_dump(task))
    return folder


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    """The model's name, for releases that do not look for entry points."""
    from gpt2edge.plugins.lm_eval import register

    register()
    register()  # again, as where the entry point was found


def evaluate(model: str, arguments: dict[str, Any], tasks: Any) -> Any:
    return lm_eval.simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=NAMES,
        task_manager=tasks,
        batch_size=4,
        log_samples=True,
        bootstrap_iters=0,
    )


@pytest.fixture(scope="module")
def both(tasks: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Results of gpt2edge and of hf."""
    model = export_checkpoint(CHECKPOINT, tmp_path_factory.mktemp("story") / "fp32")
    ours = evaluate("gpt2edge", {"pretrained": str(model.path), "threads": 1}, tasks)
    theirs = evaluate(
        "hf", {"pretrained": str(CHECKPOINT), "dtype": "float32", "device": "cpu"}, tasks
    )
    return ours, theirs


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_those_of_hf(both: tuple[Any, Any], name: str) -> None:
    ours, theirs = (results["results"][name] for results in both)
    metrics = {key for key, value in theirs.items() if isinstance(value, float)}
    assert metrics
    for key in metrics:
        assert ours[key] == pytest.approx(theirs[key], abs=1e-3), key


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_that_of_hf(both: tuple[Any, Any], name: str) -> None:
    ours, theirs = (results["samples"][name] for results in both)
    assert len(ours) == len(theirs) > 3
    for one, other in zip(ours, theirs, strict=True):
        for mine, reference in zip(one["resps"], other["resps"], strict=True):
            if name == "gpt2edge_writing":
                assert mine == reference
            else:
                values = [
                    item if isinstance(item, tuple) else (item,) for item in (*mine, *reference)
                ]
                found, expected = values
                assert float(found[0]) == pytest.approx(float(expected[0]), abs=1e-3)
                assert found[1:] == expected[1:]


def test_the_harness_s_own_command_line_knows_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpt2edge.plugins import lm_eval as plugin

    found = []

    def command_line() -> None:
        found.append(lm_eval.api.registry.get_model("gpt2edge"))

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", command_line)
    plugin.main()
    assert found == [plugin.Gpt2EdgeLM]
    arguments = {"batch_size": 1, "max_batch_size": None, "device": "cuda:0"}  # as it passes them
    model = found[0].create_from_arg_string("threads=1,max_gen_toks=7", arguments)
    assert (model.max_gen_toks, model.batch_size) == (7, 1)


def test_a_task_that_says_what_we_do_not_know_is_an_error() -> None:
    from gpt2edge.plugins.lm_eval import Gpt2EdgeLM

    model = Gpt2EdgeLM(threads=1, max_length=64)
    with pytest.raises(ValueError, match="generation_kwargs holds penalty_alpha; gpt2edge knows"):
        model._generate(["Once"], {"penalty_alpha": 1.0})
    with pytest.raises(ValueError, match="max_gen_toks is 64; it must be less than"):
        model._generate(["Once"], {"max_gen_toks": 64})
    drawn = {"do_sample": True, "temperature": 1.2, "max_gen_toks": 9, "until": "\n"}
    texts = model._generate(["Once upon", "The wolf"], drawn)
    assert texts == model._generate(["Once upon", "The wolf"], drawn)
    assert len(model._generate(["word " * 200], {"max_gen_toks": 9})) == 1
    with pytest.raises(ValueError, match="max_length is 9999; it must be a whole number from 2"):
        Gpt2EdgeLM(max_length=9999)
    with pytest.raises(ValueError, match="batch_size is 'auto'"):
        Gpt2EdgeLM(batch_size="auto")


@pytest.mark.parametrize("add_bos_token", [None, True, False])
def test_a_template_s_begin_of_text_is_that_of_hf(
    add_bos_token: bool | None, tmp_path: Path
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model
    from tokenizers import Tokenizer, processors

    source = tmp_path / "hf"
    shutil.copytree(CHECKPOINT, source)
    library = Tokenizer.from_file(str(source / "tokenizer.json"))
    token_id = library.token_to_id("<|endoftext|>")
    library.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", token_id)]
    )
    library.save(str(source / "tokenizer.json"))
    path = str(export_checkpoint(source, tmp_path / "fp32").path)
    arguments = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    ours = get_model("gpt2edge")(pretrained=path, threads=1, **arguments)
    theirs = get_model("hf")(
        pretrained=str(source), dtype="float32", device="cpu", batch_size=1, **arguments
    )
    pairs = [("Once upon a time", " there was a king."), ("", "The wolf"), ("The fox ", "ran")]
    pairs.append(("<|endoftext|>The fox", " ran"))

    def answers(model: Any) -> list[float]:
        asked = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
        found = [score for score, _ in model.loglikelihood(asked, disable_tqdm=True)]
        texts = [Instance("loglikelihood_rolling", {}, ("The wolf ran away.",), 0)]
        return [*found, *model.loglikelihood_rolling(texts, disable_tqdm=True)]

    def written(model: Any) -> list[str]:
        settings = {"until": ["."], "max_gen_toks": 64, "do_sample": False}
        asked = [Instance("generate_until", {}, ("Once upon a time", settings), 0)]
        return list(model.generate_until(asked, disable_tqdm=True))

    assert answers(ours) == pytest.approx(answers(theirs), abs=1e-3)
    assert written(ours) == written(theirs)
