"""A small HTTP client to a running stack, for the commands and the demo."""

import os
from types import TracebackType
from typing import Any

import aiohttp

from deploy import SERVICES
from deploy.local.errors import LocalError
from deploy.local.state import State


def addresses(profile: str) -> dict[str, str]:
    """Where the services are: FEEDLOOP_<NAME>_URL, or the stack that runs on the profile. Raises LocalError where there is neither."""
    given = {name: os.environ[key] for name in SERVICES if (key := f"FEEDLOOP_{name.upper()}_URL") in os.environ}
    if given:
        return given
    if (found := running_profile(profile)) and (run := State(found).running()):
        return dict(run["urls"])
    raise LocalError("no Feedloop is running here: start it with `make up`, or name its services with FEEDLOOP_FEEDBACK_URL and the like")


def running_profile(profile: str) -> str:
    """The profile whose stack runs, the one asked for before the others; empty where none does."""
    return next((name for name in dict.fromkeys((profile, "default", "demo")) if State(name).running()), "")


class Client:
    """`async with Client(urls) as client`. Errors are LocalError with the service's own words."""

    def __init__(self, urls: dict[str, str], token: str = "") -> None:
        self.urls = urls
        token = token or os.environ.get("FEEDLOOP_TOKEN", "")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Client":
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=120))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session:
            await self._session.close()

    async def get(self, service: str, path: str, **params: str) -> Any:
        return await self._call("GET", service, path, params=params)

    async def post(self, service: str, path: str, body: Any) -> Any:
        return await self._call("POST", service, path, json=body)

    async def send(self, service: str, path: str, data: bytes) -> Any:
        """POST of bytes as they are."""
        return await self._call("POST", service, path, data=data)

    async def delete(self, service: str, path: str) -> Any:
        """`path` is percent-encoded already."""
        return await self._call("DELETE", service, path)

    async def _call(self, method: str, service: str, path: str, **how: Any) -> Any:
        if service not in self.urls:
            raise LocalError(f"where the {service} is is not known: set FEEDLOOP_{service.upper()}_URL")
        assert self._session
        try:
            async with self._session.request(method, self.urls[service].rstrip("/") + path, **how) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise LocalError(f"the {service} at {self.urls[service]} does not answer ({type(error).__name__})") from error
        if response.status >= 400:
            raise LocalError(f"the {service} refuses: {answer.get('error', response.status)}")
        return answer
