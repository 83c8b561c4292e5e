"""The solvers' trainer: rows, growth, and a run that is broken off."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="interop: needs torch")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

from tokenizers import Tokenizer  # noqa: E402

from tests.conftest import ROOT  # noqa: E402
from training.common.grow import deepened, widened  # noqa: E402
from training.common.model import GPT, GPTConfig, load_weights  # noqa: E402
from training.common.reward import RewardModel  # noqa: E402
from training.solvers import fit as solver  # noqa: E402
from training.solvers.rows import (  # noqa: E402
    IGNORE,
    Example,
    Judged,
    batches,
    drill_rows,
    language_rows,
    padded,
    value_rows,
)

FOLDER = ROOT / "training" / "models" / "stepmath-0.1m"
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
EXAMPLES = [Example(f"Tom has {at} pens.\n", f"1. {at} + 1 = {at + 1}\n") for at in range(40)]

torch.set_num_threads(1)


def test_a_grown_model_computes_what_it_computed() -> None:
    small = load_weights(FOLDER)
    large = deepened(widened(small), 5)
    ids = torch.randint(0, 512, (3, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (small(ids) - large(ids)).abs().max() < 1e-3
    halves = large.transformer.h[0].mlp.c_fc.weight.detach().chunk(2)
    assert not torch.allclose(*halves)  # or they would stay copies


def test_language_rows_ask_for_the_solution_and_the_end() -> None:
    rows = language_rows(EXAMPLES[:3], TOKENIZER, 64)
    prompt = len(TOKENIZER.encode(EXAMPLES[2].prompt).ids)
    length = rows.lengths[2]
    assert (rows.goals[2, : prompt - 1] == IGNORE).all()
    assert (rows.goals[2, prompt - 1 : length - 1] == rows.ids[2, prompt:length]).all()
    assert rows.goals[2, length - 1] == 0  # the end of text
    assert (rows.goals[2, length:] == IGNORE).all()


def test_value_rows_label_the_ends_of_steps() -> None:
    judged = Judged("Tom has 3 pens.\n", ["1. 3 + 1 = 4\n", "2. 4 + 1 = 6\n", "x\n"], [1, 0])
    rows = value_rows([judged], TOKENIZER, 64, where="ends")
    newlines = np.flatnonzero(rows.ids[0, : rows.lengths[0]] == TOKENIZER.encode("\n").ids[0])
    counted = np.flatnonzero(rows.goals[0] != IGNORE)
    assert counted.tolist() == newlines[1:3].tolist()
    assert rows.goals[0, counted].tolist() == [1, 0]


def test_drill_rows_ask_for_the_results() -> None:
    rows = drill_rows([[("1. 3 + 1 =", " 4\n"), ("2. 9 + 1 =", " 10\n")]], TOKENIZER, 64)
    text = rows.ids[0, : rows.lengths[0]]
    asked = rows.goals[0] != IGNORE
    wanted = TOKENIZER.decode([int(goal) for goal in rows.goals[0][asked]])
    assert wanted == " 4\n 10\n"
    places = np.flatnonzero(asked) + 1
    assert (text[places] == rows.goals[0][asked]).all()
    both = rows + language_rows(EXAMPLES, TOKENIZER, 64)
    assert len(both) == 1 + len(EXAMPLES)
    assert both.lengths[0] == rows.lengths[0]


def test_batches_hold_every_row_once_and_keep_to_the_limit() -> None:
    rows = language_rows(EXAMPLES, TOKENIZER, 64)
    found = list(batches(rows, 128, epoch=0))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(rows)))
    assert all(padded(int(rows.lengths[chosen].max())) * len(chosen) <= 128 for chosen in found)
    again = list(batches(rows, 128, epoch=0))
    assert all((one == two).all() for one, two in zip(found, again, strict=True))


def test_sparse_loss_is_the_loss() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=512, n_positions=64, n_embd=16, n_layer=1, n_head=2))
    rows = language_rows(EXAMPLES, TOKENIZER, 64)
    ids = torch.from_numpy(rows.ids.astype(np.int64))
    goals = torch.from_numpy(rows.goals).long()
    assert abs((model.loss(ids, goals) - model.sparse_loss(ids, goals)).item()) < 1e-5


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    rows = language_rows(EXAMPLES, TOKENIZER, 64)
    config = GPTConfig(vocab_size=512, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    torch.manual_seed(0)
    run = solver.Fit(GPT(config), rows, tmp_path, solver.Plan(1, 256))
    source = run.batches()
    first = run.step(next(source), 0.1)
    for _ in range(30):
        last = run.step(next(source), 0.3)
    assert last < first
    run.save()
    expected = run.step(next(source), 0.5)
    again = solver.Fit(GPT(config), rows, tmp_path, solver.Plan(1, 256))
    again.resume()
    assert again.progress.step == 31
    assert again.step(next(again.batches()), 0.5) == pytest.approx(expected, rel=1e-5)


def test_a_reward_model_learns_its_labels(tmp_path: Path) -> None:
    judged = [
        Judged(item.prompt, [item.solution if at % 2 else "1. 9 - 9 = 0\n"], [float(at % 2)])
        for at, item in enumerate(EXAMPLES)
    ]
    rows = value_rows(judged, TOKENIZER, 64, where="all")
    torch.manual_seed(0)
    body = GPT(GPTConfig(vocab_size=512, n_positions=64, n_embd=16, n_layer=1, n_head=2))
    run = solver.Fit(RewardModel.on(body), rows, tmp_path, solver.Plan(1, 256))
    source = run.batches()
    losses = [run.step(next(source), 0.3) for _ in range(150)]
    assert losses[0] >= np.log(2) - 1e-3  # the head begins at zero; then the language model's part
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.5


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match="no texts to train on"):
        language_rows([], TOKENIZER, 32)
