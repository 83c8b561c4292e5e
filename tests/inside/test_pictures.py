"""Pictures: well-formed, every text escaped, the PNG as it was meant."""

import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest

from gpt2edge.errors import ArgumentError
from gpt2edge.inside import Inside, Look
from gpt2edge.inside.pictures import attention, heat_map, lens, png
from gpt2edge.inside.words import fitted, visible

PROMPT = 'He said: "</text><script>&" \u2028 and\x00 then\n'


def unpacked(data: bytes) -> np.ndarray:
    """The pixels of a PNG of our own making."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    at = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    rows = np.frombuffer(zlib.decompress(data[at + 4 : at + 4 + length]), np.uint8)
    return rows.reshape(height, 1 + 3 * width)[:, 1:].reshape(height, width, 3)


def test_a_png_goes_from_white_to_blue() -> None:
    pixels = unpacked(png(np.array([[0.0, 1.0], [0.5, 2.0]])))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [0x1B, 0x6C, 0xA8]
    assert pixels[1, 1].tolist() == [0x1B, 0x6C, 0xA8]
    assert pixels[1, 0].tolist() == [141, 182, 212] or abs(int(pixels[1, 0, 0]) - 141) <= 1


def test_pictures_are_well_formed_xml(scope: Inside) -> None:
    seen = Look(scope, PROMPT)
    for picture in (
        lens(scope, seen.lens(top=1)),
        attention(seen.cache),
        attention(seen.cache, 2, 1),
        heat_map(np.eye(2), ["<a>", "&"], ['"', "'"], title="<t>"),
    ):
        root = ElementTree.fromstring(picture)
        assert root.tag.endswith("svg")
        assert "<script" not in picture
        assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert seen.picture() == lens(scope, seen.lens(top=1))
    assert seen.picture((2, 1)) == attention(seen.cache, 2, 1)
    with pytest.raises(ArgumentError, match="head is 9"):
        attention(seen.cache, 0, 9)


def test_words_are_to_be_seen_and_of_one_width() -> None:
    assert visible(" a\n\tb") == "\u00b7a\u21b5\u21e5b"
    assert visible("\x00\u200b\u2028") == "\ufffd" * 3
    assert visible("") == "\u2205"
    assert fitted("abc", 5) == "abc  "
    assert fitted("abcdef", 4) == "abcd"
    assert fitted("\u4e2d\u6587", 3) == "\u4e2d "  # two columns each
    assert fitted("e\u0301x", 3) == "e\u0301x "
