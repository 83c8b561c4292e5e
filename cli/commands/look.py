"""``gpt2edge look``."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.display.inside import (
    print_attended,
    print_attribution,
    print_heads,
    print_importance,
    print_lens,
)
from gpt2edge.cli.display.output import note, print_json
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Source, Target, bundled, checked, json_option

if TYPE_CHECKING:
    from gpt2edge.inside.report import Look


class HeadType(click.ParamType["tuple[int, int]"]):
    """A head: its layer and its number in it, both from 0."""

    name = "L.H"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse "2.3"."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d+)\.(\d+)", str(value))
        if found is None:
            self.fail(f"{value!r} is no head; write LAYER.HEAD, such as 2.3", param, ctx)
        return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What to show of a prompt."""

    top: int
    target: str | None
    attention: tuple[int, int] | None
    heads: bool
    attribution: bool
    importance: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What to write."""

    svg: Path | None
    npz: Path | None
    names: tuple[str, ...]


_FILE = click.Path(dir_okay=False, path_type=Path)
views_option = bundled(
    "views",
    Views,
    click.option(
        "--top",
        type=click.IntRange(1, 1000),
        default=5,
        show_default=True,
        metavar="N",
        help="Predictions per layer and token, in --json and below the table.",
    ),
    click.option(
        "--target", metavar="TOKEN", help='Follow a token through the layers, such as " Paris".'
    ),
    click.option("--attention", type=HeadType(), help="What a head looks at; its SVG with --svg."),
    click.option("--heads", is_flag=True, help="What kind of head each one is."),
    click.option(
        "--attribution",
        is_flag=True,
        help="Which heads and MLPs wrote the likeliest token, or --target.",
    ),
    click.option(
        "--importance",
        is_flag=True,
        help="Which tokens of the prompt the likeliest token, or --target, depends on.",
    ),
)
files_option = bundled(
    "files",
    Files,
    click.option("--svg", type=_FILE, metavar="FILE", help="Draw the table, or --attention."),
    click.option("--npz", type=_FILE, metavar="FILE", help="Write the values inside for numpy."),
    click.option(
        "--names",
        multiple=True,
        metavar="NAME",
        help="Which values --npz writes, such as resid_post or blocks.0.attn.hook_pattern. "
        "Repeatable.  [default: all]",
    ),
)


@command()
@Source.options()
@views_option
@files_option
@Target.options()
@json_option
def look(source: Source, views: Views, files: Files, target: Target, as_json: bool) -> None:
    """Look inside the model while it reads PROMPT.

    The table is the logit lens: what the model would predict after each token if a layer were the
    last one. The newest layer is on top; "last" is what the model does predict, and a bold word is
    more than half of the probability. Layers and heads count from 0, ranks of --target from 0.

    Values inside have TransformerLens' names and shapes. They are float32, also of a quantized
    model, whose own they are. Small models show little: the bundled one has no head that copies
    from earlier text, and the lens of its first layers is noise.

    With --json: tokens, token_ids, layers (label, kl_to_final, entropy, predictions), and what the
    other options ask for.

    \b
    Examples:
      gpt2edge look "Once upon a time there was a little"
      gpt2edge look "The king had a" --target " daughter" --attribution
      gpt2edge look "Once upon a time" --attention 0.1 --svg head.svg
      gpt2edge look "Once upon a time" --npz values.npz --names resid_post --names pattern
    """
    from gpt2edge.inside.report import Look

    prompt, wanted = source.prompt(), None if views.target is None else checked(views.target)
    engine = target.load()
    with watched("looking inside"):
        seen = Look(engine.inside(), prompt)
        found = _found(seen, views, wanted)
        _write(seen, prompt, views, files)
    if as_json:
        print_json({**found.pop("report").as_dict(), **found})
    else:
        _print(seen, found, views)


def _found(seen: "Look", views: Views, target: str | None) -> dict[str, Any]:
    """Collect what the options ask for."""
    found: dict[str, Any] = {"report": seen.report(top=views.top, target=target)}
    if views.attention is not None:
        found["attention"] = seen.attended(*views.attention)
    if views.heads:
        found["heads"] = seen.heads()
    if views.attribution:
        found["attribution"] = seen.attribution(target).as_dict()
    if views.importance:
        found["importance"] = seen.importance(target).as_dict()
    return found


def _print(seen: "Look", found: dict[str, Any], views: Views) -> None:
    width = shutil.get_terminal_size((100, 24)).columns
    print_lens(found["report"], width)
    if views.attention is not None:
        print_attended(seen.cache.tokens, found["attention"], views.attention)
    if views.heads:
        print_heads(found["heads"])
    if views.attribution:
        print_attribution(seen.scope.token, found["attribution"])
    if views.importance:
        print_importance(found["importance"])


def _write(seen: "Look", prompt: "str | list[int]", views: Views, files: Files) -> None:
    """Write the files that are asked for, and say so."""
    if files.svg is not None:
        files.svg.write_text(seen.picture(views.attention), encoding="utf-8")
        note(f"wrote {files.svg}")
    if files.npz is not None:
        from gpt2edge.inside import save_activations

        _, cache = seen.scope.run_with_cache(prompt, list(files.names) or None)
        save_activations(cache, files.npz)
        note(f"wrote {files.npz}")
