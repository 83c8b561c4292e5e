"""Grow a trained model: twice the width, then more layers, computing what it computed.

Net2Net (Chen et al. 2016, arXiv 1511.05641): a larger model begins where the smaller one ended.
Every channel is doubled; where channels are summed each copy gives half, unevenly, so that the
copies part ways in training. New layers add nothing at first.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from training.common.model import GPT

UNEVEN = 0.3  # of the halves: 0.5 +- up to this


def halves(weight: Tensor, random: torch.Generator) -> Tensor:
    """[in, ...] -> [2 in, ...], whose product with a doubled input is the old product."""
    share = 0.5 + UNEVEN * (2 * torch.rand(weight.shape, generator=random) - 1)
    return torch.cat([weight * share, weight * (1 - share)])


def widened(model: GPT, *, seed: int = 0) -> GPT:
    """The same function at twice the width and twice the heads."""
    random = torch.Generator().manual_seed(seed)
    config = model.config
    wide = GPT(replace(config, n_embd=2 * config.n_embd, n_head=2 * config.n_head))
    tensors = {}
    for name, p in model.named_parameters():
        value = p.detach()
        if name.endswith("c_attn.weight"):
            parts = halves(value, random).chunk(3, dim=1)  # query, key, value: heads doubled
            value = torch.cat([torch.cat([part, part], dim=1) for part in parts], dim=1)
        elif name.endswith("c_attn.bias"):
            value = torch.cat([torch.cat([part, part]) for part in value.chunk(3)])
        elif name.endswith(("c_proj.weight", "c_fc.weight")):
            value = halves(value, random)
            value = torch.cat([value, value], dim=1)
        elif name.endswith(("wte.weight", "wpe.weight")):
            value = torch.cat([value, value], dim=1)
        elif ".ln_f." in name:  # the tied head sums twice as many channels
            value = torch.cat([value, value]) / 2
        else:
            value = torch.cat([value, value])
        tensors[name] = value
    wide.load_state_dict(tensors)
    return wide


def deepened(model: GPT, layers: int) -> GPT:
    """The same function with more layers, which add nothing yet."""
    deep = GPT(replace(model.config, n_layer=layers))
    known = dict(model.named_parameters())
    with torch.no_grad():
        for name, p in deep.named_parameters():
            if name in known:
                p.copy_(known[name])
            elif "c_proj" in name:
                p.zero_()
    return deep
