"""Arguments of a wrong type: each is refused by name, whichever public function it is given to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

import gpt2edge
from gpt2edge import evaluate, export, quant, runtime, store
from gpt2edge.errors import ArgumentError, ModelDirError
from gpt2edge.evaluate import speed as benchmark
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime import search
from gpt2edge.runtime.options import DraftModel, PromptLookup, Provider
from tasks.game24.game import Game24
from tests.cli.running import error

NUMBERS: Final = ("1", b"1", [1], {"a": 1}, True, float("nan"))
WHOLE: Final = (*NUMBERS, 1.5)
TEXTS: Final = (None, b"a", 1, ["a"], {"a": 1})
FLAGS: Final[tuple[object, ...]] = (None, "yes", 1, [])
PATHS: Final = (b"/tmp", 1, ["a"], {"a": 1}, object())
LISTS: Final = (None, 1, "a", b"a", {"a": 1}, {"a"}, object())
OTHERS: Final[tuple[object, ...]] = ("a", b"a", 1, {"temperature": 0.5}, [])
"""Where a record of ours, or a function, is wanted."""
PROMPTS: Final = (None, 1, b"Once", {"a": 1}, ["Once", "upon"], [[1, 2]], [1.5], [True], {1, 2})


@dataclass(frozen=True)
class World:
    """What the functions are called on."""

    engine: gpt2edge.Engine
    model: ModelDir
    checkpoint: Path
    out: Path


class Callee(NamedTuple):
    """A function, arguments with which it would do its work, and wrong values of each."""

    function: Callable[[World], Callable[..., Any]]
    right: Callable[[World], Mapping[str, Any]]
    wrong: Mapping[str, tuple[Any, ...]]


def record(made: Callable[..., Any], wrong: Mapping[str, Any], **right: Any) -> Callee:
    """A class of options, or a function that needs no engine."""
    return Callee(lambda _: made, lambda _: right, wrong)


def judge(_prompt: str, _completion: str) -> float:
    return 1.0


GENERATION: Final = {
    "max_new_tokens": WHOLE,
    "sampling": OTHERS,
    "stop": (1, b"a", {"a": 1}, [b"a"], [1], [""]),
    "logprobs": WHOLE,
}
REALS: Final = (
    *("temperature", "top_p", "min_p", "typical_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "length_penalty", "encoder_repetition_penalty"),
)
FIELDS: Final[dict[str, tuple[object, ...]]] = {
    **dict.fromkeys(REALS, NUMBERS),
    **dict.fromkeys(
        ("top_k", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "num_beams"), WHOLE
    ),
    "bad_words_ids": (1, "a", b"ab", [1], ["a"], [[]], [["a"]], {"a": 1}),
    "logit_bias": (1, "a", [1], {"a": 1}, {1: "a"}),
    "early_stopping": (1, "always"),
    "suppress_tokens": (1, "a", ["a"], [1.5], {"a": 1}),
    "begin_suppress_tokens": (1, "a", ["a"]),
    "sequence_bias": (1, "a", [1], [[1, 2]], [([], 1.0)], [(["a"], 1.0)], [([1], "a")]),
    "forced_bos_token_id": WHOLE,
    "forced_eos_token_id": ("1", b"a", {"a": 1}, True, ["a"]),
    "exponential_decay_length_penalty": (1, "ab", [1], ("a", 1.0), (1, "a")),
}
"""Fields of ``SamplingParams``, which are arguments of a call, too."""
OPTIONAL: Final = (
    *("forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty"),
)
COMPLETION: Final = {
    **GENERATION,
    **FIELDS,
    "seed": WHOLE,
    "processors": (1, "a", [1], [None]),
    "overflow": (1, "wrap", []),
}
JUDGED: Final = {
    "verifier": (1, "likelihood", {"a": 1}, search.LikelihoodVerifier),
    "aggregate": (None, 1, "sum", ["last"]),
    "step": (None, 1, b"\n", ""),
    "answer": (None, 1, "number"),
}
OPTIONS: Final = {
    "device": TEXTS,
    "providers": (*LISTS, [1], [None]),
    "threads": WHOLE,
    **dict.fromkeys(("prefill_chunk", "cache_bytes", "prompt_cache_bytes"), (None, *WHOLE)),
    **dict.fromkeys(("spinning", "huge_pages", "verify"), FLAGS),
    "speculation": ("lookup", 1, PromptLookup),
    "add_special_tokens": ("yes", 1, []),
}
"""Fields of ``RuntimeOptions``, which are arguments of ``load``, too."""
TREE_RUN: Final = {"engine": (None, "gpt2", 1), "task": (None, "1 2 3 4", 1), "budget": OTHERS}


def method(name: str, wrong: Mapping[str, Any], **right: Any) -> Callee:
    """A method of Engine."""
    return Callee(lambda world: getattr(world.engine, name), lambda _: right, wrong)


CALLEES: Final[Mapping[str, Callee]] = {
    "load": record(
        gpt2edge.load,
        {"model": PATHS, **OPTIONS},
    ),
    "Engine": Callee(
        lambda _: gpt2edge.Engine,
        lambda world: {"model": world.model.path},
        {"model": (None, *PATHS), "options": OTHERS},
    ),
    "Engine.generate": method("generate", {"prompt": PROMPTS, **COMPLETION}, prompt="a"),
    "Engine.stream": method("stream", {"prompt": PROMPTS, **COMPLETION}, prompt="a"),
    "Engine.request": method("request", {"prompt": PROMPTS, "n": WHOLE, **COMPLETION}, prompt="a"),
    "Engine.generate_batch": method(
        "generate_batch", {"prompts": LISTS, "n": WHOLE, **COMPLETION}, prompts=["a"]
    ),
    "Engine.stream_batch": method(
        "stream_batch", {"prompts": LISTS, "n": WHOLE, **COMPLETION}, prompts=["a"]
    ),
    "Engine.requests": method(
        "requests", {"prompts": LISTS, "n": WHOLE, **COMPLETION}, prompts=["a"]
    ),
    "Engine.scheduler": method(
        "scheduler",
        {"rows": (None, *WHOLE), "max_length": WHOLE, "chunks_per_step": WHOLE},
        rows=1,
    ),
    "Engine.score": method(
        "score",
        {"prompt": PROMPTS, "completions": (*LISTS, [None], [1], [b"a"], [["a"]])},
        prompt="a",
        completions=["b"],
    ),
    "Engine.perplexity": method(
        "perplexity",
        {"text": PROMPTS, "stride": WHOLE, "context": WHOLE, "progress": (1, "a")},
        text="some text",
    ),
    "Engine.logits": method("logits", {"prompt": PROMPTS}),
    "Engine.encode": method("encode", {"prompt": PROMPTS}),
    "Engine.decode": method(
        "decode",
        {
            "token_ids": (None, 1, "Once", b"Once", {"a": 1}, ["a"], [1.5], [True], {1, 2}),
            "skip_special_tokens": FLAGS,
        },
        token_ids=[1],
    ),
    "Engine.decoder": method(
        "decoder", {"rows": (None, *WHOLE), "max_length": (None, *WHOLE)}, rows=1, max_length=8
    ),
    "Engine.affordable_rows": method("affordable_rows", {"max_length": (None, *WHOLE)}),
    "SamplingParams": record(
        gpt2edge.SamplingParams,
        {
            **{
                name: (*values, *(() if name in OPTIONAL else (None,)))
                for name, values in FIELDS.items()
            },
            "seed": WHOLE,
        },
    ),
    "StopParams": record(
        gpt2edge.StopParams,
        {
            "strings": LISTS,
            "token_ids": (*LISTS, ["a"], [1.5]),
            "min_new_tokens": (None, *WHOLE),
            "min_length": (None, *WHOLE),
            "ignore_eos": FLAGS,
            "max_time": NUMBERS,
        },
    ),
    "Overflow": record(
        gpt2edge.Overflow, {"overflow": (None, 1, "wrap", []), "keep": (None, *WHOLE)}
    ),
    "RuntimeOptions": record(
        gpt2edge.RuntimeOptions,
        OPTIONS,
    ),
    "Provider": record(Provider, {"name": TEXTS, "options": (None, 1, "a", ["a"])}, name="cpu"),
    "PromptLookup": record(
        PromptLookup, dict.fromkeys(("max_tokens", "min_ngram", "max_ngram"), (None, *WHOLE))
    ),
    "DraftModel": record(
        DraftModel, {"model": (None, *PATHS), "max_tokens": (None, *WHOLE)}, model="a"
    ),
    "ModelDir.open": record(ModelDir.open, {"path": (None, *PATHS)}),
    "parse_reference": record(store.parse_reference, {"text": TEXTS}),
    "find_model": record(store.find_model, {"reference": TEXTS}),
    "stored_path": record(
        store.stored_path, {"name": TEXTS, "variant": TEXTS}, name="a", variant="fp32"
    ),
    "remove_model": record(store.remove_model, {"model": (None, "gpt2", 1)}),
    "export_checkpoint": Callee(
        lambda _: export.export_checkpoint,
        lambda world: {"source": world.checkpoint, "out": world.out},
        {
            "source": (None, *PATHS),
            "out": (None, *PATHS),
            "profile": (None, 1, "gpu", b"cpu"),
            "overwrite": FLAGS,
            "origin": TEXTS[1:],
            "progress": (1, "a"),
        },
    ),
    "quantize": Callee(
        lambda _: quant.quantize,
        lambda world: {"model": world.model, "out": world.out, "recipe": quant.INT8},
        {
            "model": (None, *PATHS),
            "out": (None, *PATHS),
            "recipe": (None, 1, b"int8", ["int8"], {"bits": 4}, quant.QuantRecipe),
            "calibration": ("a text", [1, 2], 1),
            "check": (1, "a"),
            "overwrite": FLAGS,
            "progress": (1, "a"),
        },
    ),
    "quantize_auto": Callee(
        lambda _: quant.quantize_auto,
        lambda world: {"model": world.model, "out": world.out},
        {
            "model": (None, *PATHS),
            "out": (None, *PATHS),
            "candidates": LISTS,
            "max_kl": (None, *NUMBERS),
            "stopwatch": (1, "a"),
            "calibration": ("a text", 1),
            "check": (1, "a"),
            "overwrite": FLAGS,
            "progress": (1, "a"),
        },
    ),
    "quantize_by_name": Callee(
        lambda _: quant.quantize_by_name,
        lambda world: {"model": world.model, "out": world.out, "name": "int8"},
        {
            "model": (None, *PATHS),
            "out": (None, *PATHS),
            "name": TEXTS,
            "changes": (["bits"], "bits", 1),
            "calibration": ("a text", [1, 2], 1),
            "check": (1, "a"),
            "overwrite": FLAGS,
            "progress": (1, "a"),
        },
    ),
    "mixed_recipe": Callee(
        lambda _: quant.mixed_recipe,
        lambda world: {"model": world.model, "base": quant.INT4, "mean_bits": 5},
        {
            "model": (None, *PATHS),
            "mean_bits": (None, *NUMBERS),
            "calibration": ("a text", 1),
            "progress": (1, "a"),
        },
    ),
    "inspect_source": Callee(
        lambda _: export.inspect_source,
        lambda world: {"source": world.checkpoint},
        {"source": (None, *PATHS)},
    ),
    "batch": Callee(
        lambda _: gpt2edge.batch,
        lambda world: {
            "source": world.checkpoint / "config.json",
            "target": world.out,
            "model": world.model.path,
        },
        {
            "source": (None, *PATHS),
            "target": (None, *PATHS),
            "model": PATHS,
            "task": TEXTS,
            "n": (None, *WHOLE),
            "rows": (None, *WHOLE),
            "replicas": (None, *WHOLE),
            "limit": WHOLE,
            "result_field": TEXTS,
        },
    ),
    "SourceOptions": record(
        export.SourceOptions,
        {
            **dict.fromkeys(("tokenizer", "base"), PATHS),
            "heads": WHOLE,
            "activation": TEXTS[1:],
            "lowercase": FLAGS[1:],
        },
    ),
    "named_recipe": record(quant.named_recipe, {"name": TEXTS}),
    "Calibration": record(
        quant.Calibration,
        {"token_ids": LISTS[1:], "tokens": (None, *WHOLE)},
    ),
    "QuantRecipe": record(
        quant.QuantRecipe,
        {
            "name": TEXTS,
            "bits": (None, "4", 4.0, 5),
            "scheme": (None, 1, "static"),
            "block_size": (None, "32", 33),
            "wide_block_size": ("32", 33),
            "accuracy_level": (None, "4", True),
            "lm_head": (None, "8"),
            "embedding": (None, "8"),
            "refine": (None, *WHOLE),
            "rounding": (None, 1, "up"),
            "kv_cache": (None, 1, "int4"),
            "equalize": FLAGS,
            "portable": FLAGS,
            **dict.fromkeys(("by_row", "wide", "exclude"), (*LISTS, [1])),
        },
        name="own",
        bits=4,
    ),
    "compare": Callee(
        lambda _: quant.compare,
        lambda world: {
            "a": world.engine,
            "b": world.engine,
            "token_ids": [1, 2, 3, 4],
            "context": 4,
        },
        {
            "a": (None, "gpt2", 1),
            "b": (None, "gpt2", 1),
            "token_ids": (*LISTS, ["a"], [1.5, 2.5]),
            "context": (None, *WHOLE),
            "progress": (1, "a"),
        },
    ),
    "layer_errors": Callee(
        lambda _: quant.layer_errors,
        lambda world: {"a": world.model, "b": world.model, "token_ids": [1, 2]},
        {"a": (None, "gpt2", 1), "b": (None, "gpt2", 1), "token_ids": LISTS}
        | {"progress": (1, "a")},
    ),
    "Questions": record(
        evaluate.Questions,
        {
            "text": (1, b"a"),
            "text_name": TEXTS,
            "context": WHOLE,
            "stride": WHOLE,
            "passages": LISTS[1:],
            "pairs": LISTS[1:],
            "speed": (1, "fast"),
        },
        text="a",
    ),
    "SpeedPlan": record(
        evaluate.SpeedPlan,
        {"repetitions": (None, *WHOLE)} | dict.fromkeys(("prefill", "prompt", "decode"), WHOLE),
    ),
    "evaluate": Callee(
        lambda _: evaluate.evaluate,
        lambda world: {"models": [world.model.path], "questions": evaluate.Questions(text="ab")},
        {
            "models": LISTS,
            "questions": (None, "a"),
            "options": (1, "a"),
            "progress": (1, "a"),
        },
    ),
    "measure_quality": Callee(
        lambda _: evaluate.measure_quality,
        lambda world: {"engines": [world.engine], "text": "abc", "context": 4},
        {
            "engines": (*LISTS, [1]),
            "text": TEXTS,
            "context": WHOLE,
            "stride": WHOLE,
            "progress": (1, "a"),
        },
    ),
    "pool": record(evaluate.pool, {"evaluations": (*LISTS, [1])}),
    "read_lambada": record(
        evaluate.read_lambada, {"path": (None, 1), "limit": WHOLE}, path="absent"
    ),
    "read_blimp": record(evaluate.read_blimp, {"path": (None, 1), "limit": WHOLE}, path="absent"),
    "markdown_table": record(evaluate.markdown_table, {"evaluation": (None, "a")}),
    "csv_table": record(evaluate.csv_table, {"evaluation": (None, "a")}),
    "svg_plot": record(evaluate.svg_plot, {"evaluation": (None, "a")}),
    "BenchmarkTest": record(
        benchmark.BenchmarkTest,
        dict.fromkeys(("n_prompt", "n_gen", "n_depth", "batch"), (None, *WHOLE)),
        n_gen=1,
    ),
    "PromptsTest": record(benchmark.PromptsTest, {"texts": (*LISTS, [1])}, texts=("a",), n_gen=1),
    "plan_tests": record(
        benchmark.plan_tests,
        {
            "context": (None, *WHOLE),
            **dict.fromkeys(("n_prompt", "n_gen", "n_depth", "batch"), (*LISTS, ["a"], [1.5])),
        },
        context=128,
    ),
    "benchmark": Callee(
        lambda _: benchmark.benchmark,
        lambda world: {
            "models": [world.model.path],
            "tests": [benchmark.BenchmarkTest(n_gen=1)],
            "repetitions": 1,
        },
        {
            "models": LISTS,
            "tests": (*LISTS, ["pp1"]),
            "repetitions": (None, *WHOLE),
            "options": OTHERS,
            "progress": (1, "a"),
        },
    ),
    "Budget": record(
        search.Budget,
        {"tokens": WHOLE, "forward_calls": WHOLE, "seconds": NUMBERS, "clock": (None, 1)},
    ),
    "MajorityVote": record(
        search.MajorityVote,
        {
            "n": (None, *WHOLE),
            "answer": JUDGED["answer"],
            "weight": (None, 1, "sum"),
            "early_stop": FLAGS,
        },
    ),
    "BestOfN": record(
        search.BestOfN,
        {**JUDGED, "verifier": (None, *JUDGED["verifier"]), "n": (None, *WHOLE), "top_k": WHOLE}
        | {"choose": (None, 1, "worst")},
        verifier=judge,
    ),
    "StepBeam": record(
        search.StepBeam,
        {
            **JUDGED,
            **dict.fromkeys(("n", "width", "lookahead", "max_steps"), (None, *WHOLE)),
            "diverse": FLAGS,
            "prune_below": NUMBERS,
            "choose": (None, 1, "worst"),
        },
        verifier=judge,
    ),
    "Adaptive": record(search.Adaptive, {**JUDGED, "policy": (None, *OTHERS)}),
    "Strategy.run": Callee(
        lambda _: search.MajorityVote(n=1).run,
        lambda world: {"engine": world.engine, "prompt": "a", "max_new_tokens": 1},
        {
            "engine": (None, "gpt2", 1),
            "prompt": PROMPTS,
            "budget": OTHERS,
            **{key: GENERATION[key] for key in ("sampling", "max_new_tokens", "stop")},
        },
    ),
    "MCTS": record(
        search.MCTS,
        {
            **dict.fromkeys(("simulations", "batch", "max_depth"), (None, *WHOLE)),
            **dict.fromkeys(("c", "first_play", "accept"), (None, *NUMBERS)),
            "rule": (None, 1, "ucb"),
            "transpositions": FLAGS,
        },
    ),
    "MCTS.run": Callee(
        lambda _: search.MCTS(simulations=1).run,
        lambda world: {"engine": world.engine, "task": Game24((1, 2, 3, 4))},
        TREE_RUN,
    ),
    "TreeOfThoughts": record(
        search.TreeOfThoughts,
        {
            **dict.fromkeys(("breadth", "max_depth", "max_nodes"), (None, *WHOLE)),
            **dict.fromkeys(("threshold", "accept"), (None, *NUMBERS)),
            "order": (None, 1, "best"),
        },
    ),
    "TreeOfThoughts.run": Callee(
        lambda _: search.TreeOfThoughts(max_depth=1).run,
        lambda world: {"engine": world.engine, "task": Game24((1, 2, 3, 4))},
        TREE_RUN,
    ),
    "SearchSession": Callee(
        lambda _: search.SearchSession,
        lambda world: {"engine": world.engine},
        {"engine": (None, "gpt2", 1), "budget": OTHERS},
    ),
    "Loom": Callee(
        lambda _: search.Loom,
        lambda world: {"engine": world.engine, "prompt": "a"},
        {
            "engine": (None, "gpt2", 1),
            "prompt": PROMPTS,
            "tokens": (None, *WHOLE),
            "sampling": OTHERS,
            "tree": OTHERS,
            "budget": OTHERS,
        },
    ),
    "Loom.branch": Callee(
        lambda world: search.Loom(world.engine, "a").branch,
        lambda _: {"nodes": [], "n": 1},
        {"nodes": (*LISTS, [1]), "n": (None, *WHOLE)},
    ),
    "Loom.grow": Callee(
        lambda world: search.Loom(world.engine, "a", tokens=1).grow,
        lambda _: {"node": search.Tree("a").root},
        {"node": (None, 0, "root"), "depth": (None, *WHOLE)},
    ),
    "SampledSteps": Callee(
        lambda _: search.SampledSteps,
        lambda world: {
            "engine": world.engine,
            "request": search.SearchPrompt(prompt="a"),
            "verifier": judge,
        },
        {
            "engine": (None, "gpt2"),
            "request": (None, "a"),
            "verifier": (None, "likelihood"),
            "branches": (None, *WHOLE),
            "step": (None, 1, ""),
            "aggregate": (None, "sum"),
        },
    ),
    "Ask": record(
        search.Ask,
        {
            "n": (None, *WHOLE),
            "max_new_tokens": WHOLE,
            "sampling": OTHERS,
            "stop": GENERATION["stop"],
        },
    ),
    "LineBeam": record(
        search.LineBeam,
        {
            "k": (None, *WHOLE),
            "max_new_tokens": (None, *WHOLE),
            "least": (None, *NUMBERS),
            "end": (*TEXTS, ""),
        },
    ),
    "Allocation": record(
        search.Allocation,
        {
            "method": (None, 1, "mcts"),
            "n": (None, *WHOLE),
            "width": (None, *WHOLE),
            "choose": (None, 1, "worst"),
        },
        method="majority",
        n=4,
    ),
    "Policy": record(
        search.Policy,
        {
            "arms": (*LISTS, ["majority"]),
            "edges": (*LISTS, ["a"]),
            "measure": (None, 1, "score of all"),
            "probe": (None, *WHOLE),
        },
        arms=(search.Allocation(method="majority", n=4),),
    ),
    "Policy.default": record(
        search.Policy.default, {"n": (None, *WHOLE), "verified": FLAGS}, n=4, verified=False
    ),
    "Policy.load": record(search.Policy.load, {"path": (None, *PATHS)}),
    "Trial": record(
        search.Trial,
        {
            "problem": TEXTS,
            "easiness": (None, *NUMBERS),
            "arm": (None, "majority"),
            "accuracy": (None, *NUMBERS),
            "tokens": (None, *NUMBERS),
        },
        problem="a",
        easiness=0.5,
        arm=search.Allocation(method="majority", n=4),
        accuracy=0.5,
        tokens=4,
    ),
    "fit": record(
        search.fit,
        {"trials": (*LISTS, ["a"]), "tokens": NUMBERS, "bins": (None, *WHOLE)},
        trials=[],
    ),
    "Tree": record(search.Tree, {"root": TEXTS}),
    "Tree.load": record(search.Tree.load, {"path": (None, *PATHS)}),
    "SolutionFile": record(search.SolutionFile, {"path": (None, *PATHS)}),
    "LikelihoodVerifier": record(search.LikelihoodVerifier, {"engine": (None, "gpt2", 1)}),
    "OutcomeModel": record(search.OutcomeModel, {"engine": (None, "gpt2", 1)}),
    "ProcessModel": record(search.ProcessModel, {"engine": (None, "gpt2", 1)}),
    "GenerativeVerifier": Callee(
        lambda _: search.GenerativeVerifier,
        lambda world: {"engine": world.engine},
        {
            "engine": (None, "gpt2", 1),
            "question": TEXTS,
            "yes": (*TEXTS, ""),
            "no": (*TEXTS, ""),
        },
    ),
    "Weighted": record(search.Weighted, {"parts": (*LISTS, [judge], [("1", judge)], [(1, "a")])}),
    "aggregate_steps": record(
        search.aggregate_steps,
        {"scores": (*LISTS, ["a"], [None]), "how": (None, 1, "sum")},
        scores=[0.5],
        how="last",
    ),
    "pass_at_k": record(
        search.pass_at_k,
        dict.fromkeys(("samples", "correct", "k"), (None, *WHOLE)),
        samples=4,
        correct=1,
        k=2,
    ),
    "extract_answer": record(search.extract_answer, {"text": TEXTS}),
    "canonical": record(search.canonical, {"answer": TEXTS}),
}
CALLED: Final = {("Overflow", "overflow"): "policy"}
"""Fields that a message calls as the functions do that take them."""
ROOMS: Final = (gpt2edge, runtime, search, quant, export, evaluate)
UNCHECKED: Final = {
    *("Chunk", "Completion", "Score", "Timing", "GREEDY", "__version__"),
    *("Perplexity", "TokenLogprob", "FinishReason", "Prompt", "Manifest", "FileRecord", "errors"),
    *("GenerateArguments", "SamplingArguments", "RuntimeArguments", "LogitsProcessor"),  # types
    *("BatchReport", "Pooling", "SourceFacts"),  # what we return
    "pull",  # fetches; tests of the command give it what is wrong
    *("EvaluatedModel", "Evaluation", "Machine", "Quality", "Spread"),  # what we return
    *("Figures", "ModelFigures", "Sample", "Speed", "TreeEdge"),  # what we return
    *("GenerationDefaults", "ModelConfig", "PromptCache", "Tokenizer", "Ids"),  # read from files
    *("CacheLayout", "Decoder", "KVCache", "StreamDecoder"),  # called for every token
    *("Generation", "Request", "Scheduler", "Stream"),  # made by an engine, which checks
    *("Branch", "Branching", "Member", "Entered", "Evaluate", "Forward"),  # what others write
    *("SequenceSpeculation", "SpeculationSource"),
    *(
        "Candidate",
        "MeasuredRecipe",
        "Cost",
        "Reading",
        "SearchResult",
        "TreeResult",
        "Node",
    ),  # what we return
    *("Choice", "Comparison", "Estimate", "RECIPES", "AUTO", "MIXED"),
    *("INT4", "INT4_DECODE", "INT8", "INT8_BLOCK", "INT8_DECODE", "Gpt2EdgeError"),
    *("StepVerifier", "Strategy", "Task", "Verifier"),  # what others write
    *(
        "PromptedThoughts",
        "Votes",
        "WordValues",
        "Thought",
        "SearchPrompt",
    ),  # of functions, or given on
    "export_with_optimum",  # as export_checkpoint, with torch
}


@pytest.fixture(scope="module")
def world(
    tiny_model: ModelDir, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> World:
    out = tmp_path_factory.mktemp("arguments") / "out"
    return World(gpt2edge.load(tiny_model.path), tiny_model, tiny_checkpoint, out)


@pytest.mark.parametrize("name", CALLEES)
def test_a_wrong_type_is_refused_by_name(name: str, world: World) -> None:
    callee = CALLEES[name]
    for argument, values in callee.wrong.items():
        for value in values:
            given = {**callee.right(world), CALLED.get((name, argument), argument): value}
            with pytest.raises(ArgumentError) as caught:
                callee.function(world)(**given)
            message = str(caught.value)
            assert argument in message, (argument, value, message)
            assert "it must be" in message, (argument, value, message)
            assert "\n" not in message
            assert len(message) < 300
    assert not world.out.exists()


def test_every_public_name_is_in_the_table() -> None:
    public = {name for module in ROOMS for name in module.__all__}
    assert public - UNCHECKED - {name.partition(".")[0] for name in CALLEES} == set()


def test_what_was_given_is_shown(world: World) -> None:
    with pytest.raises(ArgumentError) as caught:
        world.engine.generate(b"Once")
    assert str(caught.value) == "prompt is b'Once'; it must be a text, or a list of token ids"
    with pytest.raises(ArgumentError, match="generate_batch takes several prompts"):
        world.engine.generate(["Once", "upon"])  # type: ignore[list-item]


def test_numpy_numbers_and_arrays_are_taken(world: World) -> None:
    ids = np.array([5, 6, 7])
    plain = world.engine.generate([5, 6, 7], max_new_tokens=2).token_ids
    assert world.engine.generate(ids, max_new_tokens=np.int64(2)).token_ids == plain  # type: ignore[arg-type]


def test_a_recipe_may_be_given_by_its_name(world: World, tmp_path: Path) -> None:
    made = quant.quantize(world.model, tmp_path / "int8", recipe="int8")
    assert made.manifest.recipe is not None
    assert made.manifest.recipe["name"] == "int8"


def test_python_speaks_arguments_and_a_command_options(
    world: World, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    tmp_path.joinpath("out").mkdir()
    with pytest.raises(ModelDirError, match="or pass overwrite=True to replace it"):
        export.export_checkpoint(tiny_checkpoint, tmp_path / "out")
    line = error("export", tiny_checkpoint, tmp_path / "out")
    assert line.endswith("exists: choose another name, or pass --overwrite to replace it")
    model = ["-m", world.model.path]
    assert "Error: --max-new-tokens is 0; it must" in error("generate", *model, "a", "-n", 0)
    assert "Error: --samples is 4;" in error(
        "generate", *model, "a", "--num-beams", 2, "--samples", 4
    )
    beams = error("generate", *model, "a", "--num-beams", 2, "--temperature", 0.5)
    assert beams == (
        "Error: --num-beams is 2 and --temperature is 0.5: beam search does not sample; leave "
        "--temperature out, or --num-beams"
    )
    assert "a token id in --logit-bias is" in error("generate", *model, "a", "-l", f"{2**40}+1")
    assert "'--budget-tokens'" in error("solve", *model, "a", "--budget-tokens", 0, code=2)
    assert "--provider holds ':'" in error("generate", *model, "a", "--provider", ":")
