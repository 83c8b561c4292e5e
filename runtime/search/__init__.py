"""Test-time computation: more answers, and a verifier that chooses among them.

Every method runs on an ``Engine``, within a ``Budget``, and says what it cost.
"""

from gpt2edge.runtime.search.adaptive import Adaptive
from gpt2edge.runtime.search.answers import canonical, extract_answer
from gpt2edge.runtime.search.best_of_n import BestOfN, pass_at_k
from gpt2edge.runtime.search.candidates import Request
from gpt2edge.runtime.search.game24 import Game24
from gpt2edge.runtime.search.game24_task import WrittenGame24
from gpt2edge.runtime.search.harvest import Harvest
from gpt2edge.runtime.search.likeliest import Likeliest
from gpt2edge.runtime.search.loom import Loom
from gpt2edge.runtime.search.mcts import MCTS
from gpt2edge.runtime.search.model_verifier import (
    AskedModel,
    Likelihood,
    OutcomeModel,
    ProcessModel,
)
from gpt2edge.runtime.search.policy import Arm, Policy, Trial, fit
from gpt2edge.runtime.search.prompted import Ask, PromptedThoughts, Votes, WordValues
from gpt2edge.runtime.search.step_beam import StepBeam
from gpt2edge.runtime.search.strategy import Strategy
from gpt2edge.runtime.search.thoughts import SampledSteps, Task, Thought
from gpt2edge.runtime.search.tree import Node, Tree, TreeResult
from gpt2edge.runtime.search.tree_of_thoughts import TreeOfThoughts
from gpt2edge.runtime.search.types import Budget, Candidate, Cost, Reading, SearchResult
from gpt2edge.runtime.search.verifier import (
    StepVerifier,
    Verifier,
    Weighted,
    aggregate_steps,
)
from gpt2edge.runtime.search.vote import MajorityVote
from gpt2edge.runtime.search.workspace import Workspace

__all__ = [
    "MCTS",
    "Adaptive",
    "Arm",
    "Ask",
    "AskedModel",
    "BestOfN",
    "Budget",
    "Candidate",
    "Cost",
    "Game24",
    "Harvest",
    "Likeliest",
    "Likelihood",
    "Loom",
    "MajorityVote",
    "Node",
    "OutcomeModel",
    "Policy",
    "ProcessModel",
    "PromptedThoughts",
    "Reading",
    "Request",
    "SampledSteps",
    "SearchResult",
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
    "Workspace",
    "WrittenGame24",
    "aggregate_steps",
    "canonical",
    "extract_answer",
    "fit",
    "pass_at_k",
]
