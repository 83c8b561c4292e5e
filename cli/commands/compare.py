"""``gpt2edge compare``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.display.output import (
    counted,
    estimate,
    named,
    note,
    print_facts,
    print_json,
    size,
)
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import json_option, read_file, threads_option
from gpt2edge.cli.options.names import MODEL

if TYPE_CHECKING:
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant import Comparison

context_option = click.option(
    "--context",
    type=click.IntRange(min=2),
    metavar="N",
    help="Tokens per window of the text.  [default: the model's context, at most 512]",
)


@command()
@click.argument("a", type=MODEL)
@click.argument("b", type=MODEL)
@click.option(
    "--text", "path", required=True, metavar="FILE", help="UTF-8 text to measure on; - is stdin."
)
@context_option
@threads_option
@json_option
def compare(
    a: Path, b: Path, path: str, context: int | None, threads: int | None, as_json: bool
) -> None:
    """Measure how far model B is from model A on a text.

    Both models read the same windows of the text. The perplexity increase is paired by token, so
    its error is far below that of either perplexity. KL(A || B) is in nats per token; top-1
    agreement is the share of tokens for which both models predict the same next token.

    Needs the quant extra: pip install 'gpt2edge[quant]'

    \b
    Examples:
      gpt2edge compare models/gpt2 models/gpt2-int4 --text wiki.test.raw
      gpt2edge compare models/gpt2 models/gpt2-int8 --text wiki.test.raw --context 1024 --json
    """
    from gpt2edge.model_dir import ModelDir

    text = read_file(path)
    models = (ModelDir.open(a), ModelDir.open(b))
    measured = measure(*models, text, context=context, threads=threads)
    if as_json:
        print_json(report(*models, *measured))
    else:
        print_report(*models, *measured)


def measure(
    a: "ModelDir", b: "ModelDir", text: str, *, context: int | None, threads: int | None = None
) -> tuple["Comparison", dict[str, float]]:
    """Compare two models on a text, whole and layer by layer."""
    from gpt2edge import load
    from gpt2edge.quant import compare as run
    from gpt2edge.quant import layer_errors

    for model in (a, b):
        model.require_language_model()
    alike = (a.config.n_layer, a.config.n_embd) == (b.config.n_layer, b.config.n_embd)
    with watched("loading both models") as progress:
        first, second = (load(model.path, threads=threads) for model in (a, b))
        token_ids = first.encode(text, add_special_tokens=False)  # for windows of it
        note(f"comparing on {counted(len(token_ids), 'token')}")
        window = context or min(512, a.config.n_positions, b.config.n_positions)
        compared = run(first, second, token_ids, context=window, progress=progress)
        return compared, layer_errors(a, b, token_ids, progress=progress) if alike else {}


def report(
    a: "ModelDir", b: "ModelDir", comparison: "Comparison", errors: dict[str, float]
) -> dict[str, Any]:
    """Build the JSON object of a comparison."""
    found = {"layer_errors": errors}
    return {**models_of(a, b), **asdict(comparison), **found}


def models_of(a: "ModelDir", b: "ModelDir") -> dict[str, Any]:
    """Return paths, recipes and sizes of two models."""
    models = (("a", a), ("b", b))
    return {
        **{f"model_{letter}": str(model.path) for letter, model in models},
        **{f"recipe_{letter}": model.manifest.recipe_name for letter, model in models},
        **{f"bytes_{letter}": model.nbytes for letter, model in models},
    }


def print_report(
    a: "ModelDir", b: "ModelDir", comparison: "Comparison", errors: dict[str, float]
) -> None:
    """Print the comparison as a table."""
    before, after = comparison.perplexity_a, comparison.perplexity_b
    increase, top1 = comparison.perplexity_increase, comparison.top1_agreement
    kl = comparison.kl
    facts = {
        "size": f"{size(a.nbytes)} -> {size(b.nbytes)}, {b.nbytes / a.nbytes:.0%}",
        "perplexity": f"{estimate(before.value, before.standard_error, digits=3)} -> "
        f"{estimate(after.value, after.standard_error, digits=3)}",
        "increase": "+" * (increase.value > 0)
        + estimate(increase.value, increase.standard_error, digits=3, percent=True),
        "KL divergence": f"{estimate(kl.value, kl.standard_error, digits=6)} nats",
        "top-1 agreement": estimate(top1.value, top1.standard_error, digits=2, percent=True),
        "greedy agreement": f"{comparison.greedy_agreement.value:.1f} of "
        f"{comparison.greedy_length} tokens",
        "relative error": _layers(errors),
        "measured on": f"{counted(comparison.tokens, 'token')}, windows of {comparison.context}",
    }
    print_facts(f"{named(b)} against {named(a)}", facts)


def _layers(errors: dict[str, float]) -> str:
    """Describe the error after the last layer and the largest one."""
    if not errors:
        return "none: the layers are not of one shape"
    worst = max(errors, key=errors.__getitem__)
    last = list(errors.values())[-1]
    return f"{last:.4f} after the last layer, at most {errors[worst]:.4f} ({worst})"
