"""``gpt2edge compare``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.options import json_option, read_file, threads_option
from gpt2edge.cli.output import note, print_facts, print_json, size
from gpt2edge.cli.progress import watched

if TYPE_CHECKING:
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant import Comparison

context_option = click.option(
    "--context",
    type=click.IntRange(min=2),
    metavar="N",
    help="Tokens in a window of the text.  [default: the model's context, at most 512]",
)


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--text", "path", required=True, metavar="FILE", help="UTF-8 text; - is stdin.")
@context_option
@threads_option
@json_option
def compare(
    a: Path, b: Path, path: str, context: int | None, threads: int | None, as_json: bool
) -> None:
    """Measure how far model B is from model A on a text.

    Both read the same windows of the text. The perplexity increase is paired, token by token, so
    its error is far below that of either perplexity. KL(A || B) is in nats a token; top-1
    agreement is the share of tokens where both find the same one likeliest.

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

    with watched("loading both models") as progress:
        first, second = (load(model.path, threads=threads) for model in (a, b))
        token_ids = first.encode(text)
        note(f"comparing on {len(token_ids):,} tokens")
        window = context or min(512, a.config.n_positions)
        compared = run(first, second, token_ids, context=window, progress=progress)
        return compared, layer_errors(a, b, token_ids, progress=progress)


def report(
    a: "ModelDir", b: "ModelDir", comparison: "Comparison", errors: dict[str, float]
) -> dict[str, Any]:
    """The comparison as one JSON object."""
    sizes = {"bytes_a": a.nbytes, "bytes_b": b.nbytes}
    return {**sizes, **asdict(comparison), "layer_errors": errors}


def print_report(
    a: "ModelDir", b: "ModelDir", comparison: "Comparison", errors: dict[str, float]
) -> None:
    """The comparison for a person."""
    before, after = comparison.perplexity_a, comparison.perplexity_b
    increase, top1 = comparison.perplexity_increase, comparison.top1_agreement
    worst = max(errors, key=errors.__getitem__)
    facts = {
        "size": f"{size(a.nbytes)} -> {size(b.nbytes)}, {b.nbytes / a.nbytes:.0%}",
        "perplexity": f"{before.value:.3f} ± {before.standard_error:.3f} -> {after.value:.3f}",
        "increase": f"{increase.value:+.3%} ± {increase.standard_error:.3%}",
        "KL divergence": f"{comparison.kl.value:.6f} ± {comparison.kl.standard_error:.6f} nats",
        "top-1 agreement": f"{top1.value:.2%} ± {top1.standard_error:.2%}",
        "greedy agreement": f"{comparison.greedy_agreement.value:.1f} of "
        f"{comparison.greedy_length} tokens",
        "relative error": f"{list(errors.values())[-1]:.4f} after the last layer, "
        f"at most {errors[worst]:.4f} ({worst})",
        "measured on": f"{comparison.tokens:,} tokens, windows of {comparison.context}",
    }
    print_facts(f"{b.manifest.variant} against {a.manifest.variant}", facts)
