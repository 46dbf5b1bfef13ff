"""The mailbox: messages in pages of a store, each move of them in a module of its own."""

from .box import Mailbox
from .current import current_mailbox, open_mailbox, use_mailbox, use_mailbox_everywhere

__all__ = [
    "Mailbox",
    "current_mailbox",
    "open_mailbox",
    "use_mailbox",
    "use_mailbox_everywhere",
]
