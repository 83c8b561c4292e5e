"""``gpt2edge tokenize``."""

from pathlib import Path

import click

from gpt2edge.cli.display.output import counted, note, print_json, print_table, quoted
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import (
    add_bos_option,
    checked,
    json_option,
    model_option,
    read_stdin,
)
from gpt2edge.cli.preload import open_model


@command()
@click.argument("text")
@model_option
@add_bos_option
@json_option
def tokenize(text: str, model: Path | None, add_bos: bool | None, as_json: bool) -> None:
    """Show the tokens of TEXT: ids and pieces of text.

    TEXT "-" is read from stdin. TEXT is tokenized as a prompt, with the special tokens that the
    tokenizer's template adds. A piece that is part of a character shows as U+FFFD.

    With --json: token_ids and pieces.

    \b
    Examples:
      gpt2edge tokenize "Once upon a time"
      gpt2edge tokenize -m models/gpt2 --json "naïve café"
      gpt2edge tokenize - < story.txt
    """
    from gpt2edge.runtime.text.tokenizer import Tokenizer

    opened = open_model(model)
    if opened.tokenizer_path is None:
        raise ValueError(f"{str(opened.path)!r} has no tokenizer: it is used by token ids")
    tokenizer = Tokenizer(
        opened.tokenizer_path,
        add_special_tokens=add_bos,
        bos_token_id=opened.config.bos_token_id,
    )
    own = tokenizer.encode(read_stdin() if text == "-" else checked(text))
    token_ids = [*tokenizer.begin_ids, *own]
    pieces = [tokenizer.piece(token_id) for token_id in token_ids]
    if as_json:
        print_json({"token_ids": token_ids, "pieces": pieces})
        return
    rows = [(token_id, quoted(piece)) for token_id, piece in zip(token_ids, pieces, strict=True)]
    print_table([("id", "piece"), *rows], right=(0,))
    note(counted(len(token_ids), "token"))
