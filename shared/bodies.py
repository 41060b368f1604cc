"""Bodies of requests with a limit, whatever their length says or does not say."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.errors import one_line

SMALL = 1_000_000  # bytes of what is no text or mail
LARGE = 32_000_000  # of everything else: a batch of texts, the files of a set of rules
M = TypeVar("M", bound=BaseModel)


async def bounded(request: Request, most: int, what: str) -> bytes:
    """The body, read no further than `most` bytes; `what` it is stands in the error. Raises HTTPException 413."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise HTTPException(413, f"{what} may have at most {most // 1_000_000} MB")
    return bytes(data)


async def body(request: Request, model: type[M], most: int = LARGE, what: str = "the body") -> M:
    """The JSON body as a model. Raises HTTPException 413, or 422 with what is wrong, in one line."""
    try:
        return model.model_validate_json(await bounded(request, most, what))
    except ValidationError as error:
        raise HTTPException(422, one_line(error)) from error
