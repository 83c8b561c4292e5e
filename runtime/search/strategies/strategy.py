"""Strategy: the common base of the methods that search for one completion."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.budget import Budget, SearchResult
from gpt2edge.runtime.search.candidates import SearchPrompt
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.text.stopping import StopParams


class Strategy(ABC):
    """A method over completions of one prompt, such as ``MajorityVote`` or ``StepBeam``."""

    __slots__ = ()

    def run(
        self,
        engine: Engine,
        prompt: Prompt,
        *,
        sampling: SamplingParams | None = None,
        max_new_tokens: int | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        budget: Budget | None = None,
    ) -> SearchResult:
        """Search, within ``budget``; the other arguments are those of ``Engine.generate``.

        Without ``sampling``, the model's default is used, or temperature 0.8 if that is greedy.
        """
        request = SearchPrompt(
            prompt=prompt, sampling=sampling, max_new_tokens=max_new_tokens, stop=stop
        )
        return self.search(SearchSession(engine, budget), request)

    @abstractmethod
    def search(self, work: SearchSession, request: SearchPrompt) -> SearchResult:
        """Run within an existing search session, whose cost and budget continue."""
