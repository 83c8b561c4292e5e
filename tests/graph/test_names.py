"""The names: spelt in one module, alike for those who write them and those who look for them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpt2edge.graph import names
from gpt2edge.graph.names import Block
from tests.test_layout import MODULES

OWN_WORDS: Final = {"names.py", "reference.py", "genai.py", "genai_config.py", "lens.py"}
"""The list itself, the numpy oracle that shares nothing with the graph, another file's keys, and
what a lens may be asked for."""
VALUES: Final = frozenset(
    [
        *(names.INPUT_IDS, names.ATTENTION_MASK, names.POSITION_IDS),
        *(names.LOGITS_TO_KEEP, names.LOGITS, names.LN_F, names.EMBEDDING_ROWS),
        *(names.INPUT_SHAPE, names.THREE_AXES),
        *(*names.MASK_COUNTING, *names.POSITION_CHOICE),
    ]
)
FRAGMENTS: Final = ("past_key_values", "present.", "/attn", "/mlp", "attn.c_", "mlp.c_", "ln_1")


def _literals(path: Path) -> Iterator[str]:
    """Yield the texts in a module's code, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose:
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode("latin-1")


def test_a_name_is_spelt_in_one_place() -> None:
    """Others import it from ``gpt2edge.graph.names``."""
    found = {
        (path.name, text)
        for _, path in MODULES
        if path.name not in OWN_WORDS
        for text in _literals(path)
        if text in VALUES or any(part in text for part in FRAGMENTS)
    }
    assert not found


def test_the_search_for_names_finds_them() -> None:
    """Else the test above could not fail."""
    (path,) = [path for _, path in MODULES if path.parts[-2:] == ("graph", "names.py")]
    found = set(_literals(path))
    assert found >= VALUES
    assert all(any(part in text for text in found) for part in FRAGMENTS if part != "present.")


def test_nodes_are_named_after_their_weights() -> None:
    block = Block(11)
    assert names.weight(block.part(names.C_ATTN)) == "h.11.attn.c_attn.weight"
    assert names.node(block.part(names.C_ATTN)) == "h.11/attn/c_attn"
    assert names.node(block.part(names.LN_2)) == "h.11/ln_2"
    assert names.node(names.LN_F) == "ln_f"
    assert names.head("wte.weight") == names.head("lm_head.weight") == "lm_head"
    assert names.head("score.weight") == "score"


def test_the_cache_is_named_as_optimum_names_it() -> None:
    assert list(names.cache(2)) == [
        ("past_key_values.0.key", "present.0.key"),
        ("past_key_values.0.value", "present.0.value"),
        ("past_key_values.1.key", "present.1.key"),
        ("past_key_values.1.value", "present.1.value"),
    ]
    for past, present in names.cache(2):
        assert names.present_of(past) == present
        assert names.is_past(past)
        assert names.is_present(present)
        assert not names.is_past(present)
        assert names.is_past_key(past) == past.endswith("key")


def test_only_reshapes_around_products_are_taken_for_them() -> None:
    block = Block(3)
    for name in (names.EMBEDDING_ROWS, block.qkv, block.attention_rows):
        assert names.is_reshape_for_gemm(name)
    for name in (names.LOGITS, names.EMBEDDING, block.attention, block.mlp_residual):
        assert not names.is_reshape_for_gemm(name)
