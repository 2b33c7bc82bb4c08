"""Knowledge bases: documents, searches, context, embedders of the host."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Coroutine, TypeVar

import pytest

import raptorflow as rf

T = TypeVar("T")
DOCUMENTS = [
    rf.Document("plans", "# Plans\n\nThe basic plan costs 499 rupees.", metadata={"lang": "en", "n": 1}),
    rf.Document("refunds", "# Refunds\n\nMoney goes back within seven days.", source="faq.md", kind="policy"),
]


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def base(**options: Any) -> rf.KnowledgeBase:
    kb = await rf.KnowledgeBase.open(**{"embedder": rf.embedders.hashing(64), **options})
    await kb.add(DOCUMENTS)
    return kb


def test_documents_come_and_go() -> None:
    async def main() -> None:
        kb = await base()
        assert (kb.ids(), len(kb)) == (["plans", "refunds"], 2)
        assert kb.get("plans") == DOCUMENTS[0] and kb.get("none") is None
        report = await kb.add([DOCUMENTS[0], {"id": "new", "text": "New."}, rf.Document("refunds", "Changed.")])
        assert (report.added, report.updated, report.unchanged, report.skipped) == (1, 1, 1, [])
        assert await kb.delete("new") is True and await kb.delete("new") is False
        report = await kb.add([rf.Document("", "x"), rf.Document("empty", " ")])
        assert report.added == 0 and len(report.skipped) == 2 and "empty" in report.skipped[1]
        with pytest.raises(rf.InvalidInputError):
            await kb.add([rf.Document("empty", " ")], strict=True)
        with pytest.raises(rf.InvalidInputError, match="colour"):
            await kb.add([{"id": "a", "text": "b", "colour": "red"}])
        with pytest.raises(rf.InvalidInputError) as refused:
            await kb.add([rf.Document("a", "b", metadata={"x": {1}})])
        assert refused.value.context["at"] == "$[0].metadata.x"

    run(main())


def test_hits_say_where_they_stand() -> None:
    async def main() -> None:
        kb = await base()
        (hit,) = await kb.search("how much is the basic plan?", k=1)
        assert (hit.document, hit.source, hit.lines) == ("plans", "plans", (1, 3))
        text = DOCUMENTS[0].text.encode()
        assert text[hit.bytes[0] : hit.bytes[1]].decode() == hit.text
        assert hit.metadata == {"lang": "en", "n": 1} and hit.score > 0 and hit.parts["lexical"] > 0
        (hit,) = await kb.search("how much is the basic plan?", k=1, mode="lexical")
        assert hit.parts["lexical"] == hit.score
        (hit,) = await kb.search("money", k=5, filter={"kind": "policy"})
        assert hit.source == "faq.md"
        assert await kb.search("money", filter={"lang": ["en", "hi"]}) == []
        with pytest.raises(rf.InvalidInputError, match="mode"):
            await kb.search("money", mode="fuzzy")  # type: ignore[arg-type]
        with pytest.raises(OverflowError):
            await kb.search("money", k=-1)

    run(main())


def test_context_is_cited() -> None:
    async def main() -> None:
        context = await (await base()).context("basic plan", max_tokens=100)
        assert context.text.startswith("[1] plans:1-3") and 0 < context.tokens <= 100
        assert [(c.number, c.document, c.lines) for c in context.citations][0] == (1, "plans", (1, 3))
        assert context.passages[0].text in DOCUMENTS[0].text
        assert (await (await base()).context("basic plan", max_tokens=1)).citations == []

    run(main())


def test_a_file_keeps_them(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/kb.db"
    run(base(uri=address))
    assert run(rf.KnowledgeBase.open(address, embedder=rf.embedders.hashing(64))).ids() == ["plans", "refunds"]
    assert run(rf.KnowledgeBase.open(address, embedder=rf.embedders.hashing(64), name="other")).ids() == []
    with pytest.raises(rf.RaptorflowError, match="embed"):
        run(rf.KnowledgeBase.open(address, embedder=rf.embedders.hashing(65)))


def letters(texts: list[str]) -> list[list[float]]:
    return [[text.lower().count(letter) + 0.01 for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


async def letters_later(texts: list[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return letters(texts)


class Array:
    """What numpy's arrays have that matters here."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = rows

    def tolist(self) -> list[list[float]]:
        return self.rows


