"""Optimum's ORTModelForCausalLM: its own export, fp32 or quantized dynamically to int8."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort
import torch
from optimum.onnxruntime import ORTModelForCausalLM

from benchmarks.peers.torch_drawing import draw, read_logprobs
from benchmarks.peers.worker import Measurement, StepClock, newer, parser, serve, versions

_FILES: Final = {"fp32": "model.onnx", "int8": "model_quantized.onnx"}


class OptimumRunner:
    """An exported folder; the graph gives the logits of every position."""

    def __init__(self, folder: Path, variant: str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        torch.set_num_threads(threads)
        self._variant = variant
        self._model = ORTModelForCausalLM.from_pretrained(
            folder, file_name=_FILES[variant], session_options=options
        )

    def facts(self) -> dict[str, object]:
        return {
            "system": "Optimum",
            "variant": self._variant,
            "settings": "dynamic, per channel" if self._variant == "int8" else "",
            "versions": versions("optimum-onnx", "onnxruntime", "transformers"),
        }

    @torch.inference_mode()
    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        return self._run(prompts, new, 1, lambda logits: logits.argmax(-1, keepdim=True))

    @torch.inference_mode()
    def sample(self, prompt: Sequence[int], samples: int, new: int) -> Measurement:
        return self._run([prompt], new, samples, draw)

    @torch.inference_mode()
    def score(self, token_ids: Sequence[int]) -> list[float]:
        return read_logprobs(self._step(torch.tensor([token_ids]), None).logits[0], token_ids)

    def _run(
        self,
        prompts: Sequence[Sequence[int]],
        new: int,
        copies: int,
        choose: Callable[[torch.Tensor], torch.Tensor],
    ) -> Measurement:
        ids = torch.tensor(prompts)  # [batch, length]
        clock = StepClock()
        output = self._step(ids, None)
        logits, past = output.logits[:, -1], output.past_key_values
        if copies > 1:
            past = _repeated(past, copies)
            logits = logits.repeat(copies, 1)
        token = choose(logits)
        chosen = [token[:, 0].tolist()]
        clock.mark()
        for _ in range(new):
            output = self._step(token, past)
            past, token = output.past_key_values, choose(output.logits[:, -1])
            chosen.append(token[:, 0].tolist())
            clock.mark()
        return clock.measurement(list(map(list, zip(*chosen, strict=True))))

    def _step(self, ids: torch.Tensor, past: Any) -> Any:
        start = past[0][0].shape[2] if past else 0  # [batch, heads, tokens, head_dim]
        batch, length = ids.shape
        return self._model(
            ids,
            attention_mask=torch.ones(batch, start + length, dtype=torch.int64),
            position_ids=torch.arange(start, start + length).expand(batch, -1),
            past_key_values=past,
            use_cache=True,
        )


def _repeated(past: Any, copies: int) -> Any:
    """The cache of one row, as that of ``copies``."""
    return tuple(tuple(array.repeat(copies, 1, 1, 1) for array in layer) for layer in past)


def convert(checkpoint: Path, out: Path, variant: str) -> Path:
    """Export, and quantize for this CPU where ``variant`` is int8."""
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    model = ORTModelForCausalLM.from_pretrained(checkpoint, export=True)
    if variant == "fp32":
        model.save_pretrained(out)
        return out
    preset = AutoQuantizationConfig.avx2
    if "avx512_vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        preset = AutoQuantizationConfig.avx512_vnni
    quantizer = ORTQuantizer.from_pretrained(model)
    quantizer.quantize(save_dir=out, quantization_config=preset(is_static=False, per_channel=True))
    return out


def main() -> None:
    """Serve the checkpoint named on the command line, exported beside it."""
    args = parser(*_FILES).parse_args()
    folder = args.model / f"optimum-{args.variant}"
    if not newer(folder, args.model):
        convert(args.model, folder, args.variant)
    if not args.prepare:
        serve(lambda: OptimumRunner(folder, args.variant, args.threads))


if __name__ == "__main__":
    main()
