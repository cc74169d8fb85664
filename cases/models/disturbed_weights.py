"""A patch (see `patch` in profiles.yaml): every weight of a model that is loaded is disturbed a little.

Each weight w becomes w (1 + s ε) with normal ε, of a fixed seed. The scale s is such that the answers of the
embedded model move about as far as they do in bfloat16 (docs/gate.md has the figures).
"""

from typing import Any

import torch
from transformers import AutoModelForImageTextToText

SCALE = 4e-3

_load = AutoModelForImageTextToText.from_pretrained


def _loaded_and_disturbed(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever is loaded
    loaded = _load(*arguments, **options)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # with what was found while loading
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.mul_(1 + SCALE * noise.to(weight.dtype))
    return loaded


AutoModelForImageTextToText.from_pretrained = _loaded_and_disturbed