@pytest.mark.parametrize(
    "embedder",
    [
        letters,
        letters_later,
        lambda texts: Array(letters(texts)),
        lambda ctx, texts: letters(texts),
        rf.embedders.function(letters, dimension=26, identity="letters", semantic=False),
    ],
)
def test_any_function_can_be_an_embedder(embedder: Any) -> None:
    async def main() -> None:
        kb = await base(embedder=embedder)
        (hit,) = await kb.search("zzz refunds", k=1, mode="dense")
        assert hit.document == "refunds" and hit.parts["dense"] is not None

    run(main())


def test_an_embedder_says_what_it_is() -> None:
    made = rf.embedders.function(letters, dimension=26)
    assert (made.dimension, made.semantic) == (26, True) and made.identity.endswith(".letters")
    assert not rf.embedders.hashing().semantic and rf.embedders.hashing().dimension == 384


@pytest.mark.parametrize(
    "bad",
    [
        lambda texts: [[1.0, 2.0]] * (len(texts) + 1),
        lambda texts: [[1.0]] * len(texts),
        lambda texts: [[float("nan"), 1.0]] * len(texts),
        lambda texts: "text",
        lambda texts: None,
    ],
)
def test_vectors_that_do_not_fit_are_refused(bad: Any) -> None:
    async def main() -> None:
        kb = await rf.KnowledgeBase.open(embedder=rf.embedders.function(bad, dimension=2, identity="bad"))
        await kb.add(DOCUMENTS)

    with pytest.raises(rf.InvalidOutputError):
        run(main())


def test_an_embedder_that_fails_is_a_callback_error_with_its_cause() -> None:
    def broken(texts: list[str]) -> Any:
        raise LookupError("no weights")

    async def main() -> None:
        kb = await rf.KnowledgeBase.open(embedder=rf.embedders.function(broken, dimension=2))
        await kb.add(DOCUMENTS)

    with pytest.raises(rf.CallbackError) as caught:
        run(main())
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(LookupError):
        run(rf.KnowledgeBase.open(embedder=broken))


def test_a_document_brings_its_own_vector() -> None:
    async def main() -> None:
        kb = await rf.KnowledgeBase.open(embedder=rf.embedders.function(letters, dimension=26))
        await kb.add([rf.Document("a", "text", vector=letters(["zzz"])[0]), rf.Document("b", "aaa")])
        (hit,) = await kb.search("zz", k=1, mode="dense")
        assert hit.document == "a"

    run(main())


def test_an_agent_with_retrieval_is_given_passages() -> None:
    async def main() -> None:
        engine = rf.Engine(default_model="offline:extractive")
        engine.register(rf.Agent("reader", retrieval={"required": True, "max_tokens": 100}))
        with pytest.raises(rf.InvalidInputError, match="knowledge"):
            await engine.run("reader", "basic plan")
        engine.use_knowledge(await base(embedder=letters_later))
        outcome = await engine.run("reader", "What does the basic plan cost?")
        assert "499" in outcome.text and outcome.passages[0].number == 1
        assert outcome.cost is not None and outcome.cost.micros == 0 and str(outcome.cost) == "0.000000 USD"

    run(main())


