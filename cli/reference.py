"""The command reference, made from ``--help``: ``python -m gpt2edge.cli.reference``."""

from typing import Final

import click

from gpt2edge.cli.app import cli

_WIDTH: Final = 96
_HEAD: Final = """# Command line

<!-- Made from --help by `make docs`; a test fails where it is stale. -->
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
    return "\n".join([_HEAD, *sections])


def _section(title: str, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{context.get_help()}\n```\n"


if __name__ == "__main__":
    click.echo(render(), nl=False)
