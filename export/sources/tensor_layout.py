"""Tensor layout: the names and shapes of the tensors of a GPT-2 of a given configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError
from gpt2edge.graph import names
from gpt2edge.graph.names import Block

Shape = tuple[int, ...]

_CLASSES: Final = {
    "gpt2": "GPT2",
    "openai-gpt": "OpenAIGPT",
    "gpt_neo": "GPTNeo",
    "gpt_bigcode": "GPTBigCode",
    "opt": "OPT",
    "biogpt": "BioGpt",
}
"""How the names of an architecture's classes begin, by ``model_type``."""
_TASKS: Final = {
    "LMHeadModel": "text-generation",
    "ForCausalLM": "text-generation",
    "Model": "text-generation",
    "DoubleHeadsModel": "text-generation",
    "ForSequenceClassification": "sequence-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "token-classification",
}
"""How they end, and the task of each."""
_SCORE: Final = {
    "sequence-classification": "score.weight",
    "token-classification": "classifier.weight",
}
_SPANS: Final = "qa_outputs.weight"
"""The head of question answering: scores of a token as the first and as the last of the answer."""
VALUE_HEADS: Final = ("v_head", "multiple_choice_head")
"""Heads with one number for a token: TRL's value, and the score of DoubleHeads' choices."""
_OTHER_HEADS: Final = re.compile(r"(\w+_heads?|score|classifier|qa_outputs)\..+")
"""Names of heads for values, rewards, choices or labels, which do not affect the logits."""


class HasShape(Protocol):
    """An object with a shape."""

    @property
    def shape(self) -> Shape:
        """Return the lengths of the axes."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last product: hidden [n, n_embd] times the transposed ``weight`` [size, n_embd]."""

    task: str
    weight: str
    bias: str | None
    size: int


def transformer_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Return names and shapes of the transformer's own tensors; Conv1D weights are [in, out]."""
    n, inner = config.n_embd, config.n_inner
    qkv = (config.n_head + 2 * config.n_kv_head) * config.head_dim
    block: dict[str, tuple[Shape, Shape]] = {
        names.LN_1: ((n,), (n,)),
        names.C_ATTN: ((n, qkv), (qkv,)),
        names.ATTN_C_PROJ: ((n, n), (n,)),
        names.LN_2: ((n,), (n,)),
        names.C_FC: ((n, inner), (inner,)),
        names.MLP_C_PROJ: ((inner, n), (n,)),
    }
    shapes: dict[str, Shape] = {
        names.weight(names.WTE): (config.vocab_size, n),
        names.weight(names.WPE): (config.n_positions, n),
    }
    parts = {
        Block(i).part(name): both for i in range(config.n_layer) for name, both in block.items()
    }
    if not config.norms_after:
        parts[names.LN_F] = ((n,), (n,))
    for part, (weight, bias) in parts.items():
        shapes[names.weight(part)] = weight
        shapes[names.bias(part)] = bias
    return shapes


def find_head(keys: Mapping[str, Any], config: ModelConfig, stored: Mapping[str, Shape]) -> Head:
    """Return the head that ``architectures`` names or, without a name, that the tensors show.

    Raises ExportError for a class that is not of the model's architecture with a known head.
    """
    task = _task(keys, stored)
    if task == "text-generation":
        weight = names.weight(names.WTE if config.tie_word_embeddings else names.LM_HEAD)
        head_bias = names.bias(names.LM_HEAD)
        return Head(task, weight, head_bias if head_bias in stored else None, config.vocab_size)
    spans = (_architecture(keys) or "").endswith("ForQuestionAnswering")
    spans = spans or (_SPANS in stored and _SCORE[task] not in stored)
    weight = _SPANS if spans else _SCORE[task]
    bias = names.bias(weight.split(".")[0]) if task == "token-classification" else None
    return Head(task, weight, bias, _label_count(keys, stored.get(weight)))


def value_head(name: str, keys: Mapping[str, Any], stored: Mapping[str, Shape]) -> Head:
    """Return the value head ``name``, one of ``VALUE_HEADS``, as a token classifier of one label.

    Raises ExportError where the checkpoint has none, or one that computes something else.
    """
    weight = f"{name}.summary.weight"
    if weight not in stored:
        found = [other for other in VALUE_HEADS if f"{other}.summary.weight" in stored]
        there = f"; it has {' and '.join(found)}" if found else ""
        raise ExportError(f"the checkpoint has no value head {name!r}{there}")
    kind = keys.get("summary_activation")
    if name == "multiple_choice_head" and kind:
        raise ExportError(f"summary_activation is {kind!r}; a value head without one is supported")
    return Head("token-classification", weight, f"{name}.summary.bias", 1)


