"""Names of the values inside a model, as TransformerLens has them, and where the graph keeps them.

    hook_embed, hook_pos_embed                          [pos, d_model]
    blocks.{i}.hook_resid_pre, _mid, _post              [pos, d_model]
    blocks.{i}.hook_attn_out, hook_mlp_out              [pos, d_model]
    blocks.{i}.attn.hook_q, _k, _v, _z                  [pos, head, d_head]
    blocks.{i}.attn.hook_attn_scores, hook_pattern      [head, query, key]
    blocks.{i}.attn.hook_result                         [pos, head, d_model]
    blocks.{i}.mlp.hook_pre, hook_post                  [pos, d_mlp]
    blocks.{i}.ln1, ln2 and ln_final: hook_scale        [pos, 1]
    blocks.{i}.ln1, ln2 and ln_final: hook_normalized   [pos, d_model], before gain and bias

A shorthand names a value of one layer, ``("pattern", 3)`` or ``"q3"``, or of every layer, "q".
Source: TransformerLens' ``ActivationCache`` and ``utilities.get_act_name``.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from gpt2edge._checks import argument_error, check_int
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.graph import names
from gpt2edge.graph.names import Block

Name: TypeAlias = str | tuple[str, int]
"""A hook's full name, a shorthand, or a shorthand and its layer (from the end where negative)."""
NamesFilter: TypeAlias = Name | list[Name] | Callable[[str], bool] | None
"""Which values: all, those of a name, of a list of names, or those a function of the name takes."""

_IN_BLOCK: Final = (
    "ln1.hook_scale",
    "ln1.hook_normalized",
    "hook_resid_pre",
    "attn.hook_q",
    "attn.hook_k",
    "attn.hook_v",
    "attn.hook_attn_scores",
    "attn.hook_pattern",
    "attn.hook_z",
    "attn.hook_result",
    "hook_attn_out",
    "hook_resid_mid",
    "ln2.hook_scale",
    "ln2.hook_normalized",
    "mlp.hook_pre",
    "mlp.hook_post",
    "hook_mlp_out",
    "hook_resid_post",
)
"""In the order in which a block computes them."""
_ENDS: Final = ("hook_embed", "hook_pos_embed", "ln_final.hook_scale", "ln_final.hook_normalized")
_SHORT: Final = {
    part.rpartition("hook_")[2]: part for part in _IN_BLOCK if not part.startswith("ln")
} | {
    "attn": "attn.hook_pattern",
    "attn_logits": "attn.hook_attn_scores",
    "mlp_pre": "mlp.hook_pre",
    "mlp_post": "mlp.hook_post",
    "mlp_mid": "mlp.hook_post",
    "scale1": "ln1.hook_scale",
    "scale2": "ln2.hook_scale",
    "normalized1": "ln1.hook_normalized",
    "normalized2": "ln2.hook_normalized",
}
_SHORT_ENDS: Final = {"embed": "hook_embed", "pos_embed": "hook_pos_embed"}
_NUMBERED: Final = re.compile(r"([a-z_]+?)(-?\d+)\Z")
QKV: Final = ("q", "k", "v")
MLP: Final = "mlp"


class Hook(NamedTuple):
    """A value that the graph holds: its name there, and which part of it this is.

    ``part`` is "q", "k", "v" (a third of the columns, in heads), "z" (heads), ``MLP`` (all columns,
    as many as the MLP is wide) or "" (all columns).
    """

    value: str
    part: str = ""


