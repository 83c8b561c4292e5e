"""What happens where a text does not fit the model's context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from gpt2edge._checks import check_int, check_one_of
from gpt2edge.errors import ContextLengthError

Policy: TypeAlias = Literal["error", "truncate-left", "slide"]
POLICIES: Final[tuple[str, ...]] = get_args(Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """The policy for a prompt and completion longer than the model's context.

    ``error`` refuses them before any work. ``truncate-left`` drops the oldest tokens of the prompt
    so that the completion fits. ``slide`` writes on past the context: whenever it is full, the
    newer half of what is there is entered anew, which costs that prefill. The first ``keep``
    tokens of the prompt always stay.
    """

    policy: Policy = "error"
    keep: int = 0

    def __post_init__(self) -> None:
        check_one_of("overflow", self.policy, POLICIES)
        check_int("keep", self.keep, 0, 2**31)

    @classmethod
    def of(cls, given: "Overflow | Policy") -> "Overflow":
        """``Overflow`` from itself or from a policy's name."""
        return given if isinstance(given, Overflow) else cls(policy=given)

    def fit(
        self, prompt_ids: Sequence[int], max_new_tokens: int | None, default: int, context: int
    ) -> tuple[list[int], int]:
        """The tokens of the prompt that stay, and the token limit of the completion.

        ``default`` is the limit where ``max_new_tokens`` is None: it is cut to what fits, except
        that a prompt may only crowd it out of half of the context where it can be truncated.
        Raises ContextLengthError where nothing fits.
        """
        prompt_ids = list(prompt_ids)
        room = context - len(prompt_ids) + 1  # the last token that is drawn never enters the cache
        wanted = max_new_tokens or 1
        if self.policy == "slide":
            limit = max_new_tokens or default
            if room < limit:
                self._check_keep(context - 1)
            if len(prompt_ids) > context:
                prompt_ids = self.window(prompt_ids, context)
            return prompt_ids, limit
        if self.policy == "truncate-left":
            limit = max_new_tokens or min(default, max(room, context // 2))
            if room < limit:
                self._check_keep(context + 1 - limit)
            return _without_middle(prompt_ids, self.keep, context + 1 - limit), limit
        if room < wanted:
            raise ContextLengthError(
                f"a prompt of {len(prompt_ids)} tokens and {wanted} to come do not fit the model's "
                f"context of {context}: shorten the prompt, ask for fewer new tokens, or "
                "choose the overflow policy truncate-left or slide"
            )
        return prompt_ids, max_new_tokens or min(room, default)

    def window(self, token_ids: Sequence[int], context: int) -> list[int]:
        """What stays of a text that fills the context: the kept tokens and the newer half."""
        return _without_middle(token_ids, self.keep, self.keep + (context - self.keep) // 2)

    def _check_keep(self, room: int) -> None:
        """Raise ContextLengthError where no token beside the kept ones has room."""
        if room <= self.keep:
            raise ContextLengthError(
                f"the model's context leaves {max(0, room)} tokens for the prompt, and {self.keep} "
                "are to be kept: keep fewer, or ask for fewer new tokens"
            )


def _without_middle(token_ids: Sequence[int], keep: int, size: int) -> list[int]:
    """At most ``size`` tokens: the first ``keep`` and the last."""
    surplus = len(token_ids) - size
    return [*token_ids[:keep], *token_ids[keep + max(0, surplus) :]]
