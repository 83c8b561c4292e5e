"""``gpt2edge choose``."""

import click

from gpt2edge.cli.display.output import estimate, print_json, print_table
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Target, json_option
from gpt2edge.cli.options.rows import read_rows

_PERCENT = ("acc", "acc_norm", "acc_bytes", "acc_tokens", "acc_mutual_info")


@command()
@click.argument("path", metavar="QUESTIONS.jsonl")
@click.option(
    "--unconditional",
    metavar="TEXT",
    help='Prompt without the question, such as "Answer:", for acc_mutual_info.',
)
@Target.options()
@json_option
def choose(path: str, unconditional: str | None, target: Target, as_json: bool) -> None:
    """Answer multiple-choice questions, or forecasts, by likelihood.

    QUESTIONS.jsonl has a JSON object a line: prompt, choices, answer (an index from 0, or one of
    the choices). Choices are scored as they are given: GPT-2's words begin with a blank. "-" is
    stdin.

    acc takes the largest sum of log-probabilities, acc_norm divides it by characters, acc_bytes by
    bytes, acc_tokens by tokens, and acc_mutual_info takes off what the choice has after the
    unconditional prompt: lm-eval's definitions. brier (0 to 2) and log_score (nats) are of the
    softmax of the sums; lower is better. Beside each figure stands what guessing gives: all choices
    alike, and the commonest answer.

    With --json: questions, figures, ece, and a list of rows.

    \b
    Examples:
      gpt2edge choose questions.jsonl
      gpt2edge choose questions.jsonl --unconditional "Answer:" --json
    """
    from gpt2edge.inside import evaluate_choices

    rows = read_rows(path)
    engine = target.load()
    with watched("answering") as progress:
        report = evaluate_choices(
            engine, rows, unconditional=unconditional, progress=counted(progress, "answering")
        )
    if as_json:
        print_json(report.as_dict())
        return
    table = [
        (
            name,
            estimate(figure.value, figure.standard_error, digits=2, percent=name in _PERCENT),
            *(
                f"{value:.2%}" if name in _PERCENT else f"{value:.2f}"
                for value in (figure.uniform, figure.commonest)
            ),
        )
        for name, figure in report.figures.items()
    ]
    print_table([("metric", "model", "alike", "commonest"), *table], right=(1, 2, 3))
    click.echo(f"{report.questions:,} questions, calibration error {report.ece:.3f}")
