"""The group: commands loaded on use, and the one place that reports errors."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

import click

from gpt2edge.cli.help import Group, write_sections
from gpt2edge.cli.names import (
    COMMANDS,
    DEFAULT_COMMAND,
    INTERRUPTED,
    SECTIONS,
    is_interrupt,
    looks_like_command,
    os_error_line,
    with_command,
)
from gpt2edge.errors import Argument, ArgumentError, Gpt2EdgeError

_ELSEWHERE: Final = {
    **dict.fromkeys(("run", "complete", "completion", "prompt"), "generate"),
    **dict.fromkeys(("chat", "repl", "interactive"), "play"),
    **dict.fromkeys(("list", "ls", "ps", "rm", "show"), "models"),
    **dict.fromkeys(("download", "fetch", "install"), "pull"),
    **dict.fromkeys(("convert", "import"), "export"),
    **dict.fromkeys(("eval", "ppl"), "perplexity"),
    **dict.fromkeys(("benchmark", "speed"), "bench"),
    **dict.fromkeys(("info", "check"), "doctor"),
    **dict.fromkeys(("search", "think"), "solve"),
}
"""What other programs call our commands."""


_OPTIONS_ELSEWHERE: Final = {
    **dict.fromkeys(("--n-predict", "--predict", "--max-tokens", "--tokens"), "--max-new-tokens"),
    **dict.fromkeys(("--num-return-sequences", "--parallel"), "--samples"),
    "--repeat-penalty": "--repetition-penalty",
    "--context-shift": "--overflow slide",
}
"""What other programs call our options."""


class LazyGroup(Group):
    """A group that imports a command's module when the command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; arguments that name no command are a prompt for ``generate``."""
        return super().parse_args(ctx, with_command(args))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gpt2edge.cli.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` name. Raises UsageError with what might be meant."""
        name = args[0]
        if name in COMMANDS or ctx.resilient_parsing or not looks_like_command(name):
            return super().resolve_command(ctx, args)
        text = " ".join([name, *args[1:]]) if len(args) < 3 else name
        raise click.UsageError(
            f"No such command {name!r}.{_meant(name)} "
            f'To complete it as a text: gpt2edge {DEFAULT_COMMAND} "{text}"',
            ctx,
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in their sections."""
        sections = {
            title: [(name, self._summary(ctx, name)) for name in names]
            for title, names in SECTIONS.items()
        }
        write_sections(formatter, sections)

    def _summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(100) if command else ""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a user's mistake becomes one line and exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except click.NoSuchOption as error:
            raise click.UsageError(_no_such_option(error), error.ctx) from error
        except (Gpt2EdgeError, ArgumentError) as error:
            raise click.ClickException(_one_line(error.told(self._speaker(ctx)))) from error
        except ValueError as error:
            raise click.ClickException(_one_line(error)) from error
        except (KeyboardInterrupt, ImportError) as error:
            if not is_interrupt(error):
                raise
            click.echo(err=True)
            ctx.exit(INTERRUPTED)
        except MemoryError as error:
            raise click.ClickException(f"not enough memory: {_one_line(error)}") from error
        except OSError as error:
            raise click.ClickException(os_error_line(error)) from error

    def _speaker(self, ctx: click.Context) -> Callable[[Argument], str]:
        """Return a function that names an argument by its command-line option, if it has one."""
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        params = command.params if command else []
        options = {str(param.name): param for param in params if isinstance(param, click.Option)}

        def speak(argument: Argument) -> str:
            option = options.get(argument.name)
            return str(argument) if option is None else _option(option, argument.value)

        return speak


@click.group(
    cls=LazyGroup,
    options_metavar="",
    subcommand_metavar="COMMAND|PROMPT [OPTIONS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="gpt2edge COMMAND --help shows a command's options and examples.",
)
@click.version_option(None, "-V", "--version", package_name="gpt2edge")
def cli() -> None:
    """Run GPT-2-family language models on ordinary CPUs.

    \b
      gpt2edge "Once upon a time"                         the bundled storyteller goes on
      gpt2edge play                                       write with it, line by line
      gpt2edge pull openai-community/gpt2 --recipe int4   a model from the Hugging Face Hub
      gpt2edge -m openai-community/gpt2 "The king said"   and what it writes
    """


def _no_such_option(error: click.NoSuchOption) -> str:
    """Return the message, with the option that is meant and how to write a text like it."""
    name, command = error.option_name, error.ctx.command if error.ctx else None
    params = command.params if command else []
    known = [name for param in params for name in param.opts if name.startswith("--")]
    other = _OPTIONS_ELSEWHERE.get(name, "")
    meant = [other] if other.partition(" ")[0] in known else []
    meant = meant or [option for option in known if option.startswith(name)]
    hint = _question(meant or error.possibilities or [])
    if any(isinstance(param, click.Argument) for param in params):
        hint += " Write a text that begins with '-' after '--'."
    return error.message + hint


def _meant(name: str) -> str:
    """Return the question whether a similar command is meant; empty if none is similar."""
    from difflib import get_close_matches

    known = _ELSEWHERE.get(name)
    alike: Sequence[str] = [known] if known else get_close_matches(name, COMMANDS, n=2)
    return _question(alike)


def _question(names: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""


def _option(option: click.Option, value: object) -> str:
    """Format ``option`` as on a command line, with its value if it takes one."""
    if value is False and option.secondary_opts:
        return max(option.secondary_opts, key=len)
    name = max(option.opts, key=len)
    return name if value is None or option.is_flag else f"{name} {value}"


def _one_line(error: Exception | str) -> str:
    return " ".join(str(error).split()) or type(error).__name__
