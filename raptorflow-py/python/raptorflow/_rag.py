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

class Rerank:
    """A step of a search: the best candidates are read again by a reranker, whose order counts.

        rerank = rf.Rerank("cohere:rerank-v3.5", candidates=30)
        kb = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing(), rerank=rerank)
    """

    def __init__(
        self,
        reranker: str | Callable[..., Any],
        *,
        name: str | None = None,
        candidates: int | None = None,
        max_tokens: int | None = None,
        timeout: float | None = None,
        keep_order: bool = False,
        base_url: str | None = None,
    ) -> None:
        """A step.

        Args:
            reranker: A model of `cohere`, `jina` or `voyage`, whose key is in `COHERE_API_KEY` and so on; or a
                function, plain or async, that gets a question and a list of documents, after `ctx` if it wants that,
                and gives a score for each document, the higher, the better.
            name: What a function is called in errors; its own name by default.
            candidates: How many of the best are read again; 50 by default.
            max_tokens: About how many tokens they have together at most; 30,000 by default.
            timeout: Seconds that it may take, all tries together; 10 by default.
            keep_order: Whether the order of the indexes stays when the reranker fails, and a warning on the bus says
                so; by default the search fails.
            base_url: Where another host's API begins.
        """
        given = {"candidates": candidates, "max_tokens": max_tokens, "timeout_seconds": timeout}
        settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        settings["on_failure"] = "keep_order" if keep_order else "fail"
        if isinstance(reranker, str):
            self._native = _raptorflow.Rerank.named({**settings, "model": reranker}, base_url)
            return
        from ._function import Signature

        function = reranker
        settings["model"] = name or getattr(function, "__qualname__", type(function).__qualname__)
        signature = Signature(function, f"reranker {settings['model']}", None)

        def call(ctx: Any, asked: tuple[str, list[str]]) -> Any:
            return function(ctx, *asked) if signature.takes_context else function(*asked)

        self._native = _raptorflow.Rerank.function(settings, call, signature.is_async)


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
        rerank: Rerank | None = None,
    ) -> KnowledgeBase:
        """Opens one in a store, for example `sqlite:kb.db`, `postgres://user@host/database` or `memory:`.

        Args:
            uri: Where documents and vectors are kept.
            embedder: One of `raptorflow.embedders`, a name like `openai:text-embedding-3-small` or `hashing:384`, or
                a function, plain or async, from texts to vectors. A function and a model that is not known are asked
                once for the size of their vectors.
            name: Its name in the store, so that one store may hold several.
            tenant: Whose documents these are.
            rerank: Has the best candidates of every search and context read again.
        """
        from ._bridge import caller
        from .embedders import Embedder, named, probed

        if isinstance(embedder, Embedder):
            ready = embedder
        else:
            ready = await (named(embedder) if isinstance(embedder, str) else probed(embedder))
        step = None if rerank is None else rerank._native
        opened = await _raptorflow.KnowledgeBase.open(caller(), uri, ready._native, name, tenant, step)
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
        self,
        query: str,
        *,
        k: int = 10,
        mode: _Mode | None = None,
        filter: Mapping[str, Any] | None = None,
        rerank: bool = True,
    ) -> list[Hit]:
        """The best pieces of documents for a query, best first.

        Args:
            query: What to search for.
            k: How many hits at most.
            mode: Which indexes to ask; `hybrid` by default with an embedder that knows meaning, else `graph`.
            filter: Conditions on metadata that must all hold; a list means one of its values.
            rerank: Whether the step that the knowledge base was opened with is taken.
        """
        from ._bridge import caller

        hits = await self._native.search(caller(), query, k, mode, dict(filter or {}), rerank)
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
