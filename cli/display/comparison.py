"""What ``quantize --text`` shows: how far a quantized model is from its original."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gpt2edge.cli.display.output import counted, estimate, named, note, print_facts, size
from gpt2edge.cli.display.progress import watched

if TYPE_CHECKING:
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant import Comparison


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
