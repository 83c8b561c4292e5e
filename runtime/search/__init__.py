"""Test-time computation: sample several answers and choose among them, by vote or by a verifier.

Every method runs on an ``Engine``, within a ``Budget``, and reports its cost.
"""

from gpt2edge.runtime.search.answers import canonical, extract_answer
from gpt2edge.runtime.search.budget import Budget, Candidate, Cost, Reading, SearchResult
from gpt2edge.runtime.search.candidates import SearchPrompt
from gpt2edge.runtime.search.dataset import SolutionFile
from gpt2edge.runtime.search.game24 import Game24
from gpt2edge.runtime.search.game24_task import WrittenGame24
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.strategies.adaptive import Adaptive
from gpt2edge.runtime.search.strategies.best_of_n import BestOfN, pass_at_k
from gpt2edge.runtime.search.strategies.compute_policy import Allocation, Policy, Trial, fit
from gpt2edge.runtime.search.strategies.majority_vote import MajorityVote
from gpt2edge.runtime.search.strategies.step_beam import StepBeam
from gpt2edge.runtime.search.strategies.strategy import Strategy
from gpt2edge.runtime.search.trees.line_beam import LineBeam
from gpt2edge.runtime.search.trees.loom import Loom
from gpt2edge.runtime.search.trees.mcts import MCTS
from gpt2edge.runtime.search.trees.prompted_task import Ask, PromptedThoughts, Votes, WordValues
from gpt2edge.runtime.search.trees.task import SampledSteps, Task, Thought
from gpt2edge.runtime.search.trees.tree import Node, Tree, TreeResult
from gpt2edge.runtime.search.trees.tree_of_thoughts import TreeOfThoughts
from gpt2edge.runtime.search.verifiers.reward_models import (
    GenerativeVerifier,
    LikelihoodVerifier,
    OutcomeModel,
    ProcessModel,
)
from gpt2edge.runtime.search.verifiers.verifier import (
    StepVerifier,
    Verifier,
    Weighted,
    aggregate_steps,
)

__all__ = [
    "MCTS",
    "Adaptive",
    "Allocation",
    "Ask",
    "BestOfN",
    "Budget",
    "Candidate",
    "Cost",
    "Game24",
    "GenerativeVerifier",
    "LikelihoodVerifier",
    "LineBeam",
    "Loom",
    "MajorityVote",
    "Node",
    "OutcomeModel",
    "Policy",
    "ProcessModel",
    "PromptedThoughts",
    "Reading",
    "SampledSteps",
    "SearchPrompt",
    "SearchResult",
    "SearchSession",
    "SolutionFile",
    "StepBeam",
    "StepVerifier",
    "Strategy",
    "Task",
    "Thought",
    "Tree",
    "TreeOfThoughts",
    "TreeResult",
    "Trial",
    "Verifier",
    "Votes",
    "Weighted",
    "WordValues",
    "WrittenGame24",
    "aggregate_steps",
    "canonical",
    "extract_answer",
    "fit",
    "pass_at_k",
]
