"""``gpt2edge score``."""

from dataclasses import asdict

import click

from gpt2edge.cli.display.output import print_json, print_table, quoted
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Source, Target, json_option, read_texts


@command()
@Source.options(required=True)
@click.argument("completions", nargs=-1, required=True, metavar="COMPLETION...")
@Target.options()
@json_option
def score(source: Source, completions: tuple[str, ...], target: Target, as_json: bool) -> None:
    """Score COMPLETIONs of PROMPT by their log-probability.

    Prints the sum of the tokens' natural log-probabilities and their mean per token. "greedy" tells
    whether greedy decoding would generate exactly this completion. GPT-2's words begin with a
    space: " Paris", not "Paris". PROMPT "-" is read from stdin.

    With --json: prompt, and a list "scores" of text, token_ids, logprob, logprobs, is_greedy.

    \b
    Examples:
      gpt2edge score "The capital of France is" " Paris" " Rome"
      gpt2edge score -m models/gpt2 --json "2 + 2 =" " 4" " 5"
    """
    prompt = source.prompt()
    texts = read_texts(completions, token_ids=source.token_ids)
    engine = target.load()
    with watched("scoring"):
        scores = engine.score(prompt, texts)
    if as_json:
        print_json({"prompt": prompt, "scores": [asdict(score) for score in scores]})
        return
    header = ("logprob", "per token", "tokens", "greedy", "completion")
    rows = [
        (
            f"{score.logprob:.4f}",
            f"{score.logprob / len(score.token_ids):.4f}",
            len(score.token_ids),
            "yes" if score.is_greedy else "no",
            quoted(score.text) if score.text else " ".join(map(str, score.token_ids)),
        )
        for score in scores
    ]
    print_table([header, *rows], right=(0, 1, 2))
