"""What each kind of engine needs in its interpreter. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ARCHITECTURES", "IN_REQUIREMENTS", "LOADED_NAMES", "REQUIREMENTS"]

REQUIREMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "api": ("httpx2>=2.12", "pillow>=10.4"),
    "torch": ("jinja2>=3.1", "pillow>=10.4", "torch>=2.6", "torchvision>=0.21", "transformers>=4.46"),
    "lmdeploy": ("lmdeploy>=0.12", "pillow>=10.4"),
}
"""What each kind of engine needs in its interpreter, as the extras of the same names say."""

LOADED_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "torch": ("transformers.AutoModelForImageTextToText", "transformers.AutoProcessor"),
    "lmdeploy": ("lmdeploy.pipeline", "lmdeploy.GenerationConfig", "lmdeploy.PytorchEngineConfig"),
}
"""What each kind of engine cannot do without in its library, whatever the version."""

ARCHITECTURES: Final[Mapping[str, str]] = {
    "pytorch": "lmdeploy.pytorch.models.module_map.MODULE_MAP",
    "turbomind": "lmdeploy.turbomind.supported_models.SUPPORTED_ARCHS",
}
"""By LMDeploy's backends, the table whose keys are the architectures that it has a class for."""

IN_REQUIREMENTS: Final = {
    "PIL",
    "httpx2",
    "jinja2",
    "lmdeploy",
    "numpy",
    "torch",
    "torchvision",
    "transformers",
}
"""The modules that installing those brings, by the names that are imported."""
