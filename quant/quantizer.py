"""quantize: an exported model folder becomes a smaller and faster one."""

import os
import shutil
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import onnx
from onnx import ModelProto, NodeProto

from gpt2edge.errors import QuantizationError
from gpt2edge.model_dir import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    Manifest,
    ModelDir,
    staged_folder,
    write_manifest,
)
from gpt2edge.quant.blocks import FloatArray, round_to_blocks
from gpt2edge.quant.graph import Embedding, GraphWriter, Product, find_embeddings, find_products
from gpt2edge.quant.recipes import FLOAT_BITS, QuantRecipe
from gpt2edge.quant.tensors import TensorReader, TensorWriter

_TOOLS: Final = ("gpt2edge", "onnx", "numpy")


def quantize(
    model: ModelDir | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: QuantRecipe,
    overwrite: bool = False,
) -> ModelDir:
    """Write the float32 ``model`` to the folder ``out``, quantized by ``recipe``.

    One tensor is in memory at a time, and the same input gives the same bytes. Raises
    QuantizationError where the model is quantized already or has nothing to quantize,
    ModelDirError where ``out`` exists or cannot be written; ``out`` is then left as it was.
    """
    source = model if isinstance(model, ModelDir) else ModelDir.open(model)
    _check_source(source)
    with staged_folder(out, overwrite=overwrite) as folder:
        for name in source.manifest.files:
            if name not in (GRAPH_FILE, WEIGHTS_FILE):
                shutil.copyfile(source.path / name, folder / name)
        _write_graph(source, folder, recipe)
        write_manifest(folder, _manifest(source.manifest, recipe))
    return ModelDir.open(out)


def _check_source(source: ModelDir) -> None:
    variant = source.manifest.variant
    if variant != "fp32":
        raise QuantizationError(
            f"{str(source.path)!r} is quantized already ({variant}): quantize the float32 model "
            "that it was made from"
        )


def _write_graph(source: ModelDir, folder: Path, recipe: QuantRecipe) -> None:
    original = onnx.load(source.graph_path, load_external_data=False)
    reader = TensorReader(original.graph.initializer, source.path)
    with TensorWriter(folder / WEIGHTS_FILE) as writer:
        rewriter = _Rewriter(reader, GraphWriter(writer), recipe)
        rewritten = rewriter.rewrite(original)
    if not rewriter.replaced:
        raise QuantizationError(f"{str(source.path)!r} has no product that could be quantized")
    (folder / GRAPH_FILE).write_bytes(rewritten.SerializeToString(deterministic=True))


class _Rewriter:
    """Copies a graph node by node, the products and lookups of the recipe replaced."""

    def __init__(self, reader: TensorReader, writer: GraphWriter, recipe: QuantRecipe) -> None:
        self.replaced: set[str] = set()
        self._reader = reader
        self._writer = writer
        self._recipe = recipe

    def rewrite(self, model: ModelProto) -> ModelProto:
        """The quantized model."""
        nodes = model.graph.node
        products = find_products(nodes, self._reader)
        embeddings = find_embeddings(nodes, self._reader)
        kept: set[str] = set()
        for node in nodes:
            if node.name in products and self._replace_product(node, products[node.name]):
                continue
            if node.name in embeddings and self._replace_lookup(node, embeddings[node.name]):
                continue
            kept.update(node.input)
            self._writer.nodes.append(node)
        for tensor in model.graph.initializer:
            if tensor.name not in self.replaced or tensor.name in kept:
                self._writer.add_tensor(tensor.name, self._reader.read(tensor.name))
        return self._assemble(model)

    def _replace_product(self, node: NodeProto, product: Product) -> bool:
        recipe = self._recipe
        bits = recipe.lm_head if product.is_head else recipe.bits
        if bits == FLOAT_BITS or self._is_excluded(product.weight):
            return False
        if not self._writer.holds_blocks(product.weight, bits):
            weight = self._reader.read(product.weight)
            self._add_blocks(product.weight, weight if product.transposed else weight.T, bits)
        self._writer.add_block_product(
            node,
            product,
            bits=bits,
            block_size=recipe.block_size,
            accuracy_level=recipe.accuracy_level,
        )
        return True

    def _replace_lookup(self, node: NodeProto, embedding: Embedding) -> bool:
        recipe = self._recipe
        if recipe.embedding == FLOAT_BITS or self._is_excluded(embedding.weight):
            return False
        self._add_blocks(embedding.weight, self._reader.read(embedding.weight), recipe.embedding)
        self._writer.add_block_lookup(
            node, embedding, bits=recipe.embedding, block_size=recipe.block_size
        )
        return True

    def _add_blocks(self, name: str, weight: FloatArray, bits: int) -> None:
        self.replaced.add(name)
        self._writer.add_blocks(name, round_to_blocks(weight, bits, self._recipe.block_size))

    def _is_excluded(self, weight: str) -> bool:
        return any(text in weight for text in self._recipe.exclude)

    def _assemble(self, original: ModelProto) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(original)
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.extend(self._writer.nodes)
        model.graph.initializer.extend(self._writer.initializers)
        return model


def _manifest(source: Manifest, recipe: QuantRecipe) -> Manifest:
    return replace(
        source,
        variant=recipe.variant,
        recipe=asdict(recipe),
        tool_versions={**source.tool_versions, **{tool: version(tool) for tool in _TOOLS}},
    )
