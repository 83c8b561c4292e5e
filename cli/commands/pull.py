"""``gpt2edge pull``."""

import click

from gpt2edge.cli.display.output import note, size
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.names import RECIPE, STORED


@command()
@click.argument("name", type=STORED)
@click.option(
    "--revision", metavar="REV", help="Fetch this branch, tag or commit.  [default: main]"
)
@click.option(
    "--recipe",
    type=RECIPE,
    metavar="NAME",
    help="Quantize by a recipe of quantize, such as int4 or auto.  [default: keep float32]",
)
def pull(name: str, revision: str | None, recipe: str | None) -> None:
    """Fetch the model NAME from the Hugging Face Hub.

    It is exported, quantized if a recipe is given, and stored.

    NAME is the model's name on the Hub, such as openai-community/gpt2. Every command and
    gpt2edge.load then accept it in place of a folder; if it has several variants, write NAME:int8.
    Safetensors and text files are fetched, or pytorch_model.bin where there are no safetensors,
    into the Hub's own cache (HF_HOME), which other tools share. Nothing in a file is run.
    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE apply. The model is stored in GPT2EDGE_STORE, by
    default gpt2edge/models in the user's data folder; see "gpt2edge models".

    Needs the hub and export extras: pip install 'gpt2edge[hub,export]'

    \b
    Examples:
      gpt2edge pull openai-community/gpt2
      gpt2edge pull distilbert/distilgpt2 --recipe int4
      gpt2edge generate -m distilbert/distilgpt2 "Edge inference is"
    """
    from gpt2edge._pull import FP32
    from gpt2edge._pull import pull as fetch

    with watched("") as progress:  # silent beside the bars of the Hub's client
        model = fetch(name, revision=revision, recipe=recipe, progress=progress)
    note(f"{name}:{recipe or FP32}: {size(model.nbytes)} at {model.path}")
