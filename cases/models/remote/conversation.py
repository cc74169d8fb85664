"""Conversation templates: how turns become one text."""

import copy
from dataclasses import dataclass, field


@dataclass
class Conversation:
    """Turns in the manner of ChatML; a system turn is written only where there is a system message."""

    name: str
    system_message: str = ""
    roles: tuple = ("<|im_start|>user\n", "<|im_start|>assistant\n")
    sep: str = "<|im_end|>\n"
    messages: list = field(default_factory=list)

    def append_message(self, role, message):
        """Add a turn; None leaves it open, for the model to write."""
        self.messages.append([role, message])

    def get_prompt(self):
        """All turns as one text."""
        system = f"<|im_start|>system\n{self.system_message}{self.sep}" if self.system_message else ""
        turns = (
            role + (message + self.sep if message is not None else "") for role, message in self.messages
        )
        return system + "".join(turns)


_TEMPLATES = {"plain": Conversation(name="plain")}


def get_conv_template(name):
    """A new conversation by a template's name."""
    return copy.deepcopy(_TEMPLATES[name])
