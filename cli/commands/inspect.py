"""``gpt2edge inspect``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.display.output import note, print_facts, print_json, print_table, size
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.display.source import is_source, show_source
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import json_option
from gpt2edge.cli.options.names import MODEL
from gpt2edge.cli.options.sources import SourceArguments
from gpt2edge.cli.preload import open_model
from gpt2edge.errors import MissingExtraError, ModelDirError

if TYPE_CHECKING:
    from gpt2edge.config import ModelConfig
    from gpt2edge.graph.facts import GraphFacts
    from gpt2edge.model_dir import ModelDir


@command()
@click.argument("model", type=MODEL, required=False)
@json_option
@SourceArguments.decorator()
def inspect(model: Path | None, as_json: bool, about: SourceArguments) -> None:
    """Show what MODEL holds, and check its files; or what a checkpoint is, before its export.

    Shows the files with their sizes and checksums, the model's shape, the precision of each layer's
    weights, and the graph's operators, inputs and outputs. Without MODEL, the bundled model. The
    exit code is 1 if a checksum is wrong. Every file is hashed; other commands skip files unchanged
    since an earlier check, as recorded in verified.json in GPT2EDGE_CACHE (by default gpt2edge in
    XDG_CACHE_HOME or ~/.cache). Reading the graph needs the export extra.

    Of a checkpoint of any form that export reads, a folder or a file: its form, its architecture
    and its size. The exit code is 1, with the reason, if it cannot be exported.

    With --json: path, task, variant, profile, source, recipe, config, parameters, bytes, files,
    graph (null without onnx), kernels; of a checkpoint path, form, architecture, task, config,
    parameters, bytes, stored_as, tokenizer, exports.

    \b
    Examples:
      gpt2edge inspect
      gpt2edge inspect models/gpt2-int4
      gpt2edge inspect models/gpt2 --json
      gpt2edge inspect nanoGPT/out/ckpt.pt
    """
    if model is not None and is_source(model):
        show_source(model, about, as_json=as_json)
        return
    if about.is_given:
        raise click.UsageError("options about a checkpoint need the path of one.")
    opened = open_model(model)
    with watched("hashing every file"):
        damaged = opened.damaged_files()
    from gpt2edge.graph.facts import read_graph  # slow: not for --help

    try:
        graph = read_graph(opened.graph_path)
    except MissingExtraError as error:
        graph = None
        note(f"the graph is not shown: {error}")
    if as_json:
        print_json(_report(opened, damaged, graph))
    else:
        _print(opened, damaged, graph)
    if damaged:
        raise ModelDirError(f"damaged, by its sha256: {', '.join(damaged)}")


def _report(opened: "ModelDir", damaged: list[str], graph: "GraphFacts | None") -> dict[str, Any]:
    from gpt2edge.native.library import facts as kernel_facts

    manifest = asdict(opened.manifest)
    records = manifest.pop("files").items()
    files = [
        {"name": name, **record, "intact": name not in damaged if record["sha256"] else None}
        for name, record in records
    ]
    return {
        "path": str(opened.path),
        **manifest,
        "config": asdict(opened.config),
        "parameters": parameters(opened, graph),
        "bytes": opened.nbytes,
        "files": files,
        "graph": asdict(graph) if graph else None,
        "kernels": kernel_facts(),
    }


def _print(opened: "ModelDir", damaged: list[str], graph: "GraphFacts | None") -> None:
    config, manifest = opened.config, opened.manifest
    facts: dict[str, object] = {
        "task": manifest.task,
        "variant": f"{manifest.variant}, profile {manifest.profile}",
        "source": manifest.source or "-",
        "recipe": manifest.recipe.get("name", "-") if manifest.recipe else "-",
        "parameters": f"{parameters(opened, graph):,}",
        "architecture": config.architecture,
        "shape": f"{config.n_layer} layers, {config.n_head} heads, width {config.n_embd}",
        "context": f"{config.n_positions:,} tokens, vocabulary {config.vocab_size:,}",
        "activation": config.activation_function,
        "kernels": _kernels(),
        "made with": ", ".join(f"{tool} {v}" for tool, v in manifest.tool_versions.items()),
    }
    print_facts(str(opened.path), facts)
    rows: list[tuple[object, ...]] = [
        (
            name,
            size(record.bytes),
            "DAMAGED" if name in damaged else "intact" if record.sha256 else "unknown",
        )
        for name, record in manifest.files.items()
    ]
    click.echo()
    print_table([("file", "size", "sha256"), *rows, ("total", size(opened.nbytes), "")], right=(1,))
    if graph is None:
        return
    click.echo()
    layers = [(layer, summary, size(nbytes)) for layer, summary, nbytes in graph.layers()]
    print_table([("layer", "weights", "size"), *layers], right=(2,))
    click.echo()
    print_table([("operator", "count"), *graph.operators.items()], right=(1,))
    for title, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        click.echo()
        shapes = [(t.name, t.type, f"[{', '.join(map(str, t.shape))}]") for t in tensors]
        print_table([(title, "type", "shape"), *shapes])


def _kernels() -> str:
    """Say which variant of the kernels runs the model here, and why no better one."""
    from gpt2edge.native.library import facts as kernel_facts

    facts = kernel_facts()
    reason = f" ({facts['reason']})" if facts["reason"] else ""
    return f"{facts['variant'] or 'none: onnxruntime alone'}{reason}"


def parameters(opened: "ModelDir", graph: "GraphFacts | None" = None) -> int:
    """Weights of the transformer and of its head; an embedding that is the head counts once."""
    config, task = opened.config, opened.manifest.task
    body = transformer_parameters(config)
    if task == "text-generation":
        return body if config.tie_word_embeddings else body + config.vocab_size * config.n_embd
    labels = _labels(opened) if graph is None else int(graph.outputs[0].shape[-1])
    return body + labels * (config.n_embd + (task == "token-classification"))  # with its bias


def transformer_parameters(config: "ModelConfig") -> int:
    """Weights of the transformer without a head."""
    width, inner = config.n_embd, config.n_inner
    qkv = width + 2 * config.n_kv_head * config.head_dim
    attention = (width + 1) * (qkv + width)
    mlp = 2 * width * inner + inner + width
    block = attention + mlp + 4 * width
    last_norm = 0 if config.norms_after else 2 * width
    return config.n_layer * block + (config.vocab_size + config.n_positions) * width + last_norm


def _labels(opened: "ModelDir") -> int:
    """Return the number of a classifier's labels; upstream writes it only if it is not two."""
    from gpt2edge.model_dir import read_json

    return len(read_json(opened.path / "config.json").get("id2label") or (0, 1))
