"""Test-time computation: sample several answers and choose among them, by vote or by a verifier.

Every method runs on an ``Engine``, within a ``Budget``, and says what it cost. Each is loaded on
first use.
"""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.runtime.search.answers import canonical, extract_answer
    from gpt2edge.runtime.search.budget import Budget, Candidate, Cost, Reading, SearchResult
    from gpt2edge.runtime.search.candidates import SearchPrompt
    from gpt2edge.runtime.search.dataset import SolutionFile
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
    from gpt2edge.runtime.search.trees.prompted_task import (
        Ask,
        Evaluate,
        PromptedThoughts,
        Votes,
        WordValues,
    )
    from gpt2edge.runtime.search.trees.task import SampledSteps, Task, Thought
    from gpt2edge.runtime.search.trees.tree import Node, Tree, TreeEdge, TreeResult
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
    "Evaluate",
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
    "TreeEdge",
    "TreeOfThoughts",
    "TreeResult",
    "Trial",
    "Verifier",
    "Votes",
    "Weighted",
    "WordValues",
    "aggregate_steps",
    "canonical",
    "extract_answer",
    "fit",
    "pass_at_k",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Adaptive": "gpt2edge.runtime.search.strategies.adaptive",
            "Allocation": "gpt2edge.runtime.search.strategies.compute_policy",
            "Ask": "gpt2edge.runtime.search.trees.prompted_task",
            "BestOfN": "gpt2edge.runtime.search.strategies.best_of_n",
            "Budget": "gpt2edge.runtime.search.budget",
            "Candidate": "gpt2edge.runtime.search.budget",
            "Cost": "gpt2edge.runtime.search.budget",
            "Evaluate": "gpt2edge.runtime.search.trees.prompted_task",
            "GenerativeVerifier": "gpt2edge.runtime.search.verifiers.reward_models",
            "LikelihoodVerifier": "gpt2edge.runtime.search.verifiers.reward_models",
            "LineBeam": "gpt2edge.runtime.search.trees.line_beam",
            "Loom": "gpt2edge.runtime.search.trees.loom",
            "MCTS": "gpt2edge.runtime.search.trees.mcts",
            "MajorityVote": "gpt2edge.runtime.search.strategies.majority_vote",
            "Node": "gpt2edge.runtime.search.trees.tree",
            "OutcomeModel": "gpt2edge.runtime.search.verifiers.reward_models",
            "Policy": "gpt2edge.runtime.search.strategies.compute_policy",
            "ProcessModel": "gpt2edge.runtime.search.verifiers.reward_models",
            "PromptedThoughts": "gpt2edge.runtime.search.trees.prompted_task",
            "Reading": "gpt2edge.runtime.search.budget",
            "SampledSteps": "gpt2edge.runtime.search.trees.task",
            "SearchPrompt": "gpt2edge.runtime.search.candidates",
            "SearchResult": "gpt2edge.runtime.search.budget",
            "SearchSession": "gpt2edge.runtime.search.search_session",
            "SolutionFile": "gpt2edge.runtime.search.dataset",
            "StepBeam": "gpt2edge.runtime.search.strategies.step_beam",
            "StepVerifier": "gpt2edge.runtime.search.verifiers.verifier",
            "Strategy": "gpt2edge.runtime.search.strategies.strategy",
            "Task": "gpt2edge.runtime.search.trees.task",
            "Thought": "gpt2edge.runtime.search.trees.task",
            "Tree": "gpt2edge.runtime.search.trees.tree",
            "TreeEdge": "gpt2edge.runtime.search.trees.tree",
            "TreeOfThoughts": "gpt2edge.runtime.search.trees.tree_of_thoughts",
            "TreeResult": "gpt2edge.runtime.search.trees.tree",
            "Trial": "gpt2edge.runtime.search.strategies.compute_policy",
            "Verifier": "gpt2edge.runtime.search.verifiers.verifier",
            "Votes": "gpt2edge.runtime.search.trees.prompted_task",
            "Weighted": "gpt2edge.runtime.search.verifiers.verifier",
            "WordValues": "gpt2edge.runtime.search.trees.prompted_task",
            "aggregate_steps": "gpt2edge.runtime.search.verifiers.verifier",
            "canonical": "gpt2edge.runtime.search.answers",
            "extract_answer": "gpt2edge.runtime.search.answers",
            "fit": "gpt2edge.runtime.search.strategies.compute_policy",
            "pass_at_k": "gpt2edge.runtime.search.strategies.best_of_n",
        },
    )
