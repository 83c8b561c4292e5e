"""The models that are measured: one random checkpoint, its fp32 folder, and quantized ones."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common.checkpoint import SIZES, Shape, write_checkpoint
from benchmarks.common.fingerprint import ROOT
from benchmarks.common.recipes import chosen_recipe
from benchmarks.common.result_files import RESULTS, read_rows
from benchmarks.common.systems import PEER_NAMES, System, engine_system, peer_systems
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import quantize
from gpt2edge.runtime.system.threads import available_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every comparison asks: the size, the recipes, the peers, where things are."""
    parser.add_argument("--size", choices=SIZES, default="124M")
    parser.add_argument("--recipes", nargs="*", default=[], metavar="RECIPE")
    parser.add_argument("--variant", action="append", default=[], metavar="LABEL=FOLDER")
    parser.add_argument("--peers", nargs="*", choices=PEER_NAMES, help="default: all built")
    parser.add_argument("--envs", type=Path, default=ROOT / "build" / "envs")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--keep", action="store_true", help="do not quantize what is there again")
    parser.add_argument("--threads", type=int, default=available_threads())


def size_and_recipes(args: argparse.Namespace) -> str:
    """These options, as they go into a command line."""
    recipes = f" --recipes {' '.join(args.recipes)}" if args.recipes else ""
    keep = " --keep" if args.keep else ""
    return f" --size {args.size}{recipes}{keep}"


def prepare(work: Path, size: str) -> tuple[Path, Path]:
    """The checkpoint and its fp32 model folder under ``work``, made where they are missing."""
    checkpoint, folder = work / f"checkpoint-{size}", work / f"fp32-{size}"
    if not (checkpoint / "model.safetensors").is_file():
        write_checkpoint(checkpoint, Shape.of(size))
    export_checkpoint(checkpoint, folder, overwrite=True)
    return checkpoint, folder


def our_folders(args: argparse.Namespace, fp32: Path) -> dict[str, Path]:
    """Label and folder of every model folder of ours: fp32, the recipes, those given."""
    folders = {"gpt2edge fp32": fp32}
    for name in args.recipes:
        out = args.work / f"{name}-{args.size}"
        if not (args.keep and out.is_dir()):
            recipe = replace(chosen_recipe(ModelDir.open(fp32), name), name=name)
            quantize(fp32, out, recipe=recipe, overwrite=True)
        folders[f"gpt2edge {name}"] = out
    for variant in args.variant:
        label, _, folder = variant.partition("=")
        folders[label] = Path(folder)
    return folders


def all_systems(args: argparse.Namespace) -> tuple[list[System], int]:
    """Ours first, then the peers, their models made; and the vocabulary's size."""
    checkpoint, fp32 = prepare(args.work, args.size)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    ours = [
        engine_system(folder, label=label, threads=args.threads)
        for label, folder in our_folders(args, fp32).items()
    ]
    peers = peer_systems(args.peers, args.envs, checkpoint, threads=args.threads)
    return [*ours, *peers], config["vocab_size"]


def quality_of(system: str, variant: str) -> dict[str, Any] | None:
    """The increase of perplexity, with its standard error, that ``peer_quality.py`` found.

    None where it was not measured; 0 for float32, which the others are measured against.
    """
    if variant in ("fp32", "F32"):
        return {"value": 0.0, "standard_error": 0.0}
    path = RESULTS / "peer_quality.jsonl"
    own = [
        row["perplexity_increase"]
        for row in (read_rows(path) if path.is_file() else [])
        if (row["system"], row.get("recipe", row["variant"])) == (system, variant)
    ]
    return own[-1] if own else None
