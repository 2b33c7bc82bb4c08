"""Every kind of error has its exception, and bad input gives one clear line."""

from __future__ import annotations

import asyncio
import copy
import http.server
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import raptorflow as rf
from raptorflow import errors

ROOT = Path(__file__).parents[2]
CODES = [
    "invalid_input", "invalid_output", "not_found", "already_exists", "conflict", "unauthenticated",
    "permission_denied", "rate_limited", "unavailable", "timeout", "cancelled", "budget_exceeded", "limit_exceeded",
    "unsupported", "corrupt", "callback", "internal",
]  # fmt: skip


def raised(work: Callable[[], Any]) -> rf.RaptorflowError:
    """The error of some work; it prints as one line."""
    with pytest.raises(rf.RaptorflowError) as caught:
        work()
    assert len(str(caught.value).splitlines()) == 1, str(caught.value)
    assert caught.value.operation
    return caught.value


def test_every_kind_has_a_class_of_its_name() -> None:
    assert sorted(errors._BY_CODE) == sorted(CODES)
    for code, kind in errors._BY_CODE.items():
        assert kind.__name__ == "".join(word.capitalize() for word in code.split("_")) + "Error"
        assert getattr(rf, kind.__name__) is kind and issubclass(kind, rf.RaptorflowError)


@pytest.mark.parametrize("code", CODES)
def test_a_kind_that_a_function_raises_comes_back_with_everything_it_said(code: str) -> None:
    own = errors._BY_CODE[code]("not now", operation="shop.open", context={"shop": 7}, retry_after=1.5)

    @rf.agent("shop")
    async def shop(input: str) -> None:
        raise own

    engine = rf.Engine()
    engine.register(shop)
    error = raised(lambda: engine.run_sync("shop", "x"))
    assert type(error) is errors._BY_CODE[code]
    assert (error.code, error.message, error.operation) == (code, "not now", "shop.open")
    assert error.context["shop"] == "7" and error.context["run"] == error.run_id
    assert (error.retry, error.retry_after) == ("after", 1.5)
    assert error.__cause__ is own


def test_any_other_exception_is_a_callback_error_with_its_cause() -> None:
    class Empty(Exception):
        pass

    @rf.agent("pen")
    def pen(input: str) -> None:
        raise Empty("no ink\nat all")

    engine = rf.Engine()
    engine.register(pen)
    error = raised(lambda: engine.run_sync(pen, "x"))
    assert isinstance(error, rf.CallbackError) and isinstance(error.__cause__, Empty)
    assert "Empty: no ink at all" in str(error)
    assert error.__cause__.__traceback__ is not None


def test_an_error_is_data_that_can_be_stored_and_copied() -> None:
    error = rf.NotFoundError("no shop", operation="shop.find", context={"shop": "7"}, retry="soon")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is rf.NotFoundError and str(other) == "shop.find: no shop (shop: 7)"
        assert (other.context, other.retry, other.operation) == ({"shop": "7"}, "soon", "shop.find")


def test_a_timeout_is_also_the_built_in_one() -> None:
    assert issubclass(rf.TimeoutError, TimeoutError)


def test_unknown_names_say_what_is_known() -> None:
    engine = rf.Engine()
    engine.register(rf.Agent("pricing"), rf.Agent("lost", model="nobody:x"), rf.Agent("bare", model="gpt"))
    error = raised(lambda: engine.run_sync("pricng", "x"))
    assert isinstance(error, rf.NotFoundError) and error.context["agent"] == "pricng" and "pricing" in str(error)
    error = raised(lambda: engine.run_sync("pricing", "x"))
    assert isinstance(error, rf.InvalidInputError) and "offline:extractive" in str(error)
    error = raised(lambda: engine.run_sync("lost", "x"))
    assert isinstance(error, rf.NotFoundError) and "offline" in str(error) and error.run_id
    error = raised(lambda: engine.run_sync("bare", "x"))
    assert isinstance(error, rf.InvalidInputError) and "provider:model" in str(error)


def test_a_name_that_is_taken_is_refused() -> None:
    engine = rf.Engine()
    engine.register(rf.Agent("a"))
    assert isinstance(raised(lambda: engine.register(rf.Agent("a"))), rf.AlreadyExistsError)
    engine.register_model("host:m", lambda request: "x")
    again = raised(lambda: engine.register_model("host:m", lambda request: "x"))
    assert isinstance(again, rf.AlreadyExistsError)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: rf.Agent("a/b"), "name"),
        (lambda: rf.Agent("a", limits={"stps": 1}), "stps"),  # type: ignore[call-overload]
        (lambda: rf.Agent("a", kind="chef"), "chef"),  # type: ignore[call-overload]
        (lambda: rf.Agent("a", output_type={"type": "objekt"}), "objekt"),
        (lambda: rf.Agent.from_spec({"name": "a", "colour": "red"}), "colour"),
        (lambda: rf.tool(name="two words")(lambda: 1), "two words"),
        (lambda: rf.tool(timeout=-1)(lambda: 1), "timeout"),
        (lambda: rf.tool(effects="none")(lambda: 1), "effects"),  # type: ignore[call-overload]
        (lambda: rf.embedders.hashing(1), "dimension"),
        (lambda: rf.Engine(tenant="a/b"), "tenant"),
    ],
)
def test_what_cannot_be_made_says_which_value_it_is(make: Callable[[], Any], part: str) -> None:
    def work() -> None:
        made = make()
        engine = rf.Engine(tools=[made] if isinstance(made, rf.Tool) else [])
        engine.register(made)

    error = raised(work)
    assert isinstance(error, rf.InvalidInputError) and part in str(error)


