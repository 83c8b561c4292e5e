"""What ``gpt2edge inspect`` shows of a checkpoint that is not exported."""

from dataclasses import asdict
from pathlib import Path

from gpt2edge.cli.display.output import print_facts, print_json, size
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.options.sources import SourceArguments

_GRAPHS = ("model.onnx", "decoder_model.onnx", "decoder_model_merged.onnx")


def is_source(path: Path) -> bool:
    """Return whether ``path`` is a file, or a folder without an exported model."""
    if path.is_file():
        return True
    exported = ("manifest.json", *_GRAPHS)
    return path.is_dir() and not any((path / name).exists() for name in exported)


def show_source(path: Path, about: SourceArguments, *, as_json: bool) -> None:
    """Print the form, architecture and size of a checkpoint. Raises ExportError."""
    from gpt2edge.export import inspect_source

    with watched("reading the checkpoint"):
        facts = inspect_source(path, options=about.options())
    if as_json:
        print_json({**asdict(facts), "exports": True})
        return
    config = facts.config
    print_facts(
        facts.path,
        {
            "form": facts.form,
            "architecture": f"{facts.architecture}, {facts.task}",
            "parameters": f"{facts.parameters:,}, stored as {', '.join(facts.stored_as)}",
            "shape": f"{config.n_layer} layers, {config.n_head} heads, width {config.n_embd}",
            "context": f"{config.n_positions:,} tokens, vocabulary {config.vocab_size:,}",
            "activation": config.activation_function,
            "tokenizer": facts.tokenizer,
            "exports": f"yes, to {size(facts.bytes)} in float32",
        },
    )
