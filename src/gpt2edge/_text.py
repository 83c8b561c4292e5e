"""Decoding of text from stdin, a text file or a JSON file; arguments are not decoded here."""

import codecs

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_of(data: bytes, origin: str) -> str:
    """Decode UTF-8 ``data``: remove a leading byte order mark, turn CRLF into newlines.

    Editors and shells on Windows add both, and no model was trained on them. A single carriage
    return stays. Raises ValueError that names ``origin`` and the first byte that is not UTF-8.
    """
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + len(data) - len(error.object)
        hint = ": it looks like UTF-16; save it as UTF-8" if data.startswith(_UTF16) else ""
        raise ValueError(
            f"{origin} is not UTF-8 text: byte 0x{data[offset]:02x} at offset {offset}{hint}"
        ) from None
    return text.replace("\r\n", "\n")
