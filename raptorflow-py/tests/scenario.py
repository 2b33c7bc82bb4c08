"""Plays one scenario of `tests/scenarios` through the Python binding; `README.md` there says what one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import raptorflow as rf
from raptorflow import errors

FOLDER = Path(__file__).parents[2] / "tests" / "scenarios"
FIELDS = {
    "scenario": {
        "name", "about", "storage", "model", "other_model", "settings", "tools", "functions", "agents", "workflows",
        "patterns", "knowledge", "steps",
    },
    "fault": {"kind", "message", "retry_after"},
    "reply": {"text", "tool_calls", "usage", "error"},
    "tool": {"name", "description", "parameters", "effects", "behavior"},
    "function": {"name", "description", "behavior"},
    "behavior": {"kind", "message", "value"},
    "source": {"id", "text", "metadata"},
    "step": {
        "run", "ask", "start", "outcome", "resume", "cancel", "pause", "signal", "fork", "state", "set_cap", "usage",
        "define", "search", "reopen", "expect",
    },
    "run": {"agent", "input", "capability", "user"},
    "cap": {"run", "money"},
    "whose": {"run", "user"},
    "spent": {"calls", "cost", "models"},
    "layers": {"breakers", "cache_hits", "refused"},
    "ask": {"question", "schema", "agent", "model", "instructions", "background", "repairs", "stream"},
    "part": {"value", "open", "again"},
    "signal": {"run", "name", "value", "by"},
    "place": {"run", "at"},
    "changed": {"workflows"},
    "search": {"query", "k", "mode", "filter"},
    "expect": {
        "output", "finish", "usage", "cost", "spent", "layers", "passages", "error", "events", "requests",
        "model_calls", "tool_calls", "function_calls", "documents", "parts", "state",
    },
    "state": {"status", "input", "steps", "outputs", "signals", "forked_at"},
    "error": {"kind", "context", "says", "problems"},
    "request": {"roles", "first", "last", "tools", "passages", "results"},
    "result": {"id", "name", "content", "error", "says"},
    "call": {"name", "arguments"},
    "entry": {"name", "input"},
}  # fmt: skip
MISSING = object()


def known(what: str, given: dict[str, Any]) -> dict[str, Any]:
    """The value itself; a field that is not listed fails the scenario."""
    unknown = given.keys() - FIELDS[what]
    assert not unknown, f"{what}: unknown fields {sorted(unknown)}"
    return given


def load(path: Path) -> dict[str, Any]:
    scenario = known("scenario", json.loads(path.read_text("utf-8")))
    assert scenario["name"] == path.stem
    return scenario


class Host:
    """The model, the tools and the function agents, which do what the file says and note each call."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.replies = [known("reply", reply) for reply in scenario.get("model", [])]
        self.other_replies = [known("reply", reply) for reply in scenario.get("other_model", [])]
        self.failed_once: set[str] = set()
        self.unscripted = 0
        self.clear()

    def clear(self) -> None:
        self.requests: list[rf.ChatRequest] = []
        self.tool_calls: list[dict[str, Any]] = []
        self.function_calls: list[dict[str, Any]] = []

    async def model(self, request: rf.ChatRequest) -> Any:
        return self.reply(self.replies, request)

    def other_model(self, request: rf.ChatRequest) -> Any:
        return self.reply(self.other_replies, request)

    def reply(self, replies: list[dict[str, Any]], request: rf.ChatRequest) -> Any:
        self.requests.append(request)
        if not replies:
            self.unscripted += 1
            raise rf.InternalError("no reply is left")
        reply = replies.pop(0)
        if "error" in reply:
            fault = known("fault", reply["error"])
            raise errors._BY_CODE[fault["kind"]](fault["message"], retry_after=fault.get("retry_after"))
        return reply

    def tool(self, spec: dict[str, Any]) -> rf.Tool[..., Any]:
        known("tool", spec)

        def function(**arguments: Any) -> Any:
            self.tool_calls.append({"name": spec["name"], "arguments": arguments})
            return self.act(spec["name"], spec["behavior"], arguments)

        return rf.tool(
            name=spec["name"],
            description=spec["description"],
            parameters=spec["parameters"],
            effects=spec.get("effects", "read"),
        )(function)

    def function(self, spec: dict[str, Any]) -> rf.FunctionAgent[..., Any]:
        known("function", spec)

        async def function(input: Any) -> Any:
            self.function_calls.append({"name": spec["name"], "input": input})
            return self.act(spec["name"], spec["behavior"], input)

        return rf.agent(spec["name"], description=spec.get("description", ""))(function)

    def workflow(self, spec: dict[str, Any], functions: list[dict[str, Any]]) -> rf.Workflow:
        """A workflow, whose steps may call the functions of the scenario."""

        def step(function: dict[str, Any]) -> Any:
            def call(input: Any) -> Any:
                self.function_calls.append({"name": function["name"], "input": input})
                return self.act(function["name"], function["behavior"], input)

            return call

        steps = {function["name"]: step(function) for function in functions}
        return rf.Workflow.from_json(json.dumps(spec), steps)

    def act(self, name: str, behavior: dict[str, Any], given: Any) -> Any:
        kind = known("behavior", behavior)["kind"]
        if kind == "upper":
            return (given if isinstance(given, str) else given["text"]).upper()
        if kind == "echo":
            return given
        if kind == "sum":
            return sum(given.values())
        if kind == "value":
            return behavior["value"]
        if kind == "fail_once" and name in self.failed_once:
            return behavior["value"]
        assert kind in ("fail", "fail_once"), f"unknown behavior {kind}"
        self.failed_once.add(name)
        raise ValueError(behavior["message"])


