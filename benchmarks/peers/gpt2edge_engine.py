"""gpt2edge, through the public Engine: what an application's call costs, token choice included."""

from collections.abc import Sequence
from time import perf_counter

from benchmarks.peers.worker import (
    TEMPERATURE,
    TOP_K,
    Measurement,
    StepClock,
    parser,
    serve,
    versions,
)
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.sampling.params import GREEDY, SamplingParams
from gpt2edge.runtime.text.stopping import StopParams


class EngineRunner:
    """A model folder in the engine."""

    def __init__(self, folder: str, options: RuntimeOptions) -> None:
        self._engine = Engine(folder, options)
        self._stop = StopParams(ignore_eos=True)

    def facts(self) -> dict[str, object]:
        manifest = self._engine.model.manifest
        return {
            "system": "gpt2edge",
            "variant": manifest.variant,
            "recipe": (manifest.recipe or {}).get("name", manifest.variant),
            "sha256": {name: record.sha256 for name, record in manifest.files.items()},
            "versions": versions("gpt2edge", "onnxruntime", "numpy"),
        }

    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        return self._one(prompts[0], new) if len(prompts) == 1 else self._batch(prompts, new)

    def sample(self, prompt: Sequence[int], samples: int, new: int) -> Measurement:
        sampling = SamplingParams(temperature=TEMPERATURE, top_k=TOP_K, seed=0)
        return self._batch([prompt], new, n=samples, sampling=sampling)

    def score(self, token_ids: Sequence[int]) -> list[float]:
        (score,) = self._engine.score(token_ids[:1], [token_ids[1:]])
        return list(score.logprobs)

    def _one(self, prompt: Sequence[int], new: int) -> Measurement:
        clock, tokens = StepClock(), []
        stream = self._engine.stream(
            prompt, max_new_tokens=new + 1, sampling=GREEDY, stop=self._stop
        )
        for chunk in stream:
            tokens.append(chunk.token_id)
            clock.mark()
        return clock.measurement([tokens])

    def _batch(
        self,
        prompts: Sequence[Sequence[int]],
        new: int,
        *,
        n: int = 1,
        sampling: SamplingParams = GREEDY,
    ) -> Measurement:
        started = perf_counter()
        done = self._engine.generate_batch(
            prompts, n=n, max_new_tokens=new + 1, sampling=sampling, stop=self._stop
        )
        wall = perf_counter() - started
        decode = min(completion.timing.decode_s for completion in done)  # the last to be prefilled
        tokens = [completion.token_ids for completion in done]
        return Measurement(prefill_s=wall - decode, decode_s=decode, tokens=tokens)


def main() -> None:
    """Serve the model folder named on the command line."""
    arguments = parser("as written")
    arguments.add_argument("--prefill-chunk", type=int, default=RuntimeOptions().prefill_chunk)
    arguments.add_argument("--no-spinning", action="store_true")
    args = arguments.parse_args()
    options = RuntimeOptions(
        threads=args.threads, prefill_chunk=args.prefill_chunk, spinning=not args.no_spinning
    )
    serve(lambda: EngineRunner(args.model, options))


if __name__ == "__main__":
    main()
