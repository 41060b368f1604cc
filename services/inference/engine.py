"""The engine over HTTP: stock vLLM, or any server that speaks OpenAI's chat completions. Nothing else in Feedloop talks to it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from services.inference.shares import Step, all_shares, among, share_of, spelled
from shared import metrics
from shared.errors import PermanentError, TransientError
from shared.events import LabelScore
from shared.guard import Paused
from shared.logs import logger
from shared.prompts import Message

log = logger(__name__)
MOST_SILENT, REST_S = 5, 10.0  # requests in a row without an answer until no more are sent, and seconds until one is, to see


class ContextTooLong(PermanentError):
    """The prompt and the longest answer do not fit into the model's context."""


class UnknownModel(TransientError):
    """The engine has no model or adapter of that name: it was restarted, perhaps, and the adapter has to be loaded again."""


@dataclass(frozen=True)
class Answer:
    text: str
    finished: bool  # False where the answer was cut off at max_tokens
    steps: list[Step]


class Circuit:
    """Opens after `most` requests in a row without an answer. Open, it lets one through every `rest` seconds, and the first answer closes it. A refusal
    and "busy" are answers: what is counted is silence, because a silent engine costs a deadline each time it is asked."""

    def __init__(self, most: int = MOST_SILENT, rest: float = REST_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.rest, self.clock = most, rest, clock
        self.silent = 0  # in a row
        self._next = 0.0

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        if self.silent < self.most:
            return "closed"
        return "open" if self.clock() < self._next else "half-open"

    def admit(self) -> float:
        """0 where a request may be sent now; else the seconds until one may."""
        if self.silent < self.most:
            return 0.0
        if (left := self._next - self.clock()) > 0:
            return left
        self._next = self.clock() + self.rest  # this one is the probe; the others wait for what becomes of it
        return 0.0

    def answered(self) -> None:
        if self.silent >= self.most:
            log.info("engine.answers", after=self.silent)
        self.silent = 0

    def unanswered(self) -> None:
        self.silent += 1
        if self.silent >= self.most:
            self._next = self.clock() + self.rest
        if self.silent == self.most:
            log.error(
                "engine.silent", requests=self.silent, effect=f"none is sent but one every {self.rest:.0f} s; provisional verdicts stand meanwhile"
            )


class NoAnswer(TransientError):
    """The engine did not answer at all: nobody there, or not within the deadline."""


class Engine:
    """Async client, between `open` and `close`. Raises TransientError where the engine is away or busy, PermanentError where it refuses the request."""

    def __init__(
        self, url: str, *, kind: Literal["vllm", "openai"] = "vllm", key: str = "", timeout_s: float = 60.0, circuit: Circuit | None = None
    ) -> None:
        self.url, self.kind, self.circuit = url.rstrip("/"), kind, circuit or Circuit()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers, connector=aiohttp.TCPConnector(limit=64))

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /v1/chat/completions as it is. Raises Paused at once while the circuit is open."""
        try:
            answer: dict[str, Any] = _object(await self._watched("/v1/chat/completions", body))
        except (TransientError, PermanentError) as error:
            metrics.REQUESTS.labels(type(error).__name__).inc()
            raise
        metrics.REQUESTS.labels("ok").inc()
        return answer

    async def choose(self, model: str, messages: Sequence[Message], options: Sequence[str]) -> LabelScore:
        """One of the options, by constrained decoding, with its probability among them, and that of the others as far as the answer tells.

        vLLM masks the logits before it takes log-probabilities, so those of a step share out the whole among what the options allow. Engines without
        choice are asked for a JSON enum, and their log-probabilities, which may be of all tokens, are shared out among the options; without any the
        probability is 1/2 between chance and certainty, which says "an answer, of unknown confidence".
        """
        body: dict[str, Any] = {"model": model, "messages": list(messages), "temperature": 0, "max_tokens": 32, "logprobs": True, "top_logprobs": 20}
        if self.kind == "vllm":
            body["structured_outputs"] = {"choice": list(options)}
        else:
            body["response_format"] = _schema({"type": "object", "properties": {"label": {"enum": list(options)}}, "required": ["label"]})
        answer = _read(await self.chat(body))
        if self.kind == "vllm":
            label, steps = answer.text.strip(), answer.steps
        else:
            told = _json(answer.text)
            label = str(told.get("label", "")) if isinstance(told, dict) else ""
            steps = spelled(label, answer.steps)
        if label not in options:
            raise PermanentError(f"the engine answered {(label or answer.text)[:60]!r}, which is none of {', '.join(options)}")
        if self.kind == "vllm" and steps:
            share = round(share_of(label, steps), 6)
            return LabelScore(label=label, probability=share, probabilities=all_shares(label, share, options, steps))
        shares = among(options, steps)
        return LabelScore(label=label, probability=shares.get(label, (1 + 1 / len(options)) / 2), probabilities=shares if label in shares else {})

    async def write_json(self, model: str, messages: Sequence[Message], schema: dict[str, Any], max_tokens: int) -> Answer:
        """JSON by schema, greedily. The answer may be cut off (`finished` False): a schema does not promise completion."""
        body = {"model": model, "messages": list(messages), "temperature": 0, "max_tokens": max_tokens, "response_format": _schema(schema)}
        return _read(await self.chat(body))

    async def models(self) -> set[str]:
        """Names that the engine serves now."""
        answer = _object(await self._call("GET", "/v1/models"))
        try:
            return {entry["id"] for entry in answer["data"]}
        except (KeyError, TypeError) as error:
            raise TransientError(f"what answers at {self.url} lists no models: is it the engine?") from error

    async def load(self, name: str, path: str) -> None:
        """Load an adapter under a name. A name that is loaded already is fine: names are digests, so it is the same adapter."""
        if self.kind != "vllm":
            raise PermanentError("the engine takes no adapters (FEEDLOOP_ENGINE_KIND is not vllm)")  # its 404 would read as: try again
        try:
            await self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        except PermanentError as error:
            if "already been loaded" not in str(error):
                raise

    async def unload(self, name: str) -> None:
        try:
            await self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except UnknownModel:
            return  # gone already

    async def ping(self) -> str:
        """Empty where the engine answers, else the reason: for /ready."""
        try:
            await self.models()
        except (TransientError, PermanentError) as error:
            return str(error)
        return ""

    async def _watched(self, path: str, body: dict[str, Any]) -> Any:
        """Through the circuit: generation alone, for what lists the models may answer while nothing is generated."""
        if (wait := self.circuit.admit()) > 0:
            raise Paused(f"the engine at {self.url} has not answered {self.circuit.silent} requests in a row: the next is sent in {wait:.0f} s", wait)
        try:
            answer = await self._call("POST", path, body)
        except NoAnswer:
            self.circuit.unanswered()
            raise
        except (TransientError, PermanentError):
            self.circuit.answered()
            raise
        self.circuit.answered()
        return answer

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if self._session is None:
            raise RuntimeError("the engine client is not open")
        try:
            async with self._session.request(method, self.url + path, json=body) as response:
                text = await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NoAnswer(f"the engine at {self.url} does not answer ({type(error).__name__})") from error
        if response.status < 300:
            return _json(text) if text.startswith(("{", "[")) else text
        reason = " ".join(text.split())[:300]
        if response.status == 404:
            raise UnknownModel(f"the engine does not know it: {reason}")
        if response.status in (502, 504):
            raise NoAnswer(f"the engine does not answer what stands before it ({response.status}): {reason}")
        if response.status in (408, 409, 429) or response.status >= 500:
            raise TransientError(f"the engine is busy or failing ({response.status}): {reason}")
        if any(sign in reason for sign in ("context length", "max_model_len", "max_tokens", "is longer than")):
            raise ContextTooLong(reason)
        raise PermanentError(f"the engine refuses ({response.status}): {reason}")


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _object(answer: Any) -> dict[str, Any]:
    """Raises TransientError where the answer is no JSON object: a proxy's page, say, while the engine is away."""
    if not isinstance(answer, dict):
        raise TransientError(f"the engine answered something that is not a JSON object: {str(answer)[:80]!r}")
    return answer


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise PermanentError(f"the engine answered something that is not JSON: {text[:80]!r}") from error


def _alternatives(told: dict[str, Any]) -> list[tuple[str, float]]:
    """The likeliest tokens in one place; without those that some engines give no number."""
    return [(a["token"], float(a["logprob"])) for a in told["top_logprobs"] if isinstance(a["logprob"], int | float) and a["logprob"] <= 0]


def _read(completion: dict[str, Any]) -> Answer:
    try:
        choice = completion["choices"][0]
        content = (choice.get("logprobs") or {}).get("content") or []
        steps = [Step(t["token"], _alternatives(t)) for t in content if t.get("top_logprobs")]
        steps = steps if len(steps) == len(content) else []  # of the tokens alone nothing can be told: they may be a third of what was likely
        return Answer(choice["message"]["content"] or "", choice["finish_reason"] == "stop", steps)
    except (KeyError, IndexError, TypeError) as error:
        raise PermanentError(f"the engine's answer has not the form of a chat completion: {json.dumps(completion)[:120]}") from error
