"""The GPU that interpreted kernels are told of, and what may be claimed of them. Standard library only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Final, NamedTuple

from harness.engines.contract import EngineSettings

__all__ = ["Card", "card_of", "claim", "cuda_of", "is_interpreted"]


class Card(NamedTuple):
    """A pretended GPU: compute capability and number of streaming multiprocessors.

    Both choose branches, block sizes and splits in LMDeploy's Python code and in its kernels.
    """

    name: str
    capability: tuple[int, int]
    processors: int


_CARDS: Final = {
    "sm80": Card("sm80", (8, 0), 108),  # A100
    "sm90": Card("sm90", (9, 0), 132),  # H100 SXM
}


def is_interpreted(settings: EngineSettings) -> bool:
    """Whether the engine runs LMDeploy's own kernels, interpreted."""
    return settings.options.get("kernels") == "interpreted"


def card_of(settings: EngineSettings) -> Card:
    """The card that an engine's ``card`` and ``processors`` name; an A100 where they are left out."""
    card = _CARDS[str(settings.options.get("card", "sm80"))]
    processors = settings.options.get("processors")
    return card._replace(processors=processors) if isinstance(processors, int) else card


def claim(card: Card) -> str:
    """What an answer of such kernels is, in the words that stand wherever their results do."""
    return f"LMDeploy's Triton kernels, interpreted on a CPU as {card.name}: no evidence about compiled code"


def cuda_of(card: Card) -> dict[str, object]:
    """What ``torch.cuda`` says of the card, by name."""
    properties = SimpleNamespace(
        name=f"pretended {card.name}",
        major=card.capability[0],
        minor=card.capability[1],
        total_memory=80 << 30,
        multi_processor_count=card.processors,
    )
    return {
        "current_device": lambda: 0,
        "get_device_capability": lambda device=None: card.capability,  # noqa: ARG005 - called by that name
        "get_device_properties": lambda device=None: properties,  # noqa: ARG005
    }
