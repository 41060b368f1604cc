"""The OpenAPI document by which a service describes its HTTP at /openapi.json, out of the models that its routes take and give."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema


class Problem(BaseModel):
    """What is wrong, in one line."""

    error: str


def holds(about: str, *models: type[BaseModel]) -> dict[str, Any]:
    """A body of JSON, the request's or an answer's, that is one of the models."""
    refs = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    return {"description": about, "content": {"application/json": {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}}}}


def refusals(why: Mapping[int, str]) -> dict[str, Any]:
    """The answers that are a Problem, by status; 401 is among them, for the token is asked of every caller."""
    return {str(status): holds(about, Problem) for status, about in {401: "the access token is missing or wrong", **why}.items()}


def document(
    title: str, about: str, paths: Mapping[str, Any], given: Sequence[type[BaseModel]], answers: Sequence[type[BaseModel]]
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a service: `given` are the models that its routes take, `answers` those that they give, beside Problem."""
    models = [*((model, "validation") for model in given), *((model, "serialization") for model in (*answers, Problem))]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": about},
        "security": [{"token": []}],
        "paths": dict(paths),
        "components": {"schemas": schemas["$defs"], "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
