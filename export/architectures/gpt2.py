"""GPT-2's forward pass as an ONNX graph, from configuration and tensors: nothing is traced.

Profile ``cpu``: fused operators, a key/value cache that ONNX Runtime updates in place when past and
present are bound to the same buffer, and logits of chosen positions only.

    input_ids       int64 [batch_size, sequence_length]
    attention_mask  int64 [batch_size, total_sequence_length]; a row's length is its sum
    position_ids    int64 [batch_size, sequence_length]
    past_key_values.{i}.key|value  float [batch_size, n_head, past_sequence_length, head_dim]
    logits_to_keep  int64 [batch_size, n], optional: the positions whose logits are wanted

    logits          float [batch_size, n or sequence_length, vocab_size or labels]
    present.{i}.key|value          float [batch_size, n_head, past + sequence_length, head_dim]

Activations between the products are ``[batch * sequence, n]``, so that ``Gemm`` carries the bias.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from gpt2edge.config import ModelConfig
from gpt2edge.export.architectures.activations import add_activation
from gpt2edge.export.architectures.head_padding import Weights, pad_heads, padded_head_dim
from gpt2edge.export.layout import Head
from gpt2edge.graph.builder import MICROSOFT, Nodes

OPSET: Final = 17  # the first with LayerNormalization
IR_VERSION: Final = 8  # the one that opset 17 came with: every onnxruntime since 1.12 reads it
LOGITS_TO_KEEP: Final = "logits_to_keep"


class Gpt2Graph:
    """The graph under construction. ``portable.PortableGraph`` changes the steps that differ."""

    domains: Sequence[str] = ("", MICROSOFT)

    def __init__(self, config: ModelConfig, head: Head, weights: Weights, nodes: Nodes) -> None:
        self._config = config
        self._head = head
        self._weights = pad_heads(config, weights)
        self._nodes = nodes
        self._head_dim = padded_head_dim(config)

    def build(self) -> ModelProto:
        """The whole graph; its initializers, named as upstream's tensors, are in the store."""
        self.add_mask()
        hidden = self.add_embedding()  # [rows, n_embd], rows = batch * sequence
        for layer in range(self._config.n_layer):
            hidden = self.add_attention(hidden, layer)
            hidden = self.add_mlp(hidden, layer)
        self.add_head(hidden)
        return self.model()

    def add_mask(self) -> None:
        """What every GroupQueryAttention needs, computed once."""
        add, integers, to_int32 = self._nodes.add, self._nodes.integers, {"to": TensorProto.INT32}
        ones = ["attention_mask", integers(1)]
        lengths = add("ReduceSum", ones, "mask/lengths", attributes={"keepdims": 0})  # [batch]
        last = add("Sub", [lengths, integers(1)], "mask/last")
        add("Cast", [last], "seqlens_k", attributes=to_int32)
        shape = add("Shape", ["attention_mask"], "mask/shape")
        width = add("Gather", [shape, self._nodes.integer(1)], "mask/width")  # []
        add("Cast", [width], "total_sequence_length", attributes=to_int32)
        batch_and_sequence = add("Shape", ["input_ids"], "input_ids/shape")
        inputs = [batch_and_sequence, integers(-1)]
        add("Concat", inputs, "shape/3d", attributes={"axis": 0})  # batch, sequence, the rest

    def add_embedding(self) -> str:
        """[batch, sequence] -> [rows, n_embd]."""
        add = self._nodes.add
        tokens = add("Gather", [self._add_weight("wte.weight"), "input_ids"], "wte")
        positions = add("Gather", [self._add_weight("wpe.weight"), "position_ids"], "wpe")
        hidden = add("Add", [tokens, positions], "embedding")
        return add("Reshape", [hidden, self._rows()], "embedding/2d")

    def add_attention(self, hidden: str, layer: int) -> str:
        """[rows, n_embd] -> [rows, n_embd], with the residual."""
        add, block = self._nodes.add, f"h.{layer}"
        width = self._config.n_head * self._head_dim
        normed = self._add_layer_norm(hidden, f"{block}.ln_1")
        qkv = self._add_product(normed, f"{block}.attn.c_attn")  # [rows, 3 * width]
        mixed = self.add_mixing(qkv, layer)  # [batch, sequence, width]
        mixed = add("Reshape", [mixed, self._nodes.integers(-1, width)], f"{block}/attn/2d")
        projected = self._add_product(mixed, f"{block}.attn.c_proj")
        return add("Add", [hidden, projected], f"{block}/attn/residual")

    def add_mlp(self, hidden: str, layer: int) -> str:
        """[rows, n_embd] -> [rows, n_inner] -> [rows, n_embd], with the residual."""
        block = f"h.{layer}"
        normed = self._add_layer_norm(hidden, f"{block}.ln_2")
        inner = self._add_product(normed, f"{block}.mlp.c_fc")
        kind = self._config.activation_function
        fused = MICROSOFT in self.domains
        inner = add_activation(self._nodes, kind, x=inner, output=f"{block}/mlp/act", fused=fused)
        projected = self._add_product(inner, f"{block}.mlp.c_proj")
        return self._nodes.add("Add", [hidden, projected], f"{block}/mlp/residual")

    def add_head(self, hidden: str) -> None:
        """[rows, n_embd] -> logits [batch, positions, size], of the wanted positions."""
        add, head = self._nodes.add, self._head
        kept = self.add_position_choice(hidden)  # [batch * positions, n_embd]
        normed = self._add_layer_norm(kept, "ln_f")
        tied = head.weight == "wte.weight"
        inputs = [normed, head.weight if tied else self._add_weight(head.weight)]
        if head.bias is not None:
            inputs.append(self._add_weight(head.bias))
        name = "lm_head" if tied else head.weight.removesuffix(".weight")
        flat = add("Gemm", inputs, name, attributes={"transB": 1})
        batch = add("Gather", ["input_ids/shape", self._nodes.integers(0)], "shape/batch")
        tail = self._nodes.integers(-1, head.size)
        shape = add("Concat", [batch, tail], "logits/shape", attributes={"axis": 0})
        add("Reshape", [flat, shape], "logits")

    def model(self) -> ModelProto:
        """The finished model."""
        graph = make_graph(
            self._nodes.nodes,
            "gpt2",
            self.inputs(),
            self._outputs(),
            initializer=self._nodes.initializers,
        )
        opsets = [make_opsetid(domain, 1 if domain else OPSET) for domain in self.domains]
        return make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="gpt2edge"
        )

    def _add_layer_norm(self, x: str, name: str) -> str:
        # Not SkipLayerNormalization: on CPU it takes several times the time of Add + this.
        inputs = [x, self._add_weight(f"{name}.weight"), self._add_weight(f"{name}.bias")]
        attributes = {"axis": -1, "epsilon": self._config.layer_norm_epsilon}
        output = name.replace(".ln_", "/ln_")
        return self._nodes.add("LayerNormalization", inputs, output, attributes=attributes)

    def _add_weight(self, name: str) -> str:
        return self._nodes.weight(name, self._weights(name))

    def _add_product(self, x: str, name: str) -> str:
        """[rows, in] -> [rows, out]."""
        # One Gemm against MatMul + Add, 124M, 2 threads, ms: prefill of 512 1,219 / 1,291, eight
        # tokens 37.7 / 42.7, one token 25.0 / 24.5 (it reads the weights either way).
        inputs = [x, self._add_weight(f"{name}.weight"), self._add_weight(f"{name}.bias")]
        block, part, projection = name.rsplit(".", 2)
        return self._nodes.add("Gemm", inputs, f"{block}/{part}/{projection}")

    def add_mixing(self, qkv: str, layer: int) -> str:
        """[rows, 3 * width] -> [batch, sequence, width]: attention and the cache's update."""
        name, past, present = f"h.{layer}/attn", f"past_key_values.{layer}", f"present.{layer}"
        qkv = self._nodes.add("Reshape", [qkv, "shape/3d"], f"{name}/qkv")  # [batch, sequence, ...]
        inputs = [qkv, "", "", f"{past}.key", f"{past}.value", "seqlens_k", "total_sequence_length"]
        attributes = {
            "num_heads": self._config.n_head,
            "kv_num_heads": self._config.n_head,
            "do_rotary": 0,
            "scale": self._config.attention_scale(layer),
        }
        return self._nodes.add(
            "GroupQueryAttention",
            inputs,
            [name, f"{present}.key", f"{present}.value"],
            domain=MICROSOFT,
            attributes=attributes,
        )

    def add_position_choice(self, hidden: str) -> str:
        """Rows of the wanted positions where ``logits_to_keep`` is fed, else all rows."""
        add, integers = self._nodes.add, self._nodes.integers
        self._nodes.constant(LOGITS_TO_KEEP, np.zeros((1, 0), np.int64))  # not fed: keep all
        size = add("Size", [LOGITS_TO_KEEP], "kept/size")
        fed = add("Cast", [size], "kept/fed", attributes={"to": TensorProto.BOOL})
        chosen = [
            make_node("Reshape", [hidden, "shape/3d"], ["kept/3d"]),  # [batch, sequence, n_embd]
            make_node("Unsqueeze", [LOGITS_TO_KEEP, integers(-1)], ["kept/index"]),
            make_node("GatherND", ["kept/3d", "kept/index"], ["kept/gathered"], batch_dims=1),
            make_node("Reshape", ["kept/gathered", self._rows()], ["kept/chosen"]),
        ]
        everything = [make_node("Reshape", [hidden, self._rows()], ["kept/all"])]
        branches = {"then_branch": self._branch(chosen), "else_branch": self._branch(everything)}
        return add("If", [fed], "kept", attributes=branches)

    def _branch(self, nodes: list[NodeProto]) -> GraphProto:
        output = nodes[-1].output[0]
        value = make_tensor_value_info(output, TensorProto.FLOAT, ["rows", self._config.n_embd])
        return make_graph(nodes, output, [], [value])

    def _rows(self) -> str:
        """The target shape that makes ``[batch, sequence, n_embd]`` into ``[rows, n_embd]``."""
        return self._nodes.integers(-1, self._config.n_embd)

    def inputs(self) -> list[ValueInfoProto]:
        """Declared inputs, the optional ones last."""
        choice = _integers(LOGITS_TO_KEEP, ["logits_batch", "logits_kept"])
        return [*self._common_inputs("total_sequence_length"), choice]

    def _common_inputs(self, total: str) -> list[ValueInfoProto]:
        ids = ["batch_size", "sequence_length"]
        return [
            _integers("input_ids", ids),
            _integers("attention_mask", ["batch_size", total]),
            _integers("position_ids", ids),
            *self._cache("past_key_values", "past_sequence_length"),
        ]

    def _outputs(self) -> list[ValueInfoProto]:
        logits: list[str | int] = ["batch_size", "sequence_length", self._head.size]
        return [
            make_tensor_value_info("logits", TensorProto.FLOAT, logits),
            *self._cache("present", "past_sequence_length + sequence_length"),
        ]

    def _cache(self, prefix: str, length: str) -> list[ValueInfoProto]:
        shape: list[str | int] = ["batch_size", self._config.n_head, length, self._head_dim]
        return [
            make_tensor_value_info(f"{prefix}.{layer}.{part}", TensorProto.FLOAT, shape)
            for layer in range(self._config.n_layer)
            for part in ("key", "value")
        ]


def _integers(name: str, shape: list[str]) -> ValueInfoProto:
    return make_tensor_value_info(name, TensorProto.INT64, shape)
