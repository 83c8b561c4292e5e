"""OpenVINO: Optimum Intel's export with NNCF's weight compression, run by OpenVINO's own API."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset15 as opset

from benchmarks.peers.worker import TEMPERATURE, TOP_K, Measurement, StepClock, newer, parser, serve

_BITS: Final = {"int8": 8, "int4": 4}
_END: Final = np.iinfo(np.int64).max

Choose: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.int64]]


class OpenVinoRunner:
    """A compiled model whose cache is its state; ``beam_idx`` copies rows of it."""

    def __init__(self, folder: Path, variant: str, threads: int) -> None:
        self._folder, self._variant = folder, variant
        self._settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        self._core = openvino.Core()
        self._requests = {False: self._compile(_last_logits_only)}
        self._scorer: Any = None
        self._random = np.random.default_rng(0)

    def facts(self) -> dict[str, object]:
        compiled = self._requests[False].get_compiled_model()
        cache = compiled.get_property("KV_CACHE_PRECISION").get_type_name()
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return {
            "system": "OpenVINO",
            "variant": self._variant,
            "settings": f"{cache} cache and {precision} activations (its defaults), f16 cache for "
            "several rows, where its u8 one gives NaN; logits of the last position",
            "versions": {"openvino": openvino.get_version().split("-")[0]},
        }

    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        return self._run(prompts, new, 1, lambda logits: logits.argmax(-1))

    def sample(self, prompt: Sequence[int], samples: int, new: int) -> Measurement:
        return self._run([prompt], new, samples, self._draw)

    def score(self, token_ids: Sequence[int]) -> list[float]:
        if self._scorer is None:
            self._scorer = self._compile(lambda model: model)
        self._scorer.reset_state()
        logits = _step(self._scorer, np.array([token_ids]), 0, np.zeros(1, np.int32))[0][:-1]
        logits = logits - logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        values: list[float] = logits[np.arange(len(logits)), token_ids[1:]].tolist()
        return values

    def _run(
        self, prompts: Sequence[Sequence[int]], new: int, copies: int, choose: Choose
    ) -> Measurement:
        ids = np.array(prompts)  # [batch, length]
        batch, length = ids.shape
        request = self._request(batch * copies > 1)
        clock = StepClock()
        request.reset_state()
        logits = _step(request, ids, 0, np.arange(batch, dtype=np.int32))[:, -1]
        rows = np.repeat(np.arange(batch, dtype=np.int32), copies)
        token = choose(logits[rows])
        chosen = [token.tolist()]
        clock.mark()
        for step in range(new):
            logits = _step(request, token[:, None], length + step, rows)[:, -1]
            rows = np.arange(len(token), dtype=np.int32)
            token = choose(logits)
            chosen.append(token.tolist())
            clock.mark()
        return clock.measurement(list(map(list, zip(*chosen, strict=True))))

    def _draw(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """The largest of the likeliest logits with Gumbel noise is a draw from their softmax."""
        places = np.argpartition(logits, -TOP_K)[:, -TOP_K:]
        noisy = np.take_along_axis(logits, places, 1) / TEMPERATURE
        noisy += self._random.gumbel(size=noisy.shape)
        return np.take_along_axis(places, noisy.argmax(1)[:, None], 1)[:, 0]

    def _request(self, several: bool) -> Any:
        if several not in self._requests:
            self._requests[True] = self._compile(_last_logits_only, KV_CACHE_PRECISION="f16")
        return self._requests[several]

    def _compile(self, change: Callable[[Any], Any], **settings: str) -> Any:
        model = change(self._core.read_model(self._folder / "openvino_model.xml"))
        compiled = self._core.compile_model(model, "CPU", {**self._settings, **settings})
        return compiled.create_infer_request()


def _step(
    request: Any, ids: NDArray[np.int64], start: int, rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Logits [batch, positions, vocab_size] after ``ids`` [batch, tokens]."""
    batch, tokens = ids.shape
    inputs = {
        "input_ids": ids,
        "attention_mask": np.ones((batch, start + tokens), np.int64),
        "position_ids": np.tile(np.arange(start, start + tokens), (batch, 1)),
        "beam_idx": rows,
    }
    request.infer(inputs)
    logits: NDArray[np.float32] = request.get_output_tensor(0).data
    if np.isnan(logits[:, -1, 0]).any():
        raise RuntimeError("OpenVINO gave logits that are no numbers")
    return logits


def _last_logits_only(model: Any) -> Any:
    """``model`` with the head on the last position only, as OpenVINO GenAI changes it too."""
    head = model.outputs[0].get_node().input_value(0).get_node()
    while head.get_type_name() != "MatMul":
        head = head.input_value(0).get_node()
    bounds = (np.array([value], np.int64) for value in (-1, _END, 1, 1))
    last = opset.slice(head.input_value(0), *map(opset.constant, bounds))
    head.input(0).replace_source_output(last.output(0))
    return model


def convert(checkpoint: Path, out: Path, variant: str) -> None:
    """Export with compressed weights, by Optimum Intel's defaults."""
    from optimum.intel.openvino import OVModelForCausalLM, OVWeightQuantizationConfig

    model = OVModelForCausalLM.from_pretrained(
        checkpoint,
        export=True,
        compile=False,
        quantization_config=OVWeightQuantizationConfig(bits=_BITS[variant]),
    )
    model.save_pretrained(out)


def main() -> None:
    """Serve the checkpoint named on the command line, exported beside it."""
    args = parser(*_BITS).parse_args()
    folder = args.model / f"openvino-{args.variant}"
    if not newer(folder, args.model):
        convert(args.model, folder, args.variant)
    if not args.prepare:
        serve(lambda: OpenVinoRunner(folder, args.variant, args.threads))


if __name__ == "__main__":
    main()
