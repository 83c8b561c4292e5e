"""Comparison of two models, such as a quantized one with its original, under teacher forcing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpt2edge._checks import check_callable, check_int, check_list, check_type
from gpt2edge._progress import Progress, silent
from gpt2edge.evaluate.estimates import Array, Estimate, mean_of
from gpt2edge.evaluate.predictions import predict
from gpt2edge.evaluate.probe import Probe
from gpt2edge.graph.names import Block
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.decoding.scoring import Window
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.params import GREEDY

_LAYER_TOKENS: Final = 256
_PROMPTS: Final = 8
_PROMPT_LENGTH: Final = 32
_GREEDY_LENGTH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Model B compared with model A on ``tokens`` tokens, in windows of ``context``.

    ``perplexity_increase`` is relative, with the standard error of the paired difference; ``kl`` is
    the mean of KL(A || B) in nats; ``top1_agreement`` is the share of positions where both models
    have the same most probable token; ``greedy_agreement`` is the number of tokens, of
    ``greedy_length``, that both write identically after prompts from the text.
    """

    tokens: int
    context: int
    perplexity_a: Estimate
    perplexity_b: Estimate
    perplexity_increase: Estimate
    kl: Estimate
    top1_agreement: Estimate
    greedy_agreement: Estimate
    greedy_length: int


def compare(
    a: Engine,
    b: Engine,
    token_ids: Sequence[int],
    *,
    context: int,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models of one vocabulary on a text, cut into windows of ``context`` tokens.

    Every token of a window except the first is predicted from those before it. ``progress`` is
    called with the count of tokens done. Raises ValueError for unequal vocabularies or fewer than
    two tokens.
    """
    check_callable("progress", progress)
    tell = progress or silent
    _check(a, b, token_ids, context)
    decoders = [engine.decoder(rows=1, max_length=context) for engine in (a, b)]
    _, found = predict(decoders, token_ids, Window(context, context), tell)
    tell("completing prompts with both", 0, 0)
    agreed, length = _greedy_agreement(a, b, token_ids, context)
    return Comparison(
        tokens=len(found.losses),
        context=context,
        perplexity_a=found.reference_perplexity,
        perplexity_b=found.perplexity,
        perplexity_increase=found.perplexity_increase,
        kl=found.kl,
        top1_agreement=found.top1_agreement,
        greedy_agreement=mean_of(agreed),
        greedy_length=length,
    )


def layer_errors(
    a: ModelDir, b: ModelDir, token_ids: Sequence[int], *, progress: Progress | None = None
) -> dict[str, float]:
    """Measure the relative error of B's residual stream after every attention and every MLP.

    Both models read the first tokens of ``token_ids``, up to 256; the error is |b - a| / |a| over
    all of them, by the name of the node.
    """
    for name, model in (("a", a), ("b", b)):
        check_type(name, model, ModelDir, "a ModelDir")
    check_list("token_ids", token_ids, "a list of token ids")
    check_callable("progress", progress)
    residuals = {}
    for block in map(Block, range(a.config.n_layer)):
        residuals[block.attention] = block.attention_residual
        residuals[block.mlp] = block.mlp_residual
    values = list(residuals.values())
    if progress:
        progress("comparing layer by layer", 0, 0)
    window = token_ids[: min(_LAYER_TOKENS, a.config.n_positions)]
    streams = [Probe(model, values).run(window, values) for model in (a, b)]  # [tokens, n_embd]
    return {
        part: float(np.linalg.norm(y - x) / np.linalg.norm(x))
        for part, x, y in zip(residuals, *streams, strict=True)
    }


def _check(a: Engine, b: Engine, token_ids: Sequence[int], context: int) -> None:
    for name, engine in (("a", a), ("b", b)):
        check_type(name, engine, Engine, "an Engine, such as load returns")
        engine.model.require_language_model()
    if a.config.vocab_size != b.config.vocab_size:
        raise ValueError(
            f"the models have {a.config.vocab_size} and {b.config.vocab_size} tokens; "
            "only models of one vocabulary can be compared"
        )
    if a.tokenizer and b.tokenizer and not a.tokenizer.agrees_with(b.tokenizer):
        raise ValueError(
            f"{a.model.path} and {b.model.path} have tokenizers whose ids stand for different "
            "texts; only models of one vocabulary can be compared"
        )
    longest = min(a.config.n_positions, b.config.n_positions)
    check_int("context", context, 2, longest)
    for token_id in check_list("token_ids", token_ids, "a list of token ids"):
        check_int("token_ids", token_id, 0, a.config.vocab_size - 1, part="a token id in ")
    if len(token_ids) < 2:
        raise ValueError(
            "the text has fewer than two tokens; there is nothing to predict: give a longer text"
        )


def _greedy_agreement(
    a: Engine, b: Engine, token_ids: Sequence[int], context: int
) -> tuple[Array, int]:
    """Count the tokens [prompts] that both write identically, and the length of each completion."""
    prompt_length = min(_PROMPT_LENGTH, max(1, context // 2), len(token_ids))
    length = min(_GREEDY_LENGTH, context - prompt_length)
    last = len(token_ids) - prompt_length
    starts = sorted({round(start) for start in np.linspace(0, last, _PROMPTS)})
    prompts = [list(token_ids[start : start + prompt_length]) for start in starts]
    written = [
        [
            done.token_ids
            for done in engine.generate_batch(prompts, max_new_tokens=length, sampling=GREEDY)
        ]
        for engine in (a, b)
    ]
    agreed = [_common_prefix(x, y, length) for x, y in zip(*written, strict=True)]
    return np.array(agreed, np.float64), length


def _common_prefix(x: Sequence[int], y: Sequence[int], length: int) -> int:
    """Count equal tokens from the start; ``length`` if both are equal to their end."""
    if x == y:
        return length
    return next((i for i, pair in enumerate(zip(x, y, strict=False)) if pair[0] != pair[1]), 0)
