"""The language model, asked about texts that are no documents, by inference's POST /api/labels."""

from collections.abc import Sequence

import aiohttp
from pydantic import ValidationError

from shared.asked import Asked, LabelsAsked, LabelsSpoken
from shared.errors import TransientError
from shared.peer import Peer

NOT_SET = "FEEDLOOP_INFERENCE_URL is not set"


class LanguageModel(Peer):
    """Inference, asked for labels."""

    def __init__(self, url: str = "", token: str = "", timeout_s: float = 110.0) -> None:
        super().__init__(url, token, timeout_s)

    async def ask(self, items: Sequence[Asked], collection: str) -> LabelsSpoken:
        """What it says of each text, in their order. Raises TransientError where it is away, slow, or answers anything else."""
        if not self.url or self._session is None:
            raise TransientError(NOT_SET)
        asked = LabelsAsked(items=list(items), collection=collection).model_dump()
        try:
            async with self._session.post(f"{self.url}/api/labels", json=asked, allow_redirects=False) as response:
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"inference does not answer ({type(error).__name__})") from error
        if response.status != 200:
            raise TransientError(f"inference answers {response.status}: {data[:200].decode(errors='replace')}")
        try:
            spoken = LabelsSpoken.model_validate_json(data)
        except ValidationError as error:
            raise TransientError("inference's answer is not the form that was asked for") from error
        if len(spoken.items) != len(items):
            raise TransientError(f"inference answers for {len(spoken.items)} texts, and was asked about {len(items)}")
        return spoken
