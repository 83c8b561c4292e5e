"""Models as verifiers: one with a scalar head over the tokens, or a language model."""

import math
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_one_of, check_text, check_type
from gpt2edge.errors import VerifierError
from gpt2edge.runtime.cache.prefix_tree import PrefixTree
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.log_probs import token_logprobs
from gpt2edge.runtime.search.budget import Reading

Activation: TypeAlias = Literal["sigmoid", "none"]
_Logprobs: TypeAlias = dict[int, tuple[float, "_Logprobs"]]
"""A tree of continuations: next token -> its log-probability and the tree after it."""

_VALUES: Final = 1 << 16


class _ModelReader:
    """A model that reads texts, each prefix only once; ``reading`` counts tokens and calls."""

    def __init__(self, engine: Engine, task: str) -> None:
        check_type("engine", engine, Engine, "an Engine, such as load returns")
        if engine.model.manifest.task != task:
            raise VerifierError(
                f"{type(self).__name__} reads a model for {task}; this model's task is "
                f"{engine.model.manifest.task}: pass another model"
            )
        self.engine = engine
        self.reading = Reading()
        self._prefixes = PrefixTree(engine.options.cache_bytes)
        self._decoder: Decoder | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.engine!r})"

    def _read(self, decoder: Decoder, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Return logits [tokens, n_logits] after each of ``token_ids``, which enter row 0."""
        pieces = list(decoder.prefill_all(0, token_ids))
        self.reading += Reading(tokens=len(token_ids), forward_calls=len(pieces))
        return np.concatenate(pieces)  # chunks [chunk, n_logits] -> [tokens, n_logits]

    def _prefill(self, decoder: Decoder, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Return logits [n_logits] after the last of ``token_ids``, which enter row 0."""
        calls = -(-len(token_ids) // self.engine.options.prefill_chunk)
        self.reading += Reading(tokens=len(token_ids), forward_calls=calls)
        return decoder.prefill(0, token_ids)

    def _encode(self, *texts: str) -> list[list[int]]:
        """Return each text's token ids, encoded separately: a text that grows keeps its tokens."""
        first, *others = texts
        encoded = [self.engine.encode(first)]
        return encoded + [_continuation(self.engine, text) for text in others]

    def _row(self, known: Sequence[int]) -> tuple[Decoder, int]:
        """Return the decoder and how many of ``known`` its row 0 holds from earlier reads."""
        if self._decoder is None:
            length = self.engine.config.n_positions
            self._decoder = self.engine.decoder(rows=1, max_length=length)
        return self._decoder, self._prefixes.restore(self._decoder.cache, 0, known)


class _ValueModel(_ModelReader):
    """A token-classification model with one label: a value after every token."""

    def __init__(self, engine: Engine, *, activation: Activation = "sigmoid") -> None:
        super().__init__(engine, "token-classification")
        check_one_of("activation", activation, get_args(Activation))
        self._activation = activation
        self._values: dict[tuple[int, ...], float] = {}

    def _values_at(self, token_ids: Sequence[int], ends: Sequence[int]) -> list[float]:
        """Return the value after the first ``ends[i]`` tokens; the last end is the text's."""
        keys = [tuple(token_ids[:end]) for end in ends]
        unknown = [end for end, key in zip(ends, keys, strict=True) if key not in self._values]
        if unknown:
            decoder, start = self._row(token_ids[: unknown[0] - 1])
            logits = self._read(decoder, token_ids[start:])
            self._prefixes.store(decoder.cache, 0, token_ids)
            if logits.shape[1] != 1:
                raise VerifierError(
                    f"the verifier has {logits.shape[1]} labels; it must have one, a score: "
                    "use another model"
                )
            for end in unknown:
                self._values[tuple(token_ids[:end])] = self._activate(logits[end - 1 - start, 0])
        values = [self._values[key] for key in keys]
        if len(self._values) > _VALUES:
            self._values.clear()
        return values

    def _activate(self, logit: float) -> float:
        if self._activation == "none":
            return float(logit)
        return 1 / (1 + math.exp(-float(logit))) if logit > -700 else 0.0


class OutcomeModel(_ValueModel):
    """An outcome reward model: the value after the last token (Cobbe et al. 2021, section 4.2).

    ``activation`` "sigmoid" turns the head's logit into a probability, "none" returns the logit.
    Prefixes stay in the cache: a text that has grown costs only its new tokens.
    """

    def score(self, prompt: str, completions: Sequence[str]) -> list[float]:
        """Return one value per completion."""
        scores = []
        for completion in completions:
            token_ids = [item for part in self._encode(prompt, completion) for item in part]
            scores += self._values_at(token_ids, [len(token_ids)])
        return scores


class ProcessModel(_ValueModel):
    """A process reward model: the value after each step's last token (Lightman et al. 2023).

    Prompt and steps are tokenized separately. Prefixes stay in the cache: a path that has grown
    by a step costs only the tokens of that step.
    """

    def score_steps(self, prompt: str, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return one value per step."""
        scores = []
        for steps in solutions:
            parts = self._encode(prompt, *steps)
            ends = np.cumsum([len(part) for part in parts])[1:].tolist()
            scores.append(self._values_at([item for part in parts for item in part], ends))
        return scores


class GenerativeVerifier(_ModelReader):
    """A language model asked whether a completion is right: P(yes) / (P(yes) + P(no)).

    This is generative verification (Zhang et al. 2024, "GenRM", arXiv 2408.15240) with an
    unmodified head. ``question`` is appended to the completion; of ``yes`` and ``no`` the first
    token counts.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        question: str = "\nIs this right?",
        yes: str = " yes",
        no: str = " no",
    ) -> None:
        super().__init__(engine, "text-generation")
        for name, value in (("question", question), ("yes", yes), ("no", no)):
            check_text(name, value, empty=False)
        self._question = _continuation(engine, question)
        self._yes, self._no = (_continuation(engine, word)[0] for word in (yes, no))
        if self._yes == self._no:
            raise ValueError(
                f"{yes!r} and {no!r} begin with the same token; choose words with different first "
                "tokens"
            )

    def score(self, prompt: str, completions: Sequence[str]) -> list[float]:
        """Return one probability per completion."""
        scores = []
        for completion in completions:
            token_ids = [item for part in self._encode(prompt, completion) for item in part]
            decoder, start = self._row(token_ids)
            logits = self._prefill(decoder, [*token_ids[start:], *self._question])
            self._prefixes.store(decoder.cache, 0, token_ids)
            gap = float(logits[self._no]) - float(logits[self._yes])
            scores.append(1 / (1 + math.exp(gap)) if gap < 700 else 0.0)
        return scores


class LikelihoodVerifier(_ModelReader):
    """The geometric mean of a completion's token probabilities under a language model.

    The mean is length-normalized, so that a long completion has no disadvantage. An empty
    completion scores 0. A text that has grown costs only its new tokens.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "text-generation")
        self._known: dict[tuple[int, ...], _Logprobs] = {}
        self._count = 0

    def score(self, prompt: str, completions: Sequence[str]) -> list[float]:
        """Return one number in [0, 1] per completion."""
        means = []
        for completion in completions:
            logprobs = self._logprobs(prompt, completion) if completion else [-math.inf]
            means.append(math.exp(math.fsum(logprobs) / len(logprobs)))
        return means

    def _logprobs(self, prompt: str, completion: str) -> list[float]:
        """Return the log-probability of each token of ``completion``; read only unknown ones."""
        prompt_ids, completion_ids = self._encode(prompt, completion)
        if self._count > _VALUES:
            self._known.clear()
            self._count = 0
        node, logprobs = self._known.setdefault(tuple(prompt_ids), {}), []
        for token_id in completion_ids:
            if token_id not in node:
                break
            value, node = node[token_id]
            logprobs.append(value)
        if rest := completion_ids[len(logprobs) :]:
            for token_id, value in zip(
                rest, self._read_on(prompt_ids, completion_ids, rest), strict=True
            ):
                logprobs.append(value)
                node[token_id] = value, {}
                node = node[token_id][1]
            self._count += len(rest)
        return logprobs

    def _read_on(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], rest: Sequence[int]
    ) -> list[float]:
        """Return the log-probability of each of ``rest``, the last tokens of ``own``."""
        token_ids = [*prompt_ids, *completion_ids]
        first = len(token_ids) - len(rest) - 1  # index of the token before the rest
        decoder, start = self._row(token_ids[:first])
        if start < first:  # the prompt's logits are not needed: do not compute all of them
            self._prefill(decoder, token_ids[start:first])
        logits = self._read(decoder, token_ids[first:-1])
        self._prefixes.store(decoder.cache, 0, token_ids[:-1])
        return [float(value) for value in token_logprobs(logits, rest)[0]]


def _continuation(engine: Engine, text: str) -> list[int]:
    """Return token ids of a text that continues another; an empty text has none."""
    return engine.encode(text, add_special_tokens=False) if text else []
