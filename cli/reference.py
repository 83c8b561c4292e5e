"""The command reference, made from ``--help``: ``python -m gpt2edge.cli.reference``."""

from typing import Any, Final

import click

from gpt2edge.cli.app import cli
from gpt2edge.cli.help import ask_for_all

_WIDTH: Final = 96
_HEAD: Final = """# Command line

<!-- Made from --help by `make docs`; a test fails if it is stale. -->

Text and results go to stdout, everything else to stderr; `--json` prints one JSON object.

| Exit code | Meaning |
|---:|---|
| 0 | done |
| 1 | an error, reported in one line on stderr |
| 2 | a wrong option or argument |
| 130 | interrupted by Ctrl-C; `generate` and `solve` print what they have |

`gpt2edge "Once upon a time"` is `gpt2edge generate "Once upon a time"`: a word in small letters
names a command, everything else is a prompt. `--help` shows the common options of a command,
`--help-all` all of them, as below. Stdin and files are read as UTF-8, without a byte order mark and
with CRLF as newline; arguments are used verbatim. `NO_COLOR=1` turns colours off, and so does a
pipe.

Shell completion, of commands, options, models, recipes and providers; add the line to the file that
your shell reads at its start:

```sh
eval "$(_GPT2EDGE_COMPLETE=bash_source gpt2edge)"    # ~/.bashrc
eval "$(_GPT2EDGE_COMPLETE=zsh_source gpt2edge)"     # ~/.zshrc
_GPT2EDGE_COMPLETE=fish_source gpt2edge | source     # ~/.config/fish/completions/gpt2edge.fish
```
"""


def render() -> str:
    """``docs/cli.md``: the help of the program and of every command."""
    root = cli.context_class(
        cli, info_name="gpt2edge", terminal_width=_WIDTH, **cli.context_settings
    )
    sections = [_section("gpt2edge", root)]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = _context(command, root, name)
        sections.append(_section(f"gpt2edge {name}", context))
        for child, subcommand in getattr(command, "commands", {}).items():
            inner = subcommand.context_class(
                subcommand, context, info_name=child, terminal_width=_WIDTH
            )
            sections.append(_section(f"gpt2edge {name} {child}", inner))
    return "\n".join([_HEAD, *sections])


def _context(
    command: click.Command, parent: click.Context | None, name: str, **settings: Any
) -> click.Context:
    return command.context_class(
        command, parent=parent, info_name=name, terminal_width=_WIDTH, **settings
    )


def _section(title: str, context: click.Context) -> str:
    ask_for_all(context)
    return f"## {title}\n\n```text\n{click.unstyle(context.get_help())}\n```\n"


if __name__ == "__main__":
    click.echo(render(), nl=False)
