"""Loom: pieces of plain samples, nothing read twice, gone on with after a save."""

import math
from pathlib import Path

import pytest

from gpt2edge import Engine, RuntimeOptions, SamplingParams
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.ort.binding import Binding
from gpt2edge.runtime.search import Budget, Loom, Tree
from tests.runtime.models import KEYS, make_engine

WARM = SamplingParams(temperature=0.9, top_k=40, seed=11)


def shape(tree: Tree) -> list[tuple[object, ...]]:
    return [(node.parent, node.state, node.token_ids, node.is_terminal) for node in tree.nodes]


def test_the_first_pieces_begin_plain_samples(engine: Engine) -> None:
    loom = Loom(engine, "he", tokens=5, sampling=WARM)
    nodes = loom.branch([loom.tree.root], 4)
    plain = engine.generate_batch(["he"], n=4, max_new_tokens=5, sampling=WARM, logprobs=0)
    assert [node.token_ids for node in nodes] == [sample.token_ids for sample in plain]
    means = [math.exp(sum(s.logprobs) / len(s.logprobs)) for s in plain]
    assert [node.value for node in nodes] == pytest.approx(means)
    weights = [math.exp(sum(s.logprobs)) for s in plain]
    shares = [weight / sum(weights) for weight in weights]
    assert [edge.prior for edge in loom.tree.root.children] == pytest.approx(shares, rel=1e-6)


def test_a_step_costs_its_new_tokens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    loom = Loom(engine, "hello hello", tokens=6, sampling=WARM)
    read: list[int] = []
    run = Decoder._run

    def counted(self: Decoder, binding: Binding, first: int, count: int, tokens: int) -> None:
        read.append(count * tokens)
        run(self, binding, first, count, tokens)

    monkeypatch.setattr(Decoder, "_run", counted)
    level = loom.branch([loom.tree.root], 3)
    assert loom.cost.prefilled_tokens == len(engine.encode("hello hello"))
    for _ in range(3):
        before = loom.cost
        read.clear()
        node = level[1]
        level = loom.branch([node], 3)
        new = sum(len(child.token_ids) for child in level)
        cost = loom.cost
        assert cost.generated_tokens - before.generated_tokens == new
        assert cost.prefilled_tokens - before.prefilled_tokens == 1
        # the first token of each piece comes from the one token read, the last enters nothing
        assert sum(read) == 1 + new - len(level)


def test_a_saved_tree_goes_on_as_if_it_had_stayed(engine: Engine, tmp_path: Path) -> None:
    whole, parted = (Loom(engine, "he 😀", tokens=4, sampling=WARM) for _ in range(2))
    for loom in (whole, parted):
        assert len(loom.grow(loom.tree.root, n=2, depth=2)) == 6
    parted.tree.save(tmp_path / "tree.json")
    again = Loom(engine, tokens=4, sampling=WARM, tree=Tree.load(tmp_path / "tree.json"))
    assert shape(again.tree) == shape(whole.tree)
    for loom in (whole, again):
        loom.branch([loom.tree.nodes[4], loom.tree.root], 3)
    assert shape(again.tree) == shape(whole.tree)
    assert len(again.tree.nodes) == 13
    prefixes = [(again.tree.nodes[n.parent or 0].state, n.state) for n in again.tree.nodes]
    assert all(state.startswith(before) for before, state in prefixes)


def test_equal_pieces_are_one_node(engine: Engine) -> None:
    narrow = SamplingParams(temperature=0.9, top_k=2, seed=3)
    loom = Loom(engine, "he", tokens=1, sampling=narrow)
    nodes = loom.branch([loom.tree.root], 20)
    assert len(nodes) == 2
    assert sum(edge.visits for edge in loom.tree.root.children) == 20
    assert loom.branch([loom.tree.root], 20) == []
    assert sum(edge.prior for edge in loom.tree.root.children) == pytest.approx(1)


def test_an_end_has_no_continuation(tmp_path: Path) -> None:
    options = RuntimeOptions(threads=1)
    engine = make_engine(tmp_path, {**KEYS, "n_positions": 16}, options=options)
    loom = Loom(engine, [1, 2, 3], tokens=5, sampling=WARM)
    nodes = loom.grow(loom.tree.root, n=1, depth=5)
    assert [len(node.token_ids) for node in nodes] == [5, 5, 4]  # 16 and one that is never read
    assert nodes[-1].is_terminal
    assert loom.branch([nodes[-1]], 2) == []


def test_a_budget_leaves_whole_pieces(engine: Engine) -> None:
    loom = Loom(engine, "he", tokens=6, sampling=WARM, budget=Budget(tokens=40))
    loom.grow(loom.tree.root, n=3, depth=3)
    assert loom.stopped == "tokens"
    assert loom.cost.generated_tokens <= 40
    assert len(loom.tree.nodes) == 4
    assert all(len(node.token_ids) == 6 for node in loom.tree.nodes[1:])


def test_trees_that_cannot_go_on(engine: Engine) -> None:
    with pytest.raises(ValueError, match="would all be the same"):
        Loom(engine, "he", sampling=SamplingParams(temperature=0))
    with pytest.raises(Gpt2EdgeError, match="has no token ids"):
        Loom(engine, tree=Tree("he"))
    for text, token_ids in (("he", (1,)), ("he", (10**6,))):
        tree = Tree(text)
        tree.root.token_ids = token_ids
        with pytest.raises(Gpt2EdgeError, match="node 0 of this tree is of another model's"):
            Loom(engine, tree=tree)
    loom = Loom(engine, "he", tokens=3, sampling=WARM)
    loom.branch([loom.tree.root], 2)
    loom.tree.nodes[2].state = "other"
    with pytest.raises(Gpt2EdgeError, match="node 2 of this tree"):
        Loom(engine, tree=loom.tree)
    empty = Loom(engine, "", sampling=WARM)
    assert Loom(engine, tree=empty.tree, sampling=WARM).tree.root.token_ids == (259,)
