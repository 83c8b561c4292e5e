"""Help in sections: ``--help`` shows the common options, ``--help-all`` all of them."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

AnyFunction = Callable[..., Any]
Decorator = Callable[[AnyFunction], AnyFunction]

BASIC: Final = "Options"
SEARCH: Final = "Search"
SAMPLING: Final = "Sampling"
BEAMS: Final = "Beams"
SPEED: Final = "Speed"
OUTPUT: Final = "Output"
_HELP: Final = "Help"
_HELPS: Final = {"--help", "--version"}
_ORDER: Final = (BASIC, SEARCH, SAMPLING, BEAMS, SPEED, OUTPUT, _HELP)
_REMARKS: Final = {SAMPLING: "the model's generation_config.json wins over these defaults"}
"""Written beside a section's title."""
_WIDEST: Final = 24
"""Characters of the first column; what is longer has a line of its own."""
_MORE: Final = "---"
"""A line of a command's docstring: what follows is for ``--help-all``."""
_FULL: Final = "gpt2edge.help_all"


class Option(click.Option):
    """An option with its section of the help; ``common`` ones are in the short help.

    The help of an option whose default is made elsewhere ends in ``[default: ...]``.
    """

    def __init__(
        self, *args: Any, section: str = BASIC, common: bool = False, **settings: Any
    ) -> None:
        super().__init__(*args, **{"show_default": True, **settings})
        self.section = section
        self.common = common

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return click's remarks without the range, which an error names where it matters."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


def section(title: str) -> Callable[..., Decorator]:
    """Return ``click.option`` for options of a section; ``common=True`` for the short help."""

    def option(*names: str, **settings: Any) -> Decorator:
        return click.option(*names, cls=Option, section=title, **settings)

    return option


class _Formatter(click.HelpFormatter):
    """Headings in bold, names of options and commands in colour; click strips both in a pipe."""

    def write_heading(self, heading: str) -> None:
        title, _, remark = heading.partition(" (")
        styled = click.style(title, bold=True) + (f" ({remark}" if remark else "")
        self.write(f"{'':>{self.current_indent}}{styled}{click.style(':', bold=True)}\n")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or click.style("Usage: ", bold=True))

    def write_dl(self, rows: Any, *args: Any, **settings: Any) -> None:
        coloured = [(click.style(first, fg="cyan"), second) for first, second in rows]
        super().write_dl(coloured, *args, **settings)


class _Context(click.Context):
    formatter_class = _Formatter


class Sectioned(click.Command):
    """A command, or a group, whose help has sections."""

    context_class = _Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; ``NO_COLOR`` holds for the help, too."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, and ``--help-all``."""
        return [*super().get_params(ctx), _HELP_ALL]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the docstring, in the short help up to the line ``---``."""
        short, _, more = inspect.cleandoc(self.help or "").partition(f"\n{_MORE}\n")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(short.rstrip())
            if more and is_full(ctx):
                formatter.write_paragraph()
                formatter.write_text(more.strip())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections; the short help leaves out our options that are not common."""
        full = is_full(ctx)
        left = 0
        rows: dict[str, list[tuple[str, str]]] = {}
        for param in super().get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or isinstance(param, click.Argument):
                continue
            if full or not isinstance(param, Option) or param.common:
                title = param.section if isinstance(param, Option) else _section_of(param)
                rows.setdefault(title, []).append(record)
            else:
                left += 1
        if left or full:
            text = f"{left} more options" if left else "all options"
            rows[_HELP].append(("--help-all", f"Show {text} and exit."))
        write_sections(formatter, {title: rows[title] for title in _ORDER if title in rows})


def _section_of(param: click.Parameter) -> str:
    """Return the section of an option that click makes, or that names none."""
    return BASIC if _HELPS.isdisjoint(param.opts) else _HELP


class Command(Sectioned):
    """A command whose help has sections."""


class Group(Sectioned, click.Group):
    """A group of commands whose help has sections."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        Sectioned.format_options(self, ctx, formatter)


def command() -> Callable[[AnyFunction], Command]:
    """Return ``click.command`` for a command whose help has sections."""
    return click.command(cls=Command)


def write_sections(
    formatter: click.HelpFormatter, sections: Mapping[str, Sequence[tuple[str, str]]]
) -> None:
    """Write each section: its title with its remark, and its names with what they mean.

    The second columns of all sections are aligned.
    """
    names = [name for rows in sections.values() for name, _ in rows]
    width = max((len(name) for name in names if len(name) <= _WIDEST), default=0)
    for title, rows in sections.items():
        remark = f" ({_REMARKS[title]})" if title in _REMARKS else ""
        with formatter.section(title + remark):
            formatter.write_dl([(name.ljust(width), text) for name, text in rows], _WIDEST + 2)


def is_full(ctx: click.Context) -> bool:
    """Tell whether the whole help is asked for."""
    return bool(ctx.meta.get(_FULL))


def ask_for_all(ctx: click.Context) -> None:
    """Make the help of ``ctx`` and of commands below it the whole one."""
    ctx.meta[_FULL] = True


def _show_all(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        ask_for_all(ctx)
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


_HELP_ALL: Final = Option(
    ["--help-all"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_all,
    help="Show all options and exit.",
)
