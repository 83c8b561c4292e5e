"""Overflow: the policy for texts that do not fit the model's context."""

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

    ``error`` rejects them before any work. ``truncate-left`` drops the oldest tokens of the prompt
    so that the completion fits. ``slide`` generates past the end of the context: whenever the
    context is full, its older half is dropped and the newer half is prefilled again. The first
    ``keep`` tokens of the prompt always stay.
    """

    policy: Policy = "error"
    keep: int = 0

    def __post_init__(self) -> None:
        check_one_of("overflow", self.policy, POLICIES)
        check_int("keep", self.keep, 0, 2**31)

    @classmethod
    def of(cls, given: "Overflow | Policy") -> "Overflow":
        """Return ``given``, or the Overflow with that policy name."""
        return given if isinstance(given, Overflow) else cls(policy=given)

    def fit(
        self, prompt_ids: Sequence[int], max_new_tokens: int | None, default: int, context: int
    ) -> tuple[list[int], int]:
        """Return the tokens of the prompt to keep, and the token limit of the completion.

        ``default`` is the limit where ``max_new_tokens`` is None. It is reduced to the room that
        the prompt leaves; under ``truncate-left`` it is never reduced below half of the context.
        Raises ContextLengthError where prompt and completion do not fit.
        """
        prompt_ids = list(prompt_ids)
        room = context - len(prompt_ids) + 1  # the last new token never enters the cache
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
        """Return the tokens to keep when the context is full: ``keep`` and the newer half."""
        return _without_middle(token_ids, self.keep, self.keep + (context - self.keep) // 2)

    def _check_keep(self, room: int) -> None:
        """Raise ContextLengthError where ``keep`` leaves no room for another token."""
        if room <= self.keep:
            raise ContextLengthError(
                f"the model's context leaves {max(0, room)} tokens for the prompt, and keep is "
                f"{self.keep}: keep fewer tokens, or ask for fewer new tokens"
            )


def _without_middle(token_ids: Sequence[int], keep: int, size: int) -> list[int]:
    """Return at most ``size`` tokens: the first ``keep`` and the last ones."""
    surplus = len(token_ids) - size
    return [*token_ids[:keep], *token_ids[keep + max(0, surplus) :]]
