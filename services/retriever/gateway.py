"""The LLM, by inference's OpenAI-compatible gateway: asked to choose among sentences, never to write one."""

import json
from collections.abc import Sequence

import aiohttp

from shared.errors import TransientError
from shared.peer import Peer
from shared.prompts import answer_messages

MODEL = "live"
_MOST_SENTENCES, _MAX_TOKENS = 2, 200


class Gateway(Peer):
    """Inference, asked to choose."""

    def __init__(self, url: str, token: str = "", timeout_s: float = 20) -> None:
        super().__init__(url, token, timeout_s)

    async def choose(self, question: str, sentences: Sequence[str]) -> tuple[list[str], str]:
        """The one or two of `sentences` that answer the question, and the model that said so. Raises TransientError where the LLM is away, is slow, or
        answers anything else."""
        if not self.url or self._session is None:
            raise TransientError("no LLM: FEEDLOOP_INFERENCE_URL is not set")
        schema = {"type": "array", "items": {"type": "string", "enum": list(sentences)}, "minItems": 1, "maxItems": _MOST_SENTENCES}
        request = {
            "model": MODEL,
            "messages": answer_messages(question, sentences),
            "temperature": 0,
            "max_tokens": _MAX_TOKENS,
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        }
        try:
            async with self._session.post(f"{self.url}/v1/chat/completions", json=request, allow_redirects=False) as response:
                body = await response.read()
                if response.status != 200:
                    raise TransientError(f"the LLM's gateway answers {response.status}: {body[:200].decode(errors='replace')}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"the LLM's gateway at {self.url} does not answer ({type(error).__name__})") from error
        return _read(body, sentences)


def _read(body: bytes, sentences: Sequence[str]) -> tuple[list[str], str]:
    try:
        reply = json.loads(body)
        chosen = json.loads(reply["choices"][0]["message"]["content"])
        model = str(reply.get("model") or MODEL)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise TransientError("the LLM's answer is not the form that was asked for") from error
    if not isinstance(chosen, list) or not chosen or any(not isinstance(one, str) or one not in sentences for one in chosen):
        raise TransientError("the LLM's answer holds what the passages do not")
    return list(dict.fromkeys(chosen))[:_MOST_SENTENCES], model
