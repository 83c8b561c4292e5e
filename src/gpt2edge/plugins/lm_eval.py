"""The plugin for EleutherAI's harness: ``lm_eval run --model gpt2edge --model_args pretrained=X``.

Versions up to 0.4.13 do not search entry points: with those, run ``python -m
gpt2edge.plugins.lm_eval run ...`` instead of ``lm_eval run ...``.

Scores equal those of the harness's own ``hf`` backend on the same model: contexts are cut from the
left, a document is scored in adjacent windows, and generation settings that a task omits come from
the model's ``generation_config.json``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from gpt2edge._telemetry import decline

decline()  # before the Hub's client comes with the harness

# ruff: noqa: E402
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import get_model, register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from gpt2edge._checks import check_int
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.sampling.merge import NO_DRAW, merge_sampling
from gpt2edge.runtime.sampling.params import SamplingParams

_LIMITS: Final = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""The harness's names of one limit; the first one that is set counts."""
_HARNESS_LIMIT: Final = 256
_SAMPLING: Final = frozenset(field.name for field in fields(SamplingParams))

Request = tuple[tuple[str, str] | None, list[int], list[int]]
"""Context and continuation as texts (None for a window of a document) and as token ids."""


class Gpt2EdgeLM(TemplateLM):  # type: ignore[misc, unused-ignore]
    """A gpt2edge model in the harness, on the CPU; without ``pretrained``, the bundled model."""

    def __init__(
        self,
        pretrained: str | None = None,
        *,
        batch_size: int | str = 8,
        max_batch_size: int | None = None,  # noqa: ARG002, the harness always passes it
        device: str | None = None,  # noqa: ARG002, the harness always passes it, such as "cuda:0"
        threads: int | None = None,
        max_length: int | None = None,
        max_gen_toks: int | None = None,
        add_bos_token: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdecimal() or not int(batch_size):
            raise ValueError(
                f"batch_size is {batch_size!r}; it must be a whole number of 1 or more"
            )
        options = RuntimeOptions(threads=threads, add_special_tokens=add_bos_token)
        self._engine = Engine(BUNDLED_MODEL if pretrained is None else pretrained, options)
        if self._engine.tokenizer is None:
            raise ValueError(
                "this model has no tokenizer, and the harness passes texts: use a model with one"
            )
        self._tokenizer = self._engine.tokenizer
        self.batch_size = int(batch_size)
        context = self._engine.config.n_positions
        self.max_length = (
            context if max_length is None else check_int("max_length", max_length, 2, context)
        )
        limit = min(_HARNESS_LIMIT, self.max_length // 2) if max_gen_toks is None else max_gen_toks
        self.max_gen_toks = check_int("max_gen_toks", limit, 1, context)
        self._seed = seed

    @property
    def eot_token_id(self) -> int:
        """Return the end-of-text token."""
        ids = self._engine.config.eos_token_ids or sorted(self._engine.defaults.eos_ids)
        if not ids:
            raise ValueError("this model has no end-of-text token, which the harness starts from")
        return int(min(ids))

    @property
    def prefix_token_id(self) -> int:
        """Return the token before a text without a context."""
        bos = self._engine.config.bos_token_id
        return self.eot_token_id if bos is None else bos

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        **_: Any,
    ) -> list[int]:
        """Encode a text, after the begin-of-text tokens of the tokenizer's template.

        These are left out if the text itself begins with the prefix token, or if
        ``add_special_tokens`` is False.
        """
        token_ids = self._tokenizer.encode(string)
        if add_special_tokens is None:
            add_special_tokens = token_ids[:1] != [self.prefix_token_id]
        return [*self._tokenizer.begin_ids, *token_ids] if add_special_tokens else token_ids

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, **others: Any
    ) -> list[tuple[float, bool]]:
        """Return each continuation's log-likelihood, and whether it is the greedy one.

        Continuations of one context are scored together, after one prefill.
        """
        del others  # batch sizes, which only the hf backend uses
        by_context: dict[tuple[int, ...], list[int]] = {}
        cut: list[tuple[list[int], list[int]]] = []
        for index, (_, context, continuation) in enumerate(requests):
            if not 0 < len(continuation) <= self.max_length:
                raise ValueError(
                    f"a continuation has {len(continuation)} tokens; the model scores from 1 to "
                    f"{self.max_length}"
                )
            room = self.max_length + 1 - len(continuation)
            cut.append((context[-room:], continuation))
            by_context.setdefault(tuple(context[-room:]), []).append(index)
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Scoring") as bar:
            for context_ids, indices in by_context.items():
                scores = self._engine.score(context_ids, [cut[index][1] for index in indices])
                for index, score in zip(indices, scores, strict=True):
                    answers[index] = (score.logprob, score.is_greedy)
                    texts = requests[index][0]
                    if texts is not None:
                        self.cache_hook.add_partial("loglikelihood", texts, answers[index])
                bar.update(len(indices))
        return answers

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of each whole text, each token scored once."""
        totals = []
        for request in tqdm(requests, disable=disable_tqdm, desc="Rolling"):
            (text,) = request.args
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            pairs: list[Request] = [(None, *make_disjoint_window(window)) for window in windows]
            total = sum(score for score, _ in self._loglikelihood_tokens(pairs, disable_tqdm=True))
            totals.append(total)
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return completions up to a stop string; decode those of equal settings together."""
        by_settings: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            by_settings.setdefault(repr(request.args[1]), []).append(index)
        texts = [""] * len(requests)
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Generating") as bar:
            for indices in by_settings.values():
                for start in range(0, len(indices), self.batch_size):
                    batch = indices[start : start + self.batch_size]
                    contexts = [requests[index].args[0] for index in batch]
                    completions = self._generate(contexts, requests[batch[0]].args[1])
                    for index, text in zip(batch, completions, strict=True):
                        texts[index] = text
                        self.cache_hook.add_partial("generate_until", requests[index].args, text)
                    bar.update(len(batch))
        return texts

    def _generate(self, contexts: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
        given = dict(settings)
        until = given.pop("until", None) or []
        limits = [given.pop(name, None) for name in _LIMITS]
        limit = int(next((value for value in limits if value is not None), self.max_gen_toks))
        room = self.max_length - limit
        if room < 1:
            raise ValueError(
                f"max_gen_toks is {limit}; it must be less than the context of {self.max_length}"
            )
        prompts = [self.tok_encode(context)[-room:] for context in contexts]
        completions = self._engine.generate_batch(
            prompts,
            max_new_tokens=limit,
            sampling=self._sampling(given),
            stop=until,
        )
        return [completion.text for completion in completions]

    def _sampling(self, given: dict[str, Any]) -> SamplingParams:
        """Return greedy sampling unless the task sets ``do_sample`` or a temperature."""
        temperature = float(given.get("temperature") or 0.0)
        samples = given.pop("do_sample", None)
        samples = temperature > 0 if samples is None else samples
        unknown = sorted(given.keys() - _SAMPLING)
        if unknown:
            raise ValueError(
                f"generation_kwargs holds {', '.join(unknown)}; allowed are until, do_sample, "
                f"{', '.join((*_LIMITS, *sorted(_SAMPLING)))}"
            )
        values: dict[str, Any] = {**NO_DRAW, **given} if samples else {**given, **NO_DRAW}
        if samples:
            values |= {"temperature": temperature or 1.0, "seed": self._seed}
        return merge_sampling(self._engine.defaults.sampling, values)[0]


def register() -> None:
    """Register the name ``gpt2edge`` with a harness that has not found the entry point."""
    try:
        get_model("gpt2edge")
    except ValueError:
        register_model("gpt2edge")(Gpt2EdgeLM)


def main() -> None:
    """Run the harness's own command line with the name ``gpt2edge`` registered."""
    from lm_eval.__main__ import cli_evaluate

    register()
    cli_evaluate()


if __name__ == "__main__":
    main()
