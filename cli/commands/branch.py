"""``gpt2edge branch``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.display.branch_session import BranchSession, spent
from gpt2edge.cli.display.output import note, print_json
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.display.tree import html_option, save_page, show_tree
from gpt2edge.cli.help import BASIC, OUTPUT, command, section
from gpt2edge.cli.names import INTERRUPTED
from gpt2edge.cli.options.common import Source, Target, bundled, json_option
from gpt2edge.cli.options.sampling import SAMPLING_OPTIONS, EndFlags, SamplingFlags
from gpt2edge.cli.options.settings import resolve

if TYPE_CHECKING:
    from gpt2edge.runtime.search import Loom, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The tree to start from, and its growth."""

    load: Path | None
    at: int | None
    n: int
    depth: int | None
    tokens: int
    interactive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchView:
    """Options for saving and showing the tree."""

    save: Path | None
    html: Path | None
    as_json: bool


_FILE: Final[Any] = click.Path(dir_okay=False, path_type=Path)
_growth = section(BASIC)
_output = section(OUTPUT)
GROWTH_OPTIONS: Final = (
    _growth("--load", type=_FILE, metavar="FILE", common=True, help="Continue a saved tree."),
    _growth(
        "--at", type=click.IntRange(0), metavar="ID", help="Branch this node.  [default: the root]"
    ),
    _growth(
        "--samples",
        "n",
        type=click.IntRange(1, 1024),
        default=3,
        metavar="N",
        common=True,
        help="Generate N continuations of each node.",
    ),
    _growth(
        "--depth",
        type=click.IntRange(1, 64),
        metavar="D",
        common=True,
        help="Grow D levels.  [default: 1; 0 with --load alone]",
    ),
    _growth(
        "-n",
        "--max-new-tokens",
        "tokens",
        type=click.IntRange(1),
        default=16,
        metavar="N",
        common=True,
        help="Generate at most N new tokens per continuation.",
    ),
    _growth(
        "-i",
        "--interactive",
        is_flag=True,
        common=True,
        help="Navigate the tree: choose, branch, go back.",
    ),
)
VIEW_OPTIONS: Final = (
    _output("--save", type=_FILE, metavar="FILE", common=True, help="Save the tree as JSON."),
    html_option,
    json_option,
)


@command()
@Source.options()
@Target.options()
@bundled("growth", Growth, *GROWTH_OPTIONS)
@bundled("sampling", SamplingFlags, *SAMPLING_OPTIONS)
@bundled("view", BranchView, *VIEW_OPTIONS)
def branch(
    source: Source, target: Target, growth: Growth, sampling: SamplingFlags, view: BranchView
) -> None:
    """Grow a tree of completions of PROMPT.

    Each node shows p, its share of its siblings' probability, and its value, the geometric mean
    probability of its tokens. The cost is printed on stderr. With --interactive you choose the
    next node by number, can save the tree at any time, and get the chosen text at the end.

    \b
    Examples:
      gpt2edge branch --samples 3 --depth 2 "Once upon a time"
      gpt2edge branch -i --save tale.json "The king"
      gpt2edge branch --load tale.json --at 5 --samples 4 --save tale.json --html tale.html
    """
    tree = _loaded(source, growth)
    at, depth = growth.at or 0, growth.depth
    if tree is None or growth.at is not None or depth is not None or growth.interactive:
        loom = _loom(source, target, growth, sampling, tree)
        tree = loom.tree
        if at >= len(tree.nodes):
            raise ValueError(f"--at is {at}; the tree has the nodes 0 to {len(tree.nodes) - 1}")
        if growth.interactive:
            node = BranchSession(loom, growth.n, view.save).run(tree.nodes[at])
            click.echo(node.state)
        else:
            with watched("growing the tree"):
                loom.grow(tree.nodes[at], n=growth.n, depth=depth or 1)
        note(spent(loom.cost))
        _keep(tree, view, shown=growth.interactive, cost=asdict(loom.cost))
        if loom.stopped == "interrupted":
            click.get_current_context().exit(INTERRUPTED)
    else:
        _keep(tree, view, shown=False, cost={})


def _loaded(source: Source, growth: Growth) -> "Tree | None":
    if growth.load is None:
        return None
    from gpt2edge.runtime.search import Tree

    source.check_absent("--load")
    return Tree.load(growth.load)


def _loom(
    source: Source,
    target: Target,
    growth: Growth,
    sampling: SamplingFlags,
    tree: "Tree | None",
) -> "Loom":
    from gpt2edge.runtime.search import Loom

    prompt = source.prompt() if tree is None else ""
    engine = target.load()
    ending = EndFlags(
        max_new_tokens=None, min_new_tokens=None, stop=(), escape=False, ignore_eos=False
    )
    given = resolve(sampling, ending, engine).sampling
    chosen = given if sampling.temperature is not None or not given.is_greedy else None
    return Loom(engine, prompt, tokens=growth.tokens, sampling=chosen, tree=tree)


def _keep(tree: "Tree", view: BranchView, *, shown: bool, cost: dict[str, Any]) -> None:
    """Save what is to be saved, and show the tree where it was not seen."""
    if view.save:
        tree.save(view.save)
    if view.html:
        save_page(tree, view.html, tree.root.text.strip() or "Completions")
    if view.as_json:
        print_json({**tree.as_dict(), "cost": cost})
    elif not shown:
        show_tree(tree)
