"""The real engine, started once, and watched: every answer's end and form is noted as it comes."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jsonschema

from deploy.local.engine import EngineProcess, EngineSettings
from services.inference.engine import Engine
from shared.errors import TransientError

NAME = "base"  # under which the engine serves the base weights
AT_ONCE = 8  # documents side by side, as inference does (its setting at_once)
TIMEOUT_S = 300.0  # other work may share the cores
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Seen:
    """One answer of the engine: `kind` is choice, json or free; `valid` says whether it has the form that was asked for."""

    kind: str
    finish: str
    valid: bool


SEEN: ContextVar[list[Seen] | None] = ContextVar("SEEN", default=None)


class Watched(Engine):
    """The engine's client, as inference has it; what goes through is noted in the list that SEEN holds, if it holds one. A request that meets a closed
    connection is repeated, as the guard around inference's handlers does."""

    async def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        for pause_s in (0.0, 0.5, 2.0):
            await asyncio.sleep(pause_s)
            try:
                return self._noted(body, await super().chat(body))
            except TransientError as error:
                reason = error
        raise reason

    @staticmethod
    def _noted(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if (seen := SEEN.get()) is not None:
            choice = answer["choices"][0]
            kind = "json" if "response_format" in body else "choice" if "structured_outputs" in body else "free"
            seen.append(Seen(kind, str(choice["finish_reason"]), fits(choice["message"]["content"] or "", body)))
        return answer


def fits(text: str, body: dict[str, Any]) -> bool:
    """Whether an answer is what the request binds it to: JSON by the schema, or one of the choices."""
    if choices := (body.get("structured_outputs") or {}).get("choice"):
        return text in choices
    if "response_format" not in body:
        return True
    try:
        jsonschema.validate(json.loads(text), body["response_format"]["json_schema"]["schema"])
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


@asynccontextmanager
async def running(model: Path, log: Path, say: Callable[[str], None]) -> AsyncIterator[Watched]:
    """vLLM with `model`, and the client to it; ended at the end. FEEDLOOP_ENGINE_URL names one that runs already. Raises LocalError where it can't be
    started."""
    url, process = os.environ.get("FEEDLOOP_ENGINE_URL", ""), None
    if not url:
        say(f"starting the engine (a minute or two; its log: {log}) …")
        process = EngineProcess(EngineSettings(str(model)), log)
        url = await process.start()
    client = Watched(url, timeout_s=TIMEOUT_S)
    await client.open()
    try:
        yield client
    finally:
        await client.close()
        if process is not None:
            await process.stop()


async def each(things: Iterable[T], ask: Callable[[T], Awaitable[R]], at_once: int) -> list[R]:
    """What `ask` answers to each thing, in order, at most `at_once` of them side by side."""
    room = asyncio.Semaphore(at_once)

    async def one(thing: T) -> R:
        async with room:
            return await ask(thing)

    return list(await asyncio.gather(*(one(thing) for thing in things)))