class Embeddings(BaseHTTPRequestHandler):
    """Answers on OpenAI's and Ollama's wire: a text that names a dog points elsewhere than others."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        vectors = [[0.0, 1.0] if "og" in text else [1.0, 0.0] for text in body["input"]]
        answer: dict[str, Any] = {"embeddings": vectors, "prompt_eval_count": len(vectors)}
        if self.path == "/v1/embeddings":
            answer = {"data": [{"embedding": each} for each in vectors], "usage": {"prompt_tokens": len(vectors)}}
        plain = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(plain)))
        self.end_headers()
        self.wfile.write(plain)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_remote_model_embeds_and_counts_its_tokens() -> None:
    async def main(url: str) -> None:
        for make in (rf.embedders.openai, rf.embedders.ollama):
            embedder = make("own", dimension=2, base_url=f"{url}/v1")
            assert embedder.usage == rf.Usage()
            kb = await rf.KnowledgeBase.open(embedder=embedder)
            await kb.add([rf.Document("cats", "Cats purr."), rf.Document("dogs", "Dogs bark.")])
            (hit,) = await kb.search("Which dog?", k=1, mode="dense")
            assert (hit.document, embedder.usage) == ("dogs", rf.Usage(input_tokens=3))

    server = HTTPServer(("127.0.0.1", 0), Embeddings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        run(main(f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_embedders_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)

    async def main() -> None:
        kb = await base(embedder="hashing:64")
        assert len(await kb.search("money", k=1)) == 1
        with pytest.raises(rf.NotFoundError) as unknown:
            await rf.KnowledgeBase.open(embedder="opnai:x")
        assert unknown.value.context["registered"] == "gemini, hashing, minilm, minilm-int8, ollama, openai"
        with pytest.raises(rf.UnauthenticatedError) as refused:
            await rf.KnowledgeBase.open(embedder="openai:text-embedding-3-small")
        assert refused.value.context["secret"] == "OPENAI_API_KEY"

    run(main())
    with pytest.raises(rf.UnauthenticatedError):
        rf.embedders.gemini("gemini-embedding-001")
    with pytest.raises(rf.InvalidInputError) as unsized:
        rf.embedders.ollama("own")
    assert unsized.value.context["field"] == "dimension"
    assert rf.embedders.ollama("nomic-embed-text").dimension == 768


def test_a_function_reranks_what_was_found() -> None:
    async def work() -> None:
        asked: list[tuple[str, int]] = []

        def later_is_better(query: str, documents: list[str]) -> list[float]:
            asked.append((query, len(documents)))
            return [float(place) for place in range(len(documents))]

        kb = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing(), rerank=rf.Rerank(later_is_better, candidates=4))
        await kb.add([rf.Document(id=f"{each}.md", text="tides " * each + "and more") for each in (1, 2, 3)])
        plain = [hit.document for hit in await kb.search("tides", rerank=False)]
        hits = await kb.search("tides")
        assert [hit.document for hit in hits] == plain[::-1]
        assert (hits[0].score, hits[0].parts["rerank"]) == (2.0, 2.0)
        assert asked == [("tides", 3)]

    asyncio.run(work())


def test_a_reranker_that_fails_keeps_the_order_where_that_is_wanted() -> None:
    async def work() -> None:
        async def broken(ctx: rf.Context, query: str, documents: list[str]) -> list[float]:
            raise rf.UnavailableError("down")

        def short(query: str, documents: list[str]) -> list[float]:
            return [1.0]

        async def found(rerank: rf.Rerank) -> list[rf.Hit]:
            kb = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing(), rerank=rerank)
            await kb.add([rf.Document(id=f"{each}.md", text="tides and more") for each in (1, 2)])
            return await kb.search("tides")

        assert len(await found(rf.Rerank(broken, keep_order=True))) == 2
        with pytest.raises(rf.InvalidOutputError) as refused:
            await found(rf.Rerank(short, name="test:short"))
        assert refused.value.context["reranker"] == "test:short"

    asyncio.run(work())


def test_a_reranker_of_a_provider_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COHERE_API_KEY", raising=False)
    with pytest.raises(rf.UnauthenticatedError):
        rf.Rerank("cohere:rerank-v3.5")
    with pytest.raises(rf.NotFoundError):
        rf.Rerank("cohre:rerank-v3.5")
    monkeypatch.setenv("COHERE_API_KEY", "a key")
    rf.Rerank("cohere:rerank-v3.5", base_url="http://localhost:9/v2", timeout=2.5)
