"""``gpt2edge quantize``."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.display.comparison import measure, models_of, print_report, report
from gpt2edge.cli.display.output import aligned, named, note, print_json, size
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import Decorator, command
from gpt2edge.cli.options.common import bundled, json_option, read_file
from gpt2edge.cli.options.measuring import context_option
from gpt2edge.cli.options.names import MODEL, RECIPE

if TYPE_CHECKING:
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant import Calibration, Choice
    from gpt2edge.quant.recipes import CacheType, Rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The text to measure a quantized model on, and the limit on its loss."""

    path: str | None
    context: int | None
    max_perplexity_increase: float | None

    @staticmethod
    def options() -> Decorator:
        """Return the decorator for a command that takes ``judging``."""
        text = click.option(
            "--text", "path", metavar="FILE", help="Measure the quality loss on this text."
        )
        limit = click.option(
            "--max-perplexity-increase",
            type=click.FloatRange(min=0),
            metavar="PCT",
            help="Fail, and write nothing, if perplexity on --text grows by more than PCT percent.",
        )
        return bundled("judging", Judging, text, context_option, limit)

    def check_usage(self) -> None:
        """Raise UsageError for a limit without a text."""
        if self.max_perplexity_increase is not None and self.path is None:
            raise click.UsageError("--max-perplexity-increase needs --text FILE to measure on.")


@dataclass(slots=True)
class _Comparison:
    """Measures the finished model before it takes its place."""

    source: "ModelDir"
    judging: Judging
    text: str | None
    measured: list[Any] = field(default_factory=list)

    def __call__(self, model: "ModelDir") -> None:
        from gpt2edge.errors import QuantizationError

        if self.text is None:
            return
        self.measured = list(measure(self.source, model, self.text, context=self.judging.context))
        increase = self.measured[0].perplexity_increase.value
        limit = self.judging.max_perplexity_increase
        if limit is not None and not 100 * increase <= limit:
            raise QuantizationError(
                f"perplexity grows by {increase:.3%}, more than the {limit:g} % allowed: nothing "
                "was written; try a recipe with more bits, or --calibrate"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeWork:
    """The recipe, changes to it, and the calibration text."""

    recipe: str
    calibrate: str | None
    rounding: "Rounding | None"
    kv_cache: "CacheType"

    @staticmethod
    def options() -> Decorator:
        """Return the decorator for a command that takes ``wanted``."""
        recipe = click.option(
            "--recipe",
            type=RECIPE,
            default="int8",
            show_default=True,
            metavar="NAME",
            help="int8 (fastest prefill), int8-block (most accurate), int4 (smallest), int8-decode "
            "and int4-decode (fastest for one sequence), int4-mixed (8 bits for the most sensitive "
            "weights, 5 on average), or auto (the fastest of int8, int8-block and int4 on this "
            "machine that loses at most about 1 %).",
        )
        calibrate = click.option(
            "--calibrate",
            metavar="FILE",
            help="Calibrate on this UTF-8 text, which should resemble the model's inputs; - is "
            "stdin.  [default: the weights alone, or the model's own output if a recipe needs "
            "text]",
        )
        rounding = click.option(
            "--rounding",
            type=click.Choice(["nearest", "search", "compensate"]),
            help="Rounding of blocks of weights: nearest (fast), search (best scale per block) or "
            "compensate (GPTQ; runs the model).  [default: the recipe's]",
        )
        kv_cache = click.option(
            "--kv-cache",
            type=click.Choice(["float32", "int8"]),
            default="float32",
            show_default=True,
            help="Type of the KV cache: int8 takes a quarter of the memory and decodes faster "
            "after long prompts, but prefills slower.",
        )
        return bundled("wanted", QuantizeWork, recipe, calibrate, rounding, kv_cache)

    def changes(self) -> dict[str, Any]:
        """Return the fields of the recipe that the options set."""
        rounding = {} if self.rounding is None else {"rounding": self.rounding}
        return {**rounding, "kv_cache": self.kv_cache}

    def calibration(self, source: "ModelDir") -> "Calibration | None":
        """Tokenize the calibration text. Raises QuantizationError if the model cannot read it."""
        from gpt2edge.errors import QuantizationError
        from gpt2edge.quant import Calibration
        from gpt2edge.runtime.text.tokenizer import Tokenizer

        if self.calibrate is None:
            return None
        if source.tokenizer_path is None:
            raise QuantizationError(
                f"{source.path} has no tokenizer: it cannot read {self.calibrate}"
            )
        token_ids = Tokenizer(source.tokenizer_path).encode(read_file(self.calibrate))
        return Calibration(token_ids=token_ids)


@command()
@click.argument("model", type=MODEL)
@click.argument("out", type=click.Path(path_type=Path))
@QuantizeWork.options()
@Judging.options()
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is a model folder.")
@json_option
def quantize(
    model: Path,
    out: Path,
    wanted: QuantizeWork,
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
      gpt2edge quantize models/gpt2 models/gpt2-small --recipe auto --json
    """
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant.by_name import quantize_by_name

    judging.check_usage()
    source = ModelDir.open(model)
    text = None
    if judging.path is not None:
        source.require_language_model()
        text = read_file(judging.path)  # before the work: a mistyped path costs no minute
    judge = _Comparison(source, judging, text)
    with watched("reading the model") as progress:
        result, choice = quantize_by_name(
            source,
            out,
            wanted.recipe,
            changes=wanted.changes(),
            calibration=wanted.calibration(source),
            check=judge,
            overwrite=overwrite,
            progress=progress,
        )
    if choice:
        _explain(choice)
    _show(source, result, judge.measured, choice, as_json)


def _explain(choice: "Choice") -> None:
    head = ("recipe", "size", "prefill, tok/s", "decode, tok/s", "256 + 64, ms", "KL, nats")
    rows: list[tuple[object, ...]] = [
        (
            item.recipe,
            size(item.bytes),
            f"{item.prefill_tps:,.0f}",
            f"{item.decode_tps:,.0f}",
            f"{1e3 * item.request_s:,.1f}",
            f"{item.kl:.3g}",
        )
        for item in choice.candidates
    ]
    for line in aligned([head, *rows], right=range(1, len(head))):
        note(line)
    note(f"{choice.recipe}: {choice.reason}")


def _show(
    source: "ModelDir",
    result: "ModelDir",
    measured: list[Any],
    choice: "Choice | None",
    as_json: bool,
) -> None:
    if as_json:
        found = (report if measured else models_of)(source, result, *measured)
        print_json({**found, "auto": asdict(choice)} if choice else found)
    elif measured:
        print_report(source, result, *measured)
    else:
        share = result.nbytes / source.nbytes
        note(f"{named(result)}: {size(result.nbytes)}, {share:.0%} of {source.path}")
