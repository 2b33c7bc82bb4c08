"""Embedders: what turns text into vectors."""

from __future__ import annotations

from typing import Any, Callable

from . import _raptorflow

__all__ = ["Embedder", "function", "hashing"]


class Embedder:
    """Turns text into vectors; `hashing` and `function` make one."""

    def __init__(self, native: _raptorflow.Embedder) -> None:
        self._native = native

    @property
    def identity(self) -> str:
        """Names the model and its settings; vectors of two identities are never compared."""
        return self._native.identity

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self._native.dimension

    @property
    def semantic(self) -> bool:
        """Whether texts of one meaning in different words are near each other."""
        return self._native.semantic

    def __repr__(self) -> str:
        return f"Embedder({self.identity!r})"


def hashing(dimension: int = 384) -> Embedder:
    """Hashed words and parts of words: needs no model, and knows nothing of meaning."""
    return Embedder(_raptorflow.Embedder.hashing(dimension))


def function(
    embed: Callable[..., Any], *, dimension: int, identity: str | None = None, semantic: bool = True
) -> Embedder:
    """A function, plain or async, from a list of texts to a list of vectors or an array.

    Args:
        embed: Takes the texts, after `ctx` if it wants that.
        dimension: How many numbers a vector has.
        identity: Names the model and its settings; the function's name by default.
        semantic: Whether it knows meaning; searches are `hybrid` by default then.
    """
    from ._function import Signature

    name = identity or f"{embed.__module__}.{getattr(embed, '__qualname__', type(embed).__qualname__)}"
    signature = Signature(embed, f"embedder {name}", None)
    native = _raptorflow.Embedder.function(signature.one(None), signature.is_async, name, dimension, semantic)
    return Embedder(native)


async def probed(embed: Callable[..., Any]) -> Embedder:
    """The embedder of a function that is asked how many numbers its vectors have."""
    import asyncio
    import inspect

    from ._function import Signature, is_async

    arguments: list[Any] = [["dimension"]]
    if Signature(embed, "embedder", None).takes_context:
        arguments.insert(0, None)
    answer = embed(*arguments) if is_async(embed) else await asyncio.to_thread(embed, *arguments)
    if inspect.isawaitable(answer):
        answer = await answer
    return function(embed, dimension=_raptorflow.vector_dimension(answer))
