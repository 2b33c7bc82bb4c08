"""Knowledge bases: documents in, cited passages out."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Literal, Mapping

from . import _raptorflow
from ._data import Citation, CitedContext, Document, Hit, IngestReport, Passage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from .embedders import Embedder

    _Mode = Literal["dense", "lexical", "graph", "hybrid"]

class KnowledgeBase:
    """Documents that are chunked, embedded, indexed and searched; `KnowledgeBase.open` makes one."""

    def __init__(self, native: _raptorflow.KnowledgeBase) -> None:
        self._native = native

    @classmethod
    async def open(
        cls,
        uri: str = "memory:",
        *,
        embedder: Embedder | str | Callable[..., Any],
        name: str | None = None,
        tenant: str | None = None,
    ) -> KnowledgeBase:
        """Opens one in a store, for example `sqlite:kb.db`, `postgres://user@host/database` or `memory:`.

        Args:
            uri: Where documents and vectors are kept.
            embedder: One of `raptorflow.embedders`, a name like `openai:text-embedding-3-small` or `hashing:384`, or
                a function, plain or async, from texts to vectors. A function and a model that is not known are asked
                once for the size of their vectors.
            name: Its name in the store, so that one store may hold several.
            tenant: Whose documents these are.
        """
        from ._bridge import caller
        from .embedders import Embedder, named, probed

        if isinstance(embedder, Embedder):
            ready = embedder
        else:
            ready = await (named(embedder) if isinstance(embedder, str) else probed(embedder))
        opened = await _raptorflow.KnowledgeBase.open(caller(), uri, ready._native, name, tenant)
        return cls(opened)

    async def add(self, documents: Iterable[Document | Mapping[str, Any]], *, strict: bool = False) -> IngestReport:
        """Adds documents; one of an id that exists replaces it, and one that did not change costs nothing.

        Args:
            documents: Documents, or dicts with their fields.
            strict: Whether a document that cannot be used is an error, instead of being told in the report.
        """
        from ._bridge import caller

        plain = [each._plain() if isinstance(each, Document) else dict(each) for each in documents]
        report = await self._native.add(caller(), plain, strict)
        report["skipped"] = [f"{each.get('file', '')}: {each['message']}" for each in report["skipped"]]
        return IngestReport(**report)

    async def search(
        self, query: str, *, k: int = 10, mode: _Mode | None = None, filter: Mapping[str, Any] | None = None
    ) -> list[Hit]:
        """The best pieces of documents for a query, best first.

        Args:
            query: What to search for.
            k: How many hits at most.
            mode: Which indexes to ask; `hybrid` by default with an embedder that knows meaning, else `graph`.
            filter: Conditions on metadata that must all hold; a list means one of its values.
        """
        from ._bridge import caller

        hits = await self._native.search(caller(), query, k, mode, dict(filter or {}))
        return [Hit(**each) for each in hits]

    async def context(self, query: str, *, max_tokens: int = 2000) -> CitedContext:
        """The best passages for a query within about `max_tokens`, with where they stand."""
        from ._bridge import caller

        found = await self._native.context(caller(), query, max_tokens)
        return CitedContext(
            found["text"],
            [Citation(**each) for each in found["citations"]],
            [Passage(**each) for each in found["passages"]],
            found["tokens"],
        )

    async def delete(self, id: str) -> bool:
        """Removes a document and says whether there was one."""
        from ._bridge import caller

        return await self._native.delete(caller(), id)

    def get(self, id: str) -> Document | None:
        """A document; `None` when there is none of this id."""
        found = self._native.get(id)
        return None if found is None else Document(**found)

    def ids(self) -> list[str]:
        """The ids of all documents, in order."""
        return self._native.ids()

    def __len__(self) -> int:
        return len(self._native.ids())


class Folder(list[Document]):
    """The documents of a folder, and in `left_out` one line for each file that was not read."""

    left_out: list[str]


async def load_folder(path: str | PathLike[str]) -> Folder:
    """Reads every Markdown and text file of a folder and its sub-folders; ids and sources are paths inside it."""
    from ._bridge import current

    documents, left_out = await _raptorflow.load_folder(current(), path)
    folder = Folder(Document(**each) for each in documents)
    folder.left_out = left_out
    return folder
