# %% [markdown]
# # Time to think
#
# A small model, asked once, gives one answer. Here it is asked better: many samples and a vote, a
# verifier that chooses, a search over steps, a tree. Every cell says what it cost. Run it as a
# script (`python examples/think_longer.py`), or open it in an editor that knows `# %%` cells.
#
# The bundled storyteller knows no arithmetic, so the "answers" are the animals of its tales, and
# the verifiers are rules of thumb. With a solver of your own only the names change.

# %%
import re
from collections.abc import Sequence

import gpt2edge
from gpt2edge.runtime.search import (
    MCTS,
    Adaptive,
    BestOfN,
    Budget,
    LikelihoodVerifier,
    Loom,
    MajorityVote,
    Policy,
    SearchResult,
    SearchSession,
    StepBeam,
    Thought,
    TreeOfThoughts,
)
from gpt2edge.runtime.search.trees.text import render_text

engine = gpt2edge.load()
warm = gpt2edge.SamplingParams(temperature=0.9, top_p=0.95, seed=7)
PROMPT = "In the forest there lived an old"


def show(title: str, result: SearchResult) -> None:
    """The best text, and the bill."""
    text = " ".join(result.best.text.split())
    cost = result.cost
    print(f"{title}: {PROMPT} {text}")
    print(
        f"    {len(result.candidates)} candidates, {cost.prefilled_tokens} tokens read, "
        f"{cost.generated_tokens} written, {cost.verifier_tokens} read again to verify; "
        f"{result.stopped}"
    )


# %% [markdown]
# ## A vote
#
# An answer is whatever a function finds in a completion; None is no vote. Sixteen samples share one
# prefill and every decode call.


# %%
def animal(text: str) -> str | None:
    """The first animal of the tale."""
    found = re.search(r"\b(wolf|fox|bear|dog|cat|lion|horse|bird|hare|king|man|woman)\b", text)
    return found[1] if found else None


vote = MajorityVote(n=16, answer=animal)
result = vote.run(engine, PROMPT, sampling=warm, max_new_tokens=24)
show("vote", result)
print("   ", [candidate.answer for candidate in result.candidates])

# %% [markdown]
# ## A verifier chooses
#
# Any function of prompt and completion will do. A model with a scalar head (`OutcomeModel`,
# `ProcessModel`) or the language model itself (`Likelihood`, `AskedModel`) goes in the same place.


# %%
def many_words(_prompt: str, completion: str) -> float:
    """The share of words that are not there twice."""
    words = re.findall(r"\w+", completion.lower())
    return len(set(words)) / len(words) if words else 0.0


best = BestOfN(n=16, verifier=many_words, answer=animal)
show("best of 16", best.run(engine, PROMPT, sampling=warm, max_new_tokens=24))

# %% [markdown]
# ## Step by step
#
# A beam keeps what the verifier likes after every sentence, and branches there. What was written is
# never computed twice. A budget ends any search with the best so far.

# %%
beam = StepBeam(n=4, width=2, step=".", verifier=LikelihoodVerifier(engine))
budget = Budget(tokens=200)
show("beam", beam.run(engine, PROMPT, sampling=warm, max_new_tokens=60, budget=budget))

# %% [markdown]
# ## As much as it takes
#
# Four samples say how far the model agrees with itself; the policy says what that is worth.
# `fit` makes a policy from measured rows, see `benchmarks/search/adaptive.py`.

# %%
adaptive = Adaptive(policy=Policy.default(16, verified=False), answer=animal)
show("adaptive", adaptive.run(engine, PROMPT, sampling=warm, max_new_tokens=24))

# %% [markdown]
# ## Trees
#
# A task proposes and evaluates states. This one needs no model: 24 is to be made of 3 by doubling
# and by taking 1 away. `tasks/README.md` writes one for a model.


# %%
class Doubling:
    """A state is a number; the nearer to 24, the better."""

    root = "3"

    def is_terminal(self, state: str) -> bool:
        """Whether the number is 24, or too large to come back."""
        return int(state) == 24 or int(state) > 48

    def propose(self, states: Sequence[str], _work: SearchSession) -> list[list[Thought]]:
        """Twice the number, or one less."""
        return [
            [Thought(str(2 * int(s)), "double", 0.5), Thought(str(int(s) - 1), "one less", 0.5)]
            for s in states
        ]

    def evaluate(self, states: Sequence[str], _work: SearchSession) -> list[float]:
        """1 at 24, less the farther from it."""
        return [1 / (1 + abs(int(s) - 24)) for s in states]


for search in (TreeOfThoughts(breadth=5), MCTS(simulations=1000, accept=1.0)):
    found = search.run(engine, Doubling())
    print(f"{type(search).__name__}: {found.best.state} after {len(found.tree.nodes)} states")

# %% [markdown]
# ## A tree to walk in
#
# A loom keeps every branch; a step costs its new tokens and one that is read.
# `render_html(loom.tree)` is an HTML page of it, `loom.tree.save(path)` keeps it for another day.

# %%
loom = Loom(engine, PROMPT, tokens=6, sampling=warm)
first, *_ = loom.branch([loom.tree.root], 2)
loom.branch([first], 3)
print(render_text(loom.tree))
print(f"{loom.cost.generated_tokens} tokens written, {loom.cost.prefilled_tokens} read")
