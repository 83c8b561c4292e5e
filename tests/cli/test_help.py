"""What --help shows: sections, common options, defaults; and what a misspelt name is told."""

import re

import click
import pytest
from click.testing import CliRunner

from gpt2edge.cli.app import cli
from gpt2edge.cli.help import Option
from gpt2edge.cli.names import COMMANDS, SECTIONS, looks_like_command, with_command
from tests.cli.running import error, output


def command_of(name: str) -> click.Command:
    """A command of the program."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def names_in(text: str) -> set[str]:
    """Long names of the options that a help lists."""
    return set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_all_has_every_option_and_help_the_common_ones(name: str) -> None:
    short, full = names_in(output(name, "--help")), names_in(output(name, "--help-all"))
    options = [param for param in command_of(name).params if isinstance(param, click.Option)]
    assert full >= {max(option.opts, key=len) for option in options}
    rare = {max(o.opts, key=len) for o in options if isinstance(o, Option) and not o.common}
    assert short - {"--help-all"} == full - rare - {"--help-all"}
    assert ("--help-all" in short) == bool(rare)
    assert len(short) < 25


def test_help_counts_what_it_leaves_out() -> None:
    short, full = output("generate", "--help"), output("generate", "--help-all")
    (count,) = re.findall(r"Show (\d+) more options", short)
    assert len(names_in(full)) - len(names_in(short)) == int(count)
    titles = re.findall(r"^(\w[^:\n]*):$", full, re.MULTILINE)
    assert [title.split(" (")[0] for title in titles] == [
        *("Options", "Sampling", "Beams", "Speed", "Output", "Help")
    ]
    assert "More examples" in full
    assert "More examples" not in short


@pytest.mark.parametrize("name", ["generate", "solve", "branch", "score"])
def test_help_shows_every_default(name: str) -> None:
    """But for options that are off until they are given."""
    off = {"--file", "--prompts", "--token-ids", "--prompt-cache", "--draft-model", "--logprobs"}
    off |= {"--load", "--save", "--html", "--problems", "--verifier", "--harvest", "--accept"}
    context = click.Context(command_of(name))
    for option in command_of(name).params:
        if not isinstance(option, click.Option) or option.multiple or off & set(option.opts):
            continue
        if option.is_flag and not option.secondary_opts:
            continue
        record = option.get_help_record(context)
        assert record is not None
        assert "[default: " in record[1], record


def test_one_word_for_one_thing() -> None:
    """An option of two commands has one set of names, and no option has two long ones."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for name in COMMANDS:
        for option in command_of(name).params:
            if isinstance(option, click.Option):
                assert len([opt for opt in option.opts if opt.startswith("--")]) == 1, option.opts
                for opt in option.opts:
                    found.setdefault(opt, set()).add(tuple(option.opts))
    alike = {opt: names for opt, names in found.items() if len(names) > 1}
    assert not alike.keys() - {"-p", "-n", "-d", "-b", "-r", "-o"}, alike  # bench: llama-bench's


def test_colours_are_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown() -> str:
        return CliRunner().invoke(cli, ["generate", "--help"], color=True).stdout

    assert "\x1b[1mSampling\x1b[0m (the model" in shown()
    assert "\x1b" not in output("generate", "--help")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown()


def test_root_help_lists_each_command_once_on_one_line() -> None:
    lines = output("--help").splitlines()
    for name in COMMANDS:
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(line) < 80
    assert all(f"{title}:" in lines for title in SECTIONS)


@pytest.mark.parametrize(
    ("args", "command"),
    [
        (["Once upon a time"], "generate"),
        (["Once"], "generate"),
        (["2"], "generate"),
        ([""], "generate"),
        (["-"], "generate"),
        (["-n", "3", "a b"], "generate"),
        (["once"], "once"),
        (["to-be"], "to-be"),
        (["--help"], "--help"),
        (["-V"], "-V"),
        (["generate", "x"], "generate"),
    ],
)
def test_a_prompt_needs_no_command(args: list[str], command: str) -> None:
    assert with_command(args)[0] == command
    assert with_command(with_command(args)) == with_command(args)
    assert (command == args[0]) or with_command(args)[1:] == args


def test_no_argument_names_nothing() -> None:
    assert with_command([]) == []
    assert all(map(looks_like_command, COMMANDS))


@pytest.mark.parametrize(
    ("word", "meant"),
    [("genrate", "generate"), ("run", "generate"), ("list", "models"), ("benchmark", "bench")],
)
def test_a_misspelt_command(word: str, meant: str) -> None:
    line = error(word, code=2)
    assert f"No such command {word!r}. Did you mean {meant!r}?" in line
    assert f'gpt2edge generate "{word}"' in line


def test_a_word_that_is_like_no_command() -> None:
    line = error("whatsoever", "now", code=2)
    assert "Did you mean" not in line
    assert line.endswith('gpt2edge generate "whatsoever now"')


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--temp", "'--temperature'"),
        ("--temprature", "'--temperature'"),
        ("--repeat-penalty", "'--repetition-penalty'"),
        ("--context-shift", "'--overflow slide'"),
        ("--n-predict", "'--max-new-tokens'"),
        ("--num-return-sequences", "'--samples'"),
    ],
)
def test_a_misspelt_option(option: str, meant: str) -> None:
    line = error("generate", option, 1, "x", code=2)
    assert f"No such option '{option}'. Did you mean {meant}" in line
    assert line.endswith("Write a text that begins with '-' after '--'.")


def test_a_misspelt_subcommand_and_option_of_a_command_without_a_text() -> None:
    line = error("doctor", "--jason", code=2)
    assert "Did you mean '--json'?" in line
    assert "after '--'" not in line
