"""The group: commands loaded on use, and the one place that reports errors."""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from gpt2edge.cli.names import COMMANDS, INTERRUPTED, is_interrupt, os_error_line
from gpt2edge.errors import Argument, ArgumentError, Gpt2EdgeError


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is named."""

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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a user's mistake becomes one line and exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except click.NoSuchOption as error:
            if error.ctx and any(isinstance(p, click.Argument) for p in error.ctx.command.params):
                hint = " Write a text that begins with '-' after '--'."
                raise click.UsageError(error.format_message() + hint, error.ctx) from error
            raise
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
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Every command has --help with examples. Text and results go to stdout, everything "
    "else to stderr. Stdin and files are read as UTF-8, without a byte order mark and with CRLF as "
    "newline; arguments are used verbatim. Exit codes: 0 done, 1 error, 2 usage, "
    "130 interrupted. NO_COLOR=1 turns colours off. Shell completion (also zsh_source, "
    "fish_source): "
    'eval "$(_GPT2EDGE_COMPLETE=bash_source gpt2edge)".',
)
@click.version_option(None, "-V", "--version", package_name="gpt2edge")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """GPT-2-family language models on ordinary CPUs.

    \b
    gpt2edge generate "Once upon a time"                 the bundled storyteller
    gpt2edge export checkpoints/gpt2 models/gpt2         a Hugging Face folder to ONNX
    gpt2edge quantize models/gpt2 models/gpt2-int4 --recipe int4
    gpt2edge generate -m models/gpt2-int4 "Edge inference is"
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def _option(option: click.Option, value: object) -> str:
    """Format ``option`` as on a command line, with its value if it takes one."""
    if value is False and option.secondary_opts:
        return max(option.secondary_opts, key=len)
    name = max(option.opts, key=len)
    return name if value is None or option.is_flag else f"{name} {value}"


def _one_line(error: Exception | str) -> str:
    return " ".join(str(error).split()) or type(error).__name__