class Player:
    def __init__(self, scenario: dict[str, Any], folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.host = Host(scenario)
        self.last = ""
        self.started: rf.Run[Any] | None = None
        self.knowledge: rf.KnowledgeBase | None = None
        self.parts: list[dict[str, Any]] = []

    async def play(self) -> None:
        self.engine = await self.open(self.scenario.get("workflows", []))
        for index, step in enumerate(self.scenario["steps"]):
            known("step", step)
            if step.get("reopen"):
                changed = {} if step["reopen"] is True else known("changed", step["reopen"])
                await self.engine.close()
                self.engine = await self.open({**self.scenario, **changed}.get("workflows", []))
                continue
            try:
                await self.take(step)
            except AssertionError as error:
                raise AssertionError(f"step {index}: {error}") from error
        await self.engine.close()
        left = len(self.host.replies) + len(self.host.other_replies)
        assert not left, f"{left} replies were not asked for"

    async def open(self, workflows: list[dict[str, Any]]) -> rf.Engine:
        scenario, host = self.scenario, self.host
        storage = scenario.get("storage", "memory")
        assert storage in ("memory", "sqlite")
        engine = rf.Engine(
            f"sqlite:{self.folder}/scenario.db" if storage == "sqlite" else None,
            default_model="scripted:main",
            # One owner for all engines of a scenario, which follow each other: runs are taken up at once.
            owner="scenario",
            tools=[host.tool(spec) for spec in scenario.get("tools", [])],
            **scenario.get("settings", {}),
        )
        engine.register_model("scripted:main", host.model)
        engine.register_model("scripted:other", host.other_model)
        engine.register(*(rf.Agent.from_spec(spec) for spec in scenario.get("agents", [])))
        engine.register(*(host.function(spec) for spec in scenario.get("functions", [])))
        engine.register(*(self.workflow(spec) for spec in workflows))
        engine.register(*(rf.Pattern(spec) for spec in scenario.get("patterns", [])))
        if scenario.get("knowledge"):
            self.knowledge = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing())
            await self.knowledge.add(known("source", source) for source in scenario["knowledge"])
            engine.use_knowledge(self.knowledge)
        return engine

    def workflow(self, spec: dict[str, Any]) -> rf.Workflow:
        return self.host.workflow(spec, self.scenario.get("functions", []))

    async def take(self, step: dict[str, Any]) -> None:
        expect = known("expect", step.get("expect", {}))
        before = self.engine.bus.stats()["published"]
        self.host.clear()
        value: Any = None
        error: rf.RaptorflowError | None = None
        try:
            value = await self.act(step)
        except rf.RaptorflowError as raised:
            error = raised
        if "run" in step or "ask" in step:
            self.last = value.run_id if value is not None else (error and error.run_id) or ""
        if "start" in step and self.started is not None:
            self.last = self.started.id
        if "fork" in step and value is not None:
            self.last = value
        compare_error(expect.get("error"), error)
        assert self.host.unscripted == 0, f"the model was asked {self.host.unscripted} times too often"
        compare_value(expect, value)
        if "parts" in expect:
            same("parts", [known("part", part) for part in expect["parts"]], self.parts)
        compare_layers(known("layers", expect.get("layers", {})), self.engine)
        if "events" in expect:
            found = self.engine.bus.history(run=self.last, start=before) if self.last else []
            same("events", expect["events"], [event.kind for event in found])
        compare_calls(expect, self.host)

    async def act(self, step: dict[str, Any]) -> Any:
        if "run" in step:
            run = known("run", step["run"])
            return await self.engine.run(
                run["agent"], run["input"], capability=run.get("capability"), user=run.get("user")
            )
        if "ask" in step:
            return await self.ask(**known("ask", step["ask"]))
        if "resume" in step:
            return await self.engine.resume(self.id(step["resume"]))
        if "start" in step:
            run = known("run", step["start"])
            self.started = await self.engine.start(run["agent"], run["input"], capability=run.get("capability"))
            return None
        if "outcome" in step:
            assert self.started is not None, "no run was started"
            return await self.started.outcome()
        if "cancel" in step:
            return await self.engine.cancel(self.id(step["cancel"]))
        if "pause" in step:
            return await self.engine.pause(self.id(step["pause"]))
        if "signal" in step:
            signal = known("signal", step["signal"])
            return await self.engine.signal(self.id(signal["run"]), signal["name"], signal["value"], signal.get("by"))
        if "fork" in step:
            place = known("place", step["fork"])
            return await self.engine.fork(self.id(place["run"]), place["at"])
        if "state" in step:
            place = known("place", step["state"])
            return await self.engine.state(self.id(place["run"]), place.get("at"))
        if "set_cap" in step:
            cap = known("cap", step["set_cap"])
            return await self.engine.set_cap(run_id=self.id(cap["run"]), money=cap["money"])
        if "usage" in step:
            whose = known("whose", step["usage"])
            run_id = self.id(whose["run"]) if "run" in whose else None
            return await self.engine.usage(run_id=run_id, user=whose.get("user"))
        if "define" in step:
            return self.engine.register(self.workflow(step["define"]))
        search = known("search", step["search"])
        assert self.knowledge is not None
        return await self.knowledge.search(**search)

    async def ask(self, schema: dict[str, Any], question: Any, stream: bool = False, **options: Any) -> Any:
        """Asks a typed question; a schema is a type too."""
        self.parts = []
        if not stream:
            return await self.engine.ask(schema, question, **options)
        answer = self.engine.ask_stream(schema, question, **options)
        async for part in answer:
            if part.kind == "partial":
                self.parts.append({"value": part.value, "open": part.open})
            elif part.kind == "again":
                self.parts.append({"again": part.attempt})
        return await answer.outcome()

    def id(self, name: str) -> str:
        return self.last if name == "last" else name


