"""The asynchronous client and guard, with the same calls as their synchronous counterparts."""

from consentry.aio.client import AsyncPhotoBytes, AsyncPhotoStream, Client
from consentry.aio.guard import Guard, Permit

__all__ = ["AsyncPhotoBytes", "AsyncPhotoStream", "Client", "Guard", "Permit"]