def stored_hooks(n_layer: int) -> dict[str, Hook]:
    """Return the values that a graph of ``n_layer`` blocks holds; all others are derived."""
    found = {"hook_embed": Hook(names.WTE), "hook_pos_embed": Hook(names.WPE)}
    before = names.EMBEDDING
    for layer in range(n_layer):
        block, prefix = Block(layer), f"blocks.{layer}"
        qkv = names.node(block.part(names.C_ATTN))
        found[f"{prefix}.hook_resid_pre"] = Hook(before)
        found |= {f"{prefix}.attn.hook_{part}": Hook(qkv, part) for part in QKV}
        found |= {
            f"{prefix}.attn.hook_z": Hook(block.attention, "z"),
            f"{prefix}.hook_attn_out": Hook(names.node(block.part(names.ATTN_C_PROJ))),
            f"{prefix}.hook_resid_mid": Hook(block.attention_residual),
            f"{prefix}.mlp.hook_pre": Hook(names.node(block.part(names.C_FC)), MLP),
            f"{prefix}.mlp.hook_post": Hook(block.activation, MLP),
            f"{prefix}.hook_mlp_out": Hook(names.node(block.part(names.MLP_C_PROJ))),
            f"{prefix}.hook_resid_post": Hook(block.mlp_residual),
        }
        before = block.mlp_residual
    return found


def hook_names(n_layer: int) -> tuple[str, ...]:
    """Return the names of all values, in the order in which they are computed."""
    blocks = (f"blocks.{layer}.{part}" for layer in range(n_layer) for part in _IN_BLOCK)
    return (*_ENDS[:2], *blocks, *_ENDS[2:])


def needs(name: str) -> tuple[str, ...]:
    """Return the stored values that the value ``name`` is made of."""
    prefix, _, last = name.rpartition("hook_")
    if last in ("attn_scores", "pattern"):
        return (f"{prefix}hook_q", f"{prefix}hook_k")
    if last == "result":
        return (f"{prefix}hook_z",)
    if last in ("scale", "normalized"):
        if prefix == "ln_final.":
            return ("ln_final",)
        return (prefix.replace("ln1.", "hook_resid_pre").replace("ln2.", "hook_resid_mid"),)
    return (name,)


def full_name(name: Name, n_layer: int) -> str:
    """Return the full name of one value: of a full name, ``("q", 3)`` or "q3".

    Raises ValueError with the nearest names where there is none.
    """
    every = hook_names(n_layer)
    if isinstance(name, str) and name in every:
        return name
    if name in _SHORT_ENDS:
        return _SHORT_ENDS[str(name)]
    short, layer = _taken_apart(name)
    if short not in _SHORT or layer is None:
        raise _unknown(name, every)
    at = check_int("layer", layer, -n_layer, n_layer - 1) % n_layer
    return f"blocks.{at}.{_SHORT[short]}"


def chosen_names(names_filter: NamesFilter, n_layer: int) -> tuple[str, ...]:
    """Return the full names that ``names_filter`` takes, in the order of computation."""
    every = hook_names(n_layer)
    if names_filter is None:
        return every
    if callable(names_filter):
        return tuple(name for name in every if names_filter(name))
    given = names_filter if isinstance(names_filter, list) else [names_filter]
    wanted = {each for name in given for each in _each(name, n_layer)}
    return tuple(name for name in every if name in wanted)


def _each(name: Name, n_layer: int) -> Iterator[str]:
    """Yield the names that a name stands for: a bare shorthand is of every layer."""
    if isinstance(name, str) and name in _SHORT:
        yield from (f"blocks.{layer}.{_SHORT[name]}" for layer in range(n_layer))
    else:
        yield full_name(name, n_layer)


def _taken_apart(name: object) -> tuple[str, object]:
    """Return shorthand and layer of ("q", 3) or "q3"; the layer is None where there is none."""
    if isinstance(name, str):
        found = _NUMBERED.match(name)
        return (found[1], int(found[2])) if found else (name, None)
    if isinstance(name, tuple) and len(name) == 2:
        return str(name[0]), name[1]
    return str(name), None


def _unknown(name: Name, every: Iterable[str]) -> ArgumentError:
    """Return the error for a name that no value has."""
    known: Collection[str] = [*every, *_SHORT, *_SHORT_ENDS]
    if isinstance(name, str) and name in _SHORT:
        return argument_error("name", name, f"of one layer, such as ({name!r}, 0)")
    near = difflib.get_close_matches(str(name), known, 3, 0.5) or ["resid_post", "pattern", "z"]
    return ArgumentError(
        Argument("name"), f" is {name!r}, which no value inside has; near it: {', '.join(near)}"
    )
