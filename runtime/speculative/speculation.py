"""Speculator: speculative decoding of one sequence, with several tokens per forward call."""

import os
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Protocol

from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.options import DraftModel, PromptLookup
from gpt2edge.runtime.speculative.cost_model import CallCosts, DraftLength
from gpt2edge.runtime.speculative.drafters import Drafter, LookupDrafter, ModelDrafter


class DraftEngine(Protocol):
    """The engine of a draft model."""

    model: ModelDir

    def decoder(self, *, rows: int, max_length: int) -> Decoder:
        """Return a fresh decoder."""


class Speculator:
    """Speculative decoding of an engine. Call costs are shared; each text has its draft length.

    ``draft_decoder`` returns a decoder of the draft model for texts of up to that many tokens.
    """

    def __init__(
        self,
        options: PromptLookup | DraftModel,
        draft_decoder: Callable[[int], Decoder] | None = None,
    ) -> None:
        self._costs = CallCosts()
        self._most = options.max_tokens
        self._drafter_for: Callable[[Generation], Drafter]
        if isinstance(options, PromptLookup):
            self._drafter_for = lambda generation: LookupDrafter(generation, options)
        else:
            assert draft_decoder is not None
            self._drafter_for = lambda generation: ModelDrafter(generation, draft_decoder)

    @classmethod
    def of(
        cls,
        options: PromptLookup | DraftModel,
        target: ModelDir,
        load: Callable[[str | os.PathLike[str]], DraftEngine],
    ) -> "Speculator":
        """Return what guesses for ``target``; a draft model is loaded by ``load``.

        Raises Gpt2EdgeError where a draft model's tokens are not those of ``target``.
        """
        if isinstance(options, PromptLookup):
            return cls(options)
        draft = load(options.model)
        _check_draft(draft.model, target)
        context = draft.model.config.n_positions
        return cls(options, lambda longest: draft.decoder(rows=1, max_length=min(longest, context)))

    def begin(self, generation: Generation) -> "Speculation":
        """Return the speculative decoding of one generation."""
        widths = DraftLength(self._costs)
        return Speculation(generation, self._drafter_for(generation), widths, self._most)


def _check_draft(draft: ModelDir, target: ModelDir) -> None:
    """Raise Gpt2EdgeError where ``draft`` writes no text, or with other tokens than ``target``."""
    draft.require_language_model()
    paths = [model.tokenizer_path for model in (target, draft)]
    texts = [path.read_bytes() if path else b"" for path in paths]
    if texts[0] != texts[1] or target.config.vocab_size != draft.config.vocab_size:
        raise Gpt2EdgeError(
            f"{draft.path} has another tokenizer than {target.path}; a draft "
            "model's must be the same"
        )


class Speculation:
    """Speculative steps of one generation: guess, run one forward call, accept or reject."""

    def __init__(
        self, generation: Generation, drafter: Drafter, widths: DraftLength, most: int
    ) -> None:
        self.generation = generation
        self._drafter = drafter
        self._widths = widths
        self._most = most

    def step(self, decoder: Decoder) -> Iterator[Generation]:
        """Run one forward call on row 0; yield the generation once for each new token."""
        generation, cache = self.generation, decoder.cache
        room = cache.max_length - int(cache.lengths[0]) - 1
        most = min(self._most, room, generation.max_new_tokens - len(generation.token_ids) - 1)
        kind = self._drafter.kind() if most > 0 else None
        free = self._drafter.free
        width = 0 if kind is None else self._widths.best(kind, most, free=free)
        if kind is None or not width:
            self._plain(decoder, kind)
            yield generation
        else:
            yield from self._wide(decoder, kind, width)

    def _plain(self, decoder: Decoder, kind: int | None) -> None:
        guess = self._drafter.guess(1) if kind is not None and self._drafter.free else []
        started = perf_counter()
        logits = decoder.decode([self.generation.token_ids[-1]])[0]
        self._widths.costs.saw_plain(perf_counter() - started)
        token_id = self.generation.accept(logits)
        if kind is not None and guess:  # checking a guess that costs nothing costs nothing
            self._widths.saw(kind, int(guess == [token_id]), 1)

    def _wide(self, decoder: Decoder, kind: int, width: int) -> Iterator[Generation]:
        generation, costs = self.generation, self._widths.costs
        started = perf_counter()
        guess = self._drafter.guess(width)
        guessed = perf_counter()
        if not self._drafter.free:
            costs.saw_guess(len(guess), guessed - started)
        length = int(decoder.cache.lengths[0])
        # [1 + guesses, vocab_size]
        (logits,) = decoder.prefill_all(0, [generation.token_ids[-1], *guess])
        costs.saw_wide(len(guess) + 1, perf_counter() - guessed)
        right = 0
        try:
            for index, row in enumerate(logits):
                token_id = generation.accept(row)
                right = index
                yield generation
                wrong = index == len(guess) or token_id != guess[index]
                if wrong or generation.cancelled or generation.finish_reason is not None:
                    break
        finally:
            decoder.cache.truncate(0, length + right + 1)
            generation.guessed_tokens += len(guess)
            generation.accepted_tokens += right
        self._widths.saw(kind, right, len(guess))
