"""``generation_config.json`` of a checkpoint: copy it, and warn of settings the engine ignores."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.verify.parity import verify_generation_config
from gpt2edge.model_dir import write_json
from gpt2edge.runtime.decoding.defaults import READ_ALWAYS, READ_TO_END, READ_TO_SAMPLE

FILE: Final = "generation_config.json"
_HONOURED: Final = {"do_sample", *READ_ALWAYS, *READ_TO_SAMPLE, *READ_TO_END}
_SAMPLERS: Final = {"epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "top_h": None}
_REFUSED: Final[Mapping[str, object]] = {
    **_SAMPLERS,
    "constraints": None,
    "diversity_penalty": 0.0,
    "dola_layers": None,
    "force_words_ids": None,
    "guidance_scale": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "penalty_alpha": 0,
    "remove_invalid_values": False,
    "renormalize_logits": False,
    "token_healing": False,
    "watermarking_config": None,
}
"""Settings that the engine does not have, each with its neutral value."""
_NEUTRAL: Final[Mapping[str, object]] = {
    **_REFUSED,
    "do_sample": False,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1,
    "length_penalty": 1,
    "max_length": 20,  # old transformers wrote it into every config.json: not the author's choice
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "repetition_penalty": 1,
}
_WITHOUT_EFFECT: Final = {  # on which tokens are chosen
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_ensemble_weight",
    "assistant_lookbehind",
    "bos_token_id",
    "cache_config",
    "cache_implementation",
    "compile_config",
    "decoder_start_token_id",
    "disable_compile",
    "eos_token_id",
    "is_assistant",
    "low_memory",
    "max_cache_len",
    "max_matching_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "prefill_chunk_size",
    "prompt_lookup_num_tokens",
    "return_dict_in_generate",
    "speculation_type",
    "target_lookbehind",
    "transformers_version",
    "use_cache",
    "use_mtp",
}
_log = logging.getLogger("gpt2edge")


def write_generation_config(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the checkpoint's generation settings, if any, into ``folder``.

    They come from ``generation_config.json`` or, as in transformers only without that file, from
    ``config.json``. A warning names the settings that the engine ignores. Raises ExportError for
    settings with which the engine would not load the model.
    """
    path = checkpoint.path / FILE
    in_config = _of_config(checkpoint.keys)
    keys = read_source_json(path) if path.is_file() else in_config
    if path.is_file() and in_config:
        _warn(checkpoint, f"config.json: {', '.join(in_config)}: no effect beside {FILE}")
    if not keys and not path.is_file():
        return
    check_generation_config(checkpoint, keys)
    write_json(folder / FILE, keys)


def check_generation_config(checkpoint: Checkpoint, keys: Mapping[str, Any]) -> None:
    """Warn of settings that the engine ignores; raise ExportError for those it cannot load."""
    verify_generation_config(keys, checkpoint)
    ignored = ignored_settings(keys)
    if ignored:
        _warn(checkpoint, f"generation settings that gpt2edge does not have: {', '.join(ignored)}")


def ignored_settings(keys: Mapping[str, Any]) -> list[str]:
    """Return the names of ``keys`` that would have an effect in transformers but not here."""
    samples = bool(keys.get("do_sample"))
    return [
        name
        for name, value in keys.items()
        if value is not None
        and not name.startswith("_")
        and name not in _HONOURED | _WITHOUT_EFFECT
        and (name not in _NEUTRAL or _asks(value, _NEUTRAL[name]))
        and (samples or name not in _SAMPLERS)
        and (name != "renormalize_logits" or keys.get("num_beams") not in (None, 1))
    ]


def _of_config(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the generation settings of a ``config.json`` that are not neutral."""
    unused = () if keys.get("do_sample") else READ_TO_SAMPLE
    return {
        name: value
        for name, value in keys.items()
        if name in _HONOURED | _REFUSED.keys()
        and name not in unused
        and value is not None
        and (name not in _NEUTRAL or _asks(value, _NEUTRAL[name]))
    }


def _asks(value: object, neutral: object) -> bool:
    """Return whether a setting differs from its neutral value."""
    return value != neutral and bool(value or neutral)


def _warn(checkpoint: Checkpoint, line: str) -> None:
    _log.warning("%s: %s", checkpoint.path, line)
