"""The command reference, made from ``--help``: ``python -m gpt2edge.cli.reference``."""

from typing import Final

import click

from gpt2edge.cli.app import cli

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

`NO_COLOR=1` turns colours off, and so does a pipe. `--verbose` shows every effective setting and
its origin: a flag, the model's `generation_config.json`, another option that implies it, or a
default.

Shell completion; add the line to the file that your shell reads at its start:

```sh
eval "$(_GPT2EDGE_COMPLETE=bash_source gpt2edge)"    # ~/.bashrc
eval "$(_GPT2EDGE_COMPLETE=zsh_source gpt2edge)"     # ~/.zshrc
_GPT2EDGE_COMPLETE=fish_source gpt2edge | source     # ~/.config/fish/completions/gpt2edge.fish
```
"""


def render() -> str:
    """``docs/cli.md``: the help of the program and of every command."""
    root = click.Context(cli, info_name="gpt2edge", terminal_width=_WIDTH, **cli.context_settings)
    sections = [_section("gpt2edge", root)]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, parent=root, info_name=name, terminal_width=_WIDTH)
        sections.append(_section(f"gpt2edge {name}", context))
        for child, subcommand in getattr(command, "commands", {}).items():
            inner = click.Context(subcommand, context, info_name=child, terminal_width=_WIDTH)
            sections.append(_section(f"gpt2edge {name} {child}", inner))
    return "\n".join([_HEAD, *sections])


def _section(title: str, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{context.get_help()}\n```\n"


if __name__ == "__main__":
    click.echo(render(), nl=False)
