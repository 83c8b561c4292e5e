"""``gpt2edge perplexity``."""

from dataclasses import asdict

import click

from gpt2edge.cli.display.output import estimate, print_facts, print_json
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Target, json_option, read_file


@command()
@click.option(
    "--text", "path", required=True, metavar="FILE", help="UTF-8 text to measure on; - is stdin."
)
@click.option(
    "--context",
    type=click.IntRange(min=2),
    metavar="N",
    help="Tokens per window.  [default: the model's context]",
)
@click.option(
    "--stride",
    type=click.IntRange(min=1),
    metavar="N",
    help="Move the window by N tokens.  [default: half the window]",
)
@Target.options()
@json_option
def perplexity(
    path: str, context: int | None, stride: int | None, target: Target, as_json: bool
) -> None:
    """Measure how well the model predicts a text.

    A window of --context tokens moves over the text by --stride; every token is scored once, after
    at least context - stride tokens. Compare perplexities only at the same tokenizer, context and
    stride. Bits per byte compare across tokenizers; they are omitted if the tokens do not spell the
    whole text.

    With --json: perplexity, standard_error, mean_nll, tokens, context, stride, bits_per_byte.

    \b
    Examples:
      gpt2edge perplexity --text wiki.test.raw
      gpt2edge perplexity -m models/gpt2 --text wiki.test.raw --context 1024 --stride 512 --json
    """
    text = read_file(path)
    engine = target.load()
    with watched("scoring") as progress:
        told = counted(progress, "scoring")
        result = engine.perplexity(text, stride=stride, context=context, progress=told)
    if as_json:
        print_json(asdict(result))
        return
    facts = {
        "perplexity": estimate(result.perplexity, result.standard_error, digits=4),
        "bits per byte": "-" if result.bits_per_byte is None else f"{result.bits_per_byte:.4f}",
        "mean loss": f"{result.mean_nll:.4f} nats a token",
        "tokens": f"{result.tokens:,}",
        "window": f"{result.context:,} tokens, moved by {result.stride:,}",
    }
    print_facts(path, facts)
