"""Protobuf's wire format, against what the package protobuf writes."""

import pytest
from onnx import AttributeProto, TensorProto, ValueInfoProto
from onnx.helper import make_node, make_tensor_value_info

from gpt2edge.graph.protobuf import field, fields, number


def test_fields_join_to_the_message() -> None:
    message = make_node(
        "Clip", ["x"], ["y"], "name", alpha=0.5, perm=[0, 3, 300]
    ).SerializeToString()
    parts = list(fields(message))
    assert b"".join(part.whole for part in parts) == message
    assert [part.content for part in parts if part.number == 1] == [b"x"]
    attributes = [AttributeProto.FromString(part.content) for part in parts if part.number == 5]
    assert [item.name for item in attributes] == ["alpha", "perm"]
    assert [part.strings(1) for part in parts if part.number == 5] == [[b"alpha"], [b"perm"]]


def test_written_fields_are_read_by_protobuf() -> None:
    dimension = field(1, field(2, b"n" * 200))
    kind = field(1, number(1, TensorProto.INT64), field(2, dimension))
    value = ValueInfoProto.FromString(field(1, b"x") + field(2, kind))
    assert value == make_tensor_value_info("x", TensorProto.INT64, ["n" * 200])


@pytest.mark.parametrize("message", [b"\x0a\x05ab", b"\x0b", b"\xff" * 11, b"\x09\x00", b"\x08"])
def test_what_is_no_message(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|wire type|number"):
        list(fields(message))