def same(what: str, wanted: Any, got: Any) -> None:
    assert wanted == got, f"{what}: expected {wanted!r}, got {got!r}"


def compare_error(wanted: dict[str, Any] | None, error: rf.RaptorflowError | None) -> None:
    if wanted is None:
        if error is not None:
            raise error
        return
    known("error", wanted)
    assert error is not None, f"expected the error {wanted['kind']}, got none"
    same("kind of the error", wanted["kind"], error.code)
    same("class of the error", errors._BY_CODE[wanted["kind"]], type(error))
    for key, value in wanted.get("context", {}).items():
        same(f"`{key}` of the error", value, error.context.get(key))
    if "problems" in wanted:
        told = error.diagnostics
        fits = len(told) == len(wanted["problems"]) and all(map(str.__contains__, told, wanted["problems"]))
        assert fits, f"problems: expected {wanted['problems']}, got {told}"
    said = f"{error} {error.__cause__} {error.diagnostics}"
    assert wanted.get("says", "") in said, f"the error does not say {wanted['says']!r}: {said}"


def compare_value(expect: dict[str, Any], value: Any) -> None:
    if "output" in expect:
        same("output", expect["output"], value.output)
    if "finish" in expect:
        finish = expect["finish"]
        same("finish", finish["limited"] if isinstance(finish, dict) else finish, value.finish)
    for field, count in expect.get("usage", {}).items():
        same(f"usage.{field}", count, getattr(value.usage, field))
    if "cost" in expect:
        same("cost", expect["cost"], str(value.cost))
    if "spent" in expect:
        models = {name: each.calls for name, each in value.models.items()}
        spent = {"calls": value.total.calls, "cost": str(value.total.cost), "models": models}
        same("spent", known("spent", expect["spent"]), spent)
    if "passages" in expect:
        same("passages", expect["passages"], [{"number": p.number, "source": p.source} for p in value.passages])
    if "state" in expect:
        compare_state(known("state", expect["state"]), value)
    if "documents" in expect:
        same("documents", expect["documents"], [hit.document for hit in value])


