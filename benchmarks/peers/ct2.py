"""CTranslate2: its own model format, written from the checkpoint through its specifications."""

import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import ctranslate2

from benchmarks.peers.worker import (
    TEMPERATURE,
    TOP_K,
    Measurement,
    StepClock,
    newer,
    parser,
    serve,
    versions,
)

_VARIANTS: Final = ("int8", "fp32")


class TranslatorRunner:
    """A converted folder in a ``Generator``; its vocabulary is the token ids, written out."""

    def __init__(self, folder: Path, variant: str, threads: int) -> None:
        self._variant = variant
        self._generator = ctranslate2.Generator(
            str(folder), device="cpu", inter_threads=1, intra_threads=threads
        )

    def facts(self) -> dict[str, object]:
        return {
            "system": "CTranslate2",
            "variant": self._variant,
            "settings": f"compute type {self._generator.compute_type}",
            "versions": versions("ctranslate2"),
        }

    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        clock, seen = StepClock(), 0

        def on_token(_result: Any) -> bool:
            nonlocal seen
            seen += 1
            if seen % len(prompts) == 0:
                clock.mark()
            return False  # go on

        done = self._generate(prompts, new, sampling_topk=1, callback=on_token)
        return clock.measurement([result.sequences_ids[0] for result in done])

    def sample(self, prompt: Sequence[int], samples: int, new: int) -> Measurement:
        started = perf_counter()
        (result,) = self._generate(
            [prompt],
            new,
            num_hypotheses=samples,
            sampling_topk=TOP_K,
            sampling_temperature=TEMPERATURE,
        )
        wall = perf_counter() - started  # its calls tell no time within
        return Measurement(prefill_s=0.0, decode_s=wall, tokens=result.sequences_ids)

    def score(self, token_ids: Sequence[int]) -> list[float]:
        (result,) = self._generator.score_batch([_words(token_ids)])
        return list(result.log_probs)

    def _generate(self, prompts: Sequence[Sequence[int]], new: int, **options: Any) -> Any:
        return self._generator.generate_batch(
            list(map(_words, prompts)),
            min_length=new + 1,
            max_length=new + 1,
            include_prompt_in_result=False,
            **options,
        )


def _words(token_ids: Sequence[int]) -> list[str]:
    return list(map(str, token_ids))


def convert(checkpoint: Path, out: Path, variant: str) -> None:
    """Write the checkpoint's weights in CTranslate2's format, as its own loader of GPT-2 does."""
    from ctranslate2.specs import TransformerDecoderModelSpec, common_spec
    from safetensors.numpy import load_file

    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    weights = {
        name.removeprefix("transformer."): array.astype("float32")
        for name, array in load_file(checkpoint / "model.safetensors").items()
    }
    spec = TransformerDecoderModelSpec.from_config(
        config["n_layer"],
        config["n_head"],
        pre_norm=True,
        activation=common_spec.Activation.GELUTanh,  # gelu_new
    )
    _fill(spec.decoder, weights)
    vocabulary = _words(range(config["vocab_size"]))
    spec.register_vocabulary(vocabulary)
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = vocabulary[-1]
    spec.validate()
    spec.optimize(quantization="int8" if variant == "int8" else None)
    out.mkdir(exist_ok=True)
    spec.save(str(out))


def _fill(decoder: Any, weights: dict[str, Any]) -> None:
    def linear(into: Any, name: str) -> None:
        into.weight = weights[f"{name}.weight"].T.copy()  # Conv1D holds [in, out]
        into.bias = weights[f"{name}.bias"]

    def norm(into: Any, name: str) -> None:
        into.gamma, into.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    decoder.scale_embeddings = False
    decoder.embeddings.weight = decoder.projection.weight = weights["wte.weight"]
    decoder.position_encodings.encodings = weights["wpe.weight"]
    norm(decoder.layer_norm, "ln_f")
    for at, layer in enumerate(decoder.layer):
        norm(layer.self_attention.layer_norm, f"h.{at}.ln_1")
        linear(layer.self_attention.linear[0], f"h.{at}.attn.c_attn")
        linear(layer.self_attention.linear[1], f"h.{at}.attn.c_proj")
        norm(layer.ffn.layer_norm, f"h.{at}.ln_2")
        linear(layer.ffn.linear_0, f"h.{at}.mlp.c_fc")
        linear(layer.ffn.linear_1, f"h.{at}.mlp.c_proj")


def main() -> None:
    """Serve the checkpoint named on the command line, converted beside it."""
    args = parser(*_VARIANTS).parse_args()
    folder = args.model / f"ctranslate2-{args.variant}"
    if not newer(folder, args.model):
        convert(args.model, folder, args.variant)
    if not args.prepare:
        serve(lambda: TranslatorRunner(folder, args.variant, args.threads))


if __name__ == "__main__":
    main()
