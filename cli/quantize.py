"""``gpt2edge quantize``."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.compare import context_option, measure, print_report, report
from gpt2edge.cli.options import Decorator, bundled, json_option, read_file
from gpt2edge.cli.output import note, print_json, progress_bar, size

if TYPE_CHECKING:
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant import Calibration, QuantRecipe
    from gpt2edge.quant.calibrate import Progress
    from gpt2edge.quant.recipes import CacheType


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The text on which a quantized model is judged, and what it must hold."""

    path: str | None
    context: int | None
    max_perplexity_increase: float | None

    @staticmethod
    def options() -> Decorator:
        """Decorator for a command that takes ``judging``."""
        text = click.option("--text", "path", metavar="FILE", help="Report the loss on this text.")
        limit = click.option(
            "--max-perplexity-increase",
            type=click.FloatRange(min=0),
            metavar="PCT",
            help="Write nothing where perplexity on --text grows by more than PCT percent.",
        )
        return bundled("judging", Judging, text, context_option, limit)

    def check_usage(self) -> None:
        """A limit needs a text. Raises UsageError."""
        if self.max_perplexity_increase is not None and self.path is None:
            raise click.UsageError("--max-perplexity-increase needs --text FILE to measure on.")


@dataclass(slots=True)
class _Judge:
    """Measures the finished model before it takes its place."""

    source: "ModelDir"
    judging: Judging
    measured: list[Any] = field(default_factory=list)

    def __call__(self, model: "ModelDir") -> None:
        from gpt2edge.errors import QuantizationError

        if self.judging.path is None:
            return
        text = read_file(self.judging.path)
        self.measured = list(measure(self.source, model, text, context=self.judging.context))
        increase = self.measured[0].perplexity_increase.value
        limit = self.judging.max_perplexity_increase
        if limit is not None and not 100 * increase <= limit:
            raise QuantizationError(
                f"perplexity grows by {increase:.3%}, more than the {limit:g} % allowed: nothing "
                "was written; try a recipe with more bits, or --calibrate"
            )


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    default="int8",
    show_default=True,
    metavar="NAME",
    help="int8 (fastest prefill), int8-block (most faithful), int4 (smallest) or int4-mixed "
    "(8 bits where they count most, 5 on average).",
)
@click.option(
    "--calibrate",
    metavar="FILE",
    help="UTF-8 text like those the model will read; - is stdin.  [default: its own weights, and "
    "for int4 what it writes itself]",
)
@click.option(
    "--kv-cache",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    show_default=True,
    help="How keys and values are kept: int8 takes a quarter of the memory, and is faster after "
    "long prompts but slower at reading them.",
)
@Judging.options()
@click.option("--overwrite", is_flag=True, help="Replace OUT where it is a model folder.")
@json_option
def quantize(
    model: Path,
    out: Path,
    recipe: str,
    calibrate: str | None,
    kv_cache: "CacheType",
    judging: Judging,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the exported MODEL to OUT, smaller and faster.

    With --text the loss is measured and printed: perplexity, KL divergence, top-1 and greedy
    agreement against MODEL, and the error after each layer. OUT is whole or absent.

    Needs the quant extra: pip install 'gpt2edge[quant]'

    \b
    Examples:
      gpt2edge quantize models/gpt2 models/gpt2-int8
      gpt2edge quantize models/gpt2 models/gpt2-int4 --recipe int4 --calibrate book.txt
      gpt2edge quantize models/gpt2 models/gpt2-int4 --recipe int4 --text wiki.test.raw \\
        --max-perplexity-increase 2
    """
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant import quantize as run

    judging.check_usage()
    source = ModelDir.open(model)
    judge = _Judge(source, judging)
    with progress_bar("calibrating") as progress:
        calibration = _calibration(source, calibrate, progress)
        result = run(
            source,
            out,
            recipe=replace(_recipe(source, recipe, calibration), kv_cache=kv_cache),
            calibration=calibration,
            check=judge,
            overwrite=overwrite,
        )
    _show(source, result, judge.measured, as_json)


def _show(source: "ModelDir", result: "ModelDir", measured: list[Any], as_json: bool) -> None:
    if as_json:
        sizes = {"bytes_a": source.nbytes, "bytes_b": result.nbytes}
        print_json(report(source, result, *measured) if measured else sizes)
    elif measured:
        print_report(source, result, *measured)
    else:
        share = result.nbytes / source.nbytes
        note(f"{result.path}: {size(result.nbytes)}, {share:.0%} of {source.path}")


def _recipe(source: "ModelDir", name: str, calibration: "Calibration | None") -> "QuantRecipe":
    from gpt2edge.quant import INT4, MIXED, mixed_recipe, named_recipe

    if name == MIXED:
        return mixed_recipe(source, INT4, mean_bits=5, calibration=calibration)
    return named_recipe(name)


def _calibration(
    source: "ModelDir", path: str | None, progress: "Progress | None"
) -> "Calibration | None":
    from gpt2edge.errors import QuantizationError
    from gpt2edge.quant import Calibration
    from gpt2edge.runtime.tokenizer import Tokenizer

    if path is None:
        return None
    if source.tokenizer_path is None:
        raise QuantizationError(f"{source.path} has no tokenizer: it cannot read {path}")
    token_ids = Tokenizer(source.tokenizer_path).encode(read_file(path))
    return Calibration(token_ids=token_ids, progress=progress)