def test_a_bus_refuses_names_and_sizes_that_make_no_sense() -> None:
    bus = rf.Engine().bus
    assert "lag" in str(raised(lambda: bus.subscribe(lag="newest")))  # type: ignore[arg-type]
    assert "Not A Kind" in str(raised(lambda: bus.subscribe(kinds=["Not A Kind"])))
    assert "capacity" in str(raised(lambda: bus.subscribe(capacity=0)))
    assert "invalid character" in str(raised(lambda: bus.subscribe(run="nope")))


@pytest.mark.parametrize(
    ("address", "kind", "part"),
    [
        ("team.db", rf.InvalidInputError, "sqlite"),
        ("oracle:x", rf.InvalidInputError, "sqlite"),
        ("sqlite:", rf.InvalidInputError, ""),
        ("sqlite:{folder}/text.db", rf.CorruptError, "text.db"),
        ("sqlite:{folder}", rf.RaptorflowError, ""),
        ("sqlite:{folder}/missing/team.db", rf.RaptorflowError, "missing"),
    ],
)
def test_storage_that_cannot_be_opened_says_why(
    address: str, kind: type[rf.RaptorflowError], part: str, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("this is not a database, though it is long enough to look like one\n" * 20)
    error = raised(lambda: rf.Engine(address.format(folder=tmp_path)))
    assert isinstance(error, kind) and part in str(error), repr(error)


def test_a_read_only_database_is_refused(tmp_path: Path) -> None:
    with rf.Engine(f"sqlite:{tmp_path}/team.db"):
        pass
    (tmp_path / "team.db").chmod(0o400)
    try:
        (tmp_path / "team.db").open("ab").close()
    except PermissionError:
        error = raised(lambda: rf.Engine(f"sqlite:{tmp_path}/team.db"))
        assert isinstance(error, rf.PermissionDeniedError) and "read-only" in str(error)
    else:
        pytest.skip("permissions do not bind this user")


def test_a_pack_that_is_not_there_or_does_not_fit_says_where(tmp_path: Path) -> None:
    engine = rf.Engine()
    error = raised(lambda: engine.install(tmp_path / "nowhere"))
    assert isinstance(error, rf.NotFoundError) and "pack.toml" in str(error) and "nowhere" in str(error)
    (tmp_path / "domains").mkdir()
    (tmp_path / "agents" / "lost").mkdir(parents=True)
    (tmp_path / "pack.toml").write_text(
        'name = "p"\nversion = "0.1.0"\ndescription = "x"\n'
        "[contents]\ndomains = 0\nagents = 1\nsupervisors = 0\ncapabilities = 0\n"
    )
    (tmp_path / "agents" / "lost" / "lost.toml").write_text('name = "lost"\ndomain = "lost"\ncolour = "red"\n')
    error = raised(lambda: engine.install(tmp_path))
    assert isinstance(error, rf.InvalidInputError) and error.diagnostics
    assert any("lost.toml:3" in line and "colour" in line for line in error.diagnostics), error.diagnostics
    assert engine.agents == []


def test_a_folder_that_cannot_serve_says_what_to_do(tmp_path: Path) -> None:
    def load(path: Path) -> Callable[[], Any]:
        return lambda: asyncio.run(_load(path))

    assert isinstance(raised(load(tmp_path / "none")), rf.NotFoundError)
    assert isinstance(raised(load(tmp_path)), rf.InvalidInputError)
    (tmp_path / "bad.md").write_bytes(b"\xff\xfe\xfa")
    assert any("bad.md" in line for line in raised(load(tmp_path)).diagnostics)
    (tmp_path / "good.md").write_text("# Good\n\nText.\n")
    folder = asyncio.run(_load(tmp_path))
    assert [document.id for document in folder] == ["good.md"] and "bad.md" in folder.left_out[0]


async def _load(path: Path) -> Any:
    return await rf.load_folder(path)


class _Provider(http.server.BaseHTTPRequestHandler):
    """Answers every call with the status that the test set."""

    status = 401

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b'{"error": {"message": "no", "type": "x"}}'
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if self.status == 429:
            # Longer than an engine waits by itself.
            self.send_header("retry-after", "300")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Provider]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    yield _Provider
    server.shutdown()
    server.server_close()


def test_a_wrong_key_and_a_busy_provider_have_their_classes(provider: type[_Provider]) -> None:
    engine = rf.Engine(default_model="openai:gpt-5-mini")
    engine.register(rf.Agent("a"))
    provider.status = 401
    error = raised(lambda: engine.run_sync("a", "x"))
    assert isinstance(error, rf.UnauthenticatedError) and "sk-of-a-test" not in str(error)
    provider.status = 429
    error = raised(lambda: engine.run_sync("a", "x"))
    assert isinstance(error, rf.RateLimitedError) and (error.retry, error.retry_after) == ("after", 300.0)
    provider.status = 503
    error = raised(lambda: engine.run_sync("a", "x"))
    assert isinstance(error, rf.UnavailableError)
    assert (error.retry, error.context["attempts"]) == ("exhausted", "3")


def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    engine = rf.Engine(default_model="openai:gpt-5-mini")
    engine.register(rf.Agent("a"))
    error = raised(lambda: engine.run_sync("a", "x"))
    assert isinstance(error, rf.UnauthenticatedError) and "OPENAI_API_KEY" in str(error)
