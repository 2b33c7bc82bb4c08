"""Embedders: what turns text into vectors."""

from __future__ import annotations

import os
from typing import Any, Callable

from . import _raptorflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._data import Usage

__all__ = ["Embedder", "function", "gemini", "hashing", "minilm", "ollama", "openai"]


class Embedder:
    """Turns text into vectors; the functions of this module make one."""

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

    @property
    def usage(self) -> Usage:
        """The tokens that a model has read so far, as far as it tells."""
        from ._data import Usage

        return Usage(**self._native.usage)

    def __repr__(self) -> str:
        return f"Embedder({self.identity!r})"


def hashing(dimension: int = 384) -> Embedder:
    """Hashed words and parts of words: needs no model, and knows nothing of meaning."""
    return Embedder(_raptorflow.Embedder.hashing(dimension))


def minilm(folder: str | os.PathLike[str], *, int8: bool = False) -> Embedder:
    """A sentence encoder of the BERT family that runs on this machine, such as all-MiniLM-L6-v2.

    Args:
        folder: Has `model.safetensors` and `tokenizer.json`, as such encoders are published.
        int8: Keeps the weights in 8 bits: faster, with nearly the same vectors.
    """
    provider = "minilm-int8" if int8 else "minilm"
    return Embedder(_raptorflow.Embedder.named(provider, os.fspath(folder), None, None, False))


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


def openai(
    model: str, *, dimension: int | None = None, shorten: bool = False, base_url: str | None = None
) -> Embedder:
    """A model of OpenAI, or of a compatible host; the key is in `OPENAI_API_KEY`.

    Args:
        model: As the host calls it, for example `text-embedding-3-small`.
        dimension: How many numbers a vector has; needed for a model that is not known. A known one gives shorter
            vectors when this says so.
        shorten: Asks a model that is not known for vectors of this dimension too.
        base_url: Where another host's API begins, for example `http://localhost:8000/v1`.
    """
    return Embedder(_raptorflow.Embedder.named("openai", model, base_url, dimension, shorten))


def ollama(
    model: str, *, dimension: int | None = None, shorten: bool = False, base_url: str | None = None
) -> Embedder:
    """A model of Ollama on this machine, or at `base_url`.

    Args:
        model: As Ollama calls it, for example `nomic-embed-text`.
        dimension: How many numbers a vector has; needed for a model that is not known.
        shorten: Asks a model that is not known for vectors of this dimension too.
        base_url: Where Ollama is; `http://localhost:11434` by default.
    """
    return Embedder(_raptorflow.Embedder.named("ollama", model, base_url, dimension, shorten))


def gemini(
    model: str, *, dimension: int | None = None, shorten: bool = False, base_url: str | None = None
) -> Embedder:
    """A model of the Gemini API; the key is in `GEMINI_API_KEY`.

    Args:
        model: For example `gemini-embedding-001`.
        dimension: How many numbers a vector has; needed for a model that is not known. A known one gives shorter
            vectors when this says so.
        shorten: Asks a model that is not known for vectors of this dimension too.
        base_url: Where another API begins.
    """
    return Embedder(_raptorflow.Embedder.named("gemini", model, base_url, dimension, shorten))


async def named(name: str) -> Embedder:
    """The embedder of a name; a model that is not known is asked for the size of its vectors."""
    from ._bridge import current

    return Embedder(await _raptorflow.Embedder.open(current(), name))


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