def unknown_architecture(keys: Mapping[str, Any]) -> str | None:
    """Return the architecture that ``keys`` name if it is not a known one, else None."""
    name = _architecture(keys)
    return None if _task_of(name, keys) else name


def is_other_head(name: str, head: Head) -> bool:
    """Return whether the tensor ``name`` belongs to a head other than ``head``."""
    own = names.LM_HEAD if head.task == "text-generation" else head.weight.split(".")[0]
    return name.split(".")[0] != own and _OTHER_HEADS.fullmatch(name) is not None


def check_layout(config: ModelConfig, head: Head, stored: Mapping[str, HasShape]) -> None:
    """Compare the stored names and shapes with the configuration's. Raises ExportError."""
    for layer in range(config.n_layer):  # before a wrong n_layer makes a huge table
        first = names.weight(Block(layer).part(names.LN_1))
        if first not in stored:
            raise ExportError(f"tensor {first!r} is missing; n_layer is {config.n_layer}")
    expected = transformer_shapes(config)
    expected.setdefault(head.weight, (head.size, config.n_embd))
    if head.bias is not None:
        expected[head.bias] = (head.size,)
    wte = names.weight(names.WTE)
    optional = {names.weight(names.LM_HEAD): expected[wte]} if head.weight == wte else {}
    _check_names(expected, set(stored) - set(optional))
    for name, shape in {**expected, **optional}.items():
        if name in stored and stored[name].shape != shape:
            raise ExportError(
                f"tensor {name!r} has shape {list(stored[name].shape)}; "
                f"config.json makes it {list(shape)}"
            )


def _check_names(expected: Mapping[str, Shape], found: set[str]) -> None:
    for name in sorted(found):
        if "crossattention" in name or "ln_cross_attn" in name:
            raise ExportError(f"tensor {name!r}: cross-attention is not supported")
    missing = [name for name in expected if name not in found]
    if missing:
        raise ExportError(f"tensor {missing[0]!r} is missing{_others(missing)}")
    extra = sorted(found - set(expected))
    if extra:
        raise ExportError(
            f"tensor {extra[0]!r} belongs to no model of this config.json{_others(extra)}"
        )


def _task(keys: Mapping[str, Any], stored: Mapping[str, Shape]) -> str:
    known = _task_of(_architecture(keys), keys)
    if known is not None:
        return known
    heads = [*_SCORE.items(), ("token-classification", _SPANS)]
    shown = [task for task, weight in heads if weight in stored]
    return shown[0] if shown else "text-generation"


def _task_of(name: str | None, keys: Mapping[str, Any]) -> str | None:
    """Return the task of a class of transformers; None for other names."""
    start = _CLASSES.get(keys.get("model_type", "gpt2"), "GPT2")
    return _TASKS.get(name.removeprefix(start)) if name and name.startswith(start) else None


def _architecture(keys: Mapping[str, Any]) -> str | None:
    """Return the first of ``architectures``, or None without one.

    An unknown name is accepted beside a ``model_type``, as in transformers.
    """
    architectures = keys.get("architectures")
    if not architectures:
        return None
    name = architectures[0] if isinstance(architectures, list) else architectures
    known = isinstance(name, str) and ("model_type" in keys or _task_of(name, keys) is not None)
    if not known:
        classes = ", ".join(f"GPT2{end}" for end in _TASKS)
        raise ExportError(f"architecture {name!r} is not one of {classes}")
    return str(name)


def _label_count(keys: Mapping[str, Any], stored: Shape | None) -> int:
    """Return the count of labels: ``num_labels``, else the size of ``id2label``, else the rows.

    Upstream writes ``id2label`` only if it is not the default pair.
    """
    for key in ("num_labels", "id2label"):
        value = keys.get(key)
        if isinstance(value, dict) and value:
            return len(value)
        if isinstance(value, int) and value > 0:
            return value
    return stored[0] if stored else 2


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
