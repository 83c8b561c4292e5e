"""The page: one file that loads nothing, safe for any token, the same bytes for the same input."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gpt2edge.inside import Inside, Look, direct_logit_attribution, page, page_data

HOSTILE = "</script><script>alert(1)</script> <!-- \"' & \u2028 \x00 \n\ud7ff </td>"


class Reader(HTMLParser):
    """Collects tags, attributes and the contents of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)


@pytest.fixture(scope="module")
def look(scope: Inside) -> Look:
    return Look(scope, HOSTILE)


def test_a_page_loads_nothing_and_runs_its_own_script_alone(look: Look) -> None:
    text = page(look, title="<b>")
    found = Reader(text)
    assert not found.open
    assert found.tags.count("script") == 2
    assert not {name for name, _ in found.attributes} & {"src", "href", "srcset", "action"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    _, script = found.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [value for name, value in found.attributes if value and "default-src" in value]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "alert(1)</script>" not in text
    assert "<title>&lt;b&gt;</title>" in text
    assert not re.search(r"https?://|@import|url\(", text)
    assert page(look, title="<b>") == text


def test_the_data_are_those_of_the_look(look: Look) -> None:
    data = json.loads(Reader(page(look)).scripts[0])
    assert data == json.loads(json.dumps(page_data(look)))
    tokens = len(look.token_ids)
    triangle = tokens * (tokens + 1) // 2
    bytes_ = np.frombuffer(base64.b64decode(data["attention"]), np.uint8).reshape(6, 4, triangle)
    rows, columns = np.tril_indices(tokens)
    want = look.cache["pattern", 3][2][rows, columns]
    assert np.abs(bytes_[3, 2] / 255 - want).max() <= 0.5 / 255 + 1e-6
    found = direct_logit_attribution(look.scope, look.token_ids, unit="head")
    values = dict(zip(found.labels, found.attribution, strict=True))
    for label, value in data["attribution"][-1]:
        assert value == pytest.approx(values[label], abs=2e-3)
    by_neuron = direct_logit_attribution(look.scope, look.token_ids, unit="neuron")
    neurons = dict(zip(by_neuron.labels, by_neuron.attribution, strict=True))
    best = max((label for label in neurons if "N" in label), key=lambda each: abs(neurons[each]))
    assert data["neurons"][-1][0][0] == best
    assert data["neurons"][-1][0][1] == pytest.approx(neurons[best], abs=2e-3)


def test_without_the_script_there_are_tables(look: Look) -> None:
    text = page(look)
    assert text.count('<tr><th scope="row">') == 7
    assert text.count("<li ") == len(look.token_ids)
    assert "<noscript>" in text
    assert 'lang="en"' in text


def test_a_long_prompt_is_refused(scope: Inside) -> None:
    with pytest.raises(ValueError, match="a page holds 256: give a shorter prompt"):
        page(Look(scope, [5] * 257))
