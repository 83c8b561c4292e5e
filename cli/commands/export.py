"""``gpt2edge export``."""

from pathlib import Path

import click

from gpt2edge.cli.display.output import note, size
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.sources import SourceArguments


@command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--profile",
    type=click.Choice(["cpu", "portable"]),
    default="cpu",
    show_default=True,
    help="cpu: fused operators, cache updated in place. portable: standard operators in Optimum's "
    "layout, for Optimum and other execution providers; slower on CPUs.",
)
@click.option(
    "--via",
    type=click.Choice(["optimum"]),
    help="Let Optimum trace the graph (needs the optimum extra, which installs torch).",
)
@click.option(
    "--hidden-states",
    is_flag=True,
    help="Add an output with the hidden states that the head reads, for other engines; gpt2edge "
    "finds them in every graph of profile cpu.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is a model folder.")
@SourceArguments.decorator()
def export(
    source: Path,
    out: Path,
    profile: str,
    via: str | None,
    hidden_states: bool,
    overwrite: bool,
    about: SourceArguments,
) -> None:
    """Turn the checkpoint SOURCE into the model folder OUT.

    SOURCE holds a GPT-2, GPT-1, GPT-Neo, GPT-BigCode, OPT or BioGPT: a Hugging Face folder
    (safetensors or pytorch_model.bin), a checkpoint of nanoGPT, build-nanogpt, minGPT, llm.c,
    gpt-2-simple or OpenAI's TensorFlow release, a GGUF file, or a LoRA adapter of PEFT. The graph
    is built without torch, and nothing in a file is run. Its logits are compared with a numpy
    reference before OUT appears: OUT is whole or absent. "gpt2edge inspect SOURCE" shows what a
    source is.

    Needs the export extra: pip install 'gpt2edge[export]'

    \b
    Examples:
      gpt2edge export checkpoints/gpt2 models/gpt2
      gpt2edge export nanoGPT/out/ckpt.pt models/shakespeare --overwrite
      gpt2edge export adapters/stories models/stories --base checkpoints/gpt2
      gpt2edge export checkpoints/gpt2 models/gpt2-portable --profile portable
      gpt2edge generate -m models/gpt2 "Edge inference is"
    """
    from gpt2edge.export import export_checkpoint, export_with_optimum

    if via is not None and about.is_given:
        raise click.UsageError("--via reads the source as it is: leave out the options about it.")
    with watched("reading the checkpoint") as progress:
        if via is None:
            model = export_checkpoint(
                source,
                out,
                profile=profile,
                hidden_states=hidden_states,
                overwrite=overwrite,
                options=about.options(),
                progress=progress,
            )
        else:
            model = export_with_optimum(source, out, overwrite=overwrite, progress=progress)
    note(f"{out}: {size(model.nbytes)}, {model.manifest.variant}, logits verified")
