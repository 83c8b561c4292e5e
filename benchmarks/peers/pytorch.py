"""PyTorch: transformers' own GPT-2, eager, with its DynamicCache or StaticCache."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache, GPT2LMHeadModel, StaticCache

from benchmarks.peers.torch_drawing import draw, read_logprobs
from benchmarks.peers.worker import Measurement, StepClock, parser, serve, versions


class TorchRunner:
    """A checkpoint in fp32; logits of the last position only, as ``generate`` asks for."""

    def __init__(self, folder: str, *, cache: str, attention: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._cache = cache
        self._attention = attention
        self._model = GPT2LMHeadModel.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=attention
        ).eval()

    def facts(self) -> dict[str, object]:
        return {
            "system": "PyTorch",
            "variant": "fp32",
            "settings": f"{self._attention}, {self._cache} cache",
            "versions": versions("torch", "transformers"),
        }

    @torch.inference_mode()
    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        return self._run(prompts, new, 1, lambda logits: logits.argmax(-1, keepdim=True))

    @torch.inference_mode()
    def sample(self, prompt: Sequence[int], samples: int, new: int) -> Measurement:
        return self._run([prompt], new, samples, draw)

    @torch.inference_mode()
    def score(self, token_ids: Sequence[int]) -> list[float]:
        return read_logprobs(self._model(torch.tensor([token_ids])).logits[0], token_ids)

    def _run(
        self,
        prompts: Sequence[Sequence[int]],
        new: int,
        copies: int,
        choose: Callable[[torch.Tensor], torch.Tensor],
    ) -> Measurement:
        ids = torch.tensor(prompts)  # [batch, length]
        clock, cache = StepClock(), self._new_cache(ids.shape[1] + new)
        logits = self._step(ids, cache)
        if copies > 1:
            cache.batch_repeat_interleave(copies)
            logits = logits.repeat(copies, 1)
        token = choose(logits)
        chosen = [token[:, 0].tolist()]
        clock.mark()
        for _ in range(new):
            token = choose(self._step(token, cache))
            chosen.append(token[:, 0].tolist())
            clock.mark()
        return clock.measurement(list(map(list, zip(*chosen, strict=True))))

    def _step(self, ids: torch.Tensor, cache: Any) -> torch.Tensor:
        """[batch, n] -> logits of the next token of each row, [batch, vocab_size]."""
        output = self._model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _new_cache(self, length: int) -> Any:
        config = self._model.config
        if self._cache == "static":
            return StaticCache(config=config, max_cache_len=length)
        return DynamicCache(config=config)


def main() -> None:
    """Serve the checkpoint named on the command line."""
    arguments = parser("fp32")
    arguments.add_argument("--cache", choices=("dynamic", "static"), default="dynamic")
    arguments.add_argument("--attention", choices=("sdpa", "eager"), default="eager")
    args = arguments.parse_args()
    if args.prepare:
        return
    serve(
        lambda: TorchRunner(
            args.model, cache=args.cache, attention=args.attention, threads=args.threads
        )
    )


if __name__ == "__main__":
    main()