def compare_layers(wanted: dict[str, Any], engine: rf.Engine) -> None:
    if "breakers" in wanted:
        same("breakers", wanted["breakers"], {each["model"]: each["state"] for each in engine.breakers()})
    if "cache_hits" in wanted:
        same("cache_hits", wanted["cache_hits"], (engine.cache_stats() or {}).get("exact_hits"))
    if "refused" in wanted:
        same("refused", wanted["refused"], max(each["refused"] for each in engine.rate_limits()))


def compare_state(wanted: dict[str, Any], state: dict[str, Any]) -> None:
    if "status" in wanted:
        same("status", wanted["status"], state["status"])
    if "input" in wanted:
        same("input of the run", wanted["input"], state["input"])
    if "steps" in wanted:
        same("steps", wanted["steps"], {step["path"]: step["status"] for step in state["steps"]})
    outputs = {step["path"]: step["output"] for step in state["steps"]}
    for path, output in wanted.get("outputs", {}).items():
        same(f"output of {path}", output, outputs.get(path))
    if "signals" in wanted:
        signals = [{"name": each["name"], "value": each["value"], "by": each["by"]} for each in state["signals"]]
        same("signals", [{"by": None, **signal} for signal in wanted["signals"]], signals)
    if "forked_at" in wanted:
        same("forked_at", wanted["forked_at"], (state["forked_from"] or {}).get("at"))


def compare_calls(expect: dict[str, Any], host: Host) -> None:
    if "model_calls" in expect:
        same("model_calls", expect["model_calls"], len(host.requests))
    if "requests" in expect:
        same("how many requests", len(expect["requests"]), len(host.requests))
        for wanted, request in zip(expect["requests"], host.requests):
            compare_request(known("request", wanted), request)
    if "tool_calls" in expect:
        # Calls that only read may arrive in any order.
        left = list(host.tool_calls)
        for call in expect["tool_calls"]:
            assert known("call", call) in left, f"tool_calls: expected {call} among {host.tool_calls}"
            left.remove(call)
        assert not left, f"tool_calls: not expected: {left}"
    if "function_calls" in expect:
        wanted_calls = [known("entry", entry) for entry in expect["function_calls"]]
        same("function_calls", wanted_calls, host.function_calls)


def compare_request(wanted: dict[str, Any], request: rf.ChatRequest) -> None:
    messages = request.messages
    same("roles", wanted["roles"], [message.role for message in messages])
    if "first" in wanted:
        same("first message", wanted["first"], messages[0].text)
    if "last" in wanted:
        same("last message", wanted["last"], messages[-1].text)
    if "tools" in wanted:
        same("tools", wanted["tools"], [tool["name"] for tool in request.tools])
    if "passages" in wanted:
        same("passages", wanted["passages"], [part["source"] for part in messages[-1].of_type("passage")])
    if "results" in wanted:
        results = messages[-1].of_type("tool_result")
        same("how many results", len(wanted["results"]), len(results))
        for expected, result in zip(wanted["results"], results):
            compare_result(known("result", expected), result)


def compare_result(wanted: dict[str, Any], result: dict[str, Any]) -> None:
    same("id of the result", wanted["id"], result["id"])
    same("name of the result", wanted["name"], result["name"])
    same("is_error", "error" in wanted, result.get("is_error", False))
    content = result["content"]
    if "error" in wanted:
        same("error of the result", wanted["error"], content["error"])
    if wanted.get("content", MISSING) is not MISSING:
        same("content of the result", wanted["content"], content)
    assert wanted.get("says", "") in json.dumps(content, ensure_ascii=False), f"the result does not say so: {content}"
