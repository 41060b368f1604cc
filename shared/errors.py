"""The two kinds of failure that handling knows: one that passes, and one that does not."""

from pydantic import ValidationError


class FeedloopError(Exception):
    """Base of our own errors. The message is one line for a person: what is wrong, and what to do."""


class TransientError(FeedloopError):
    """Something outside is away or busy: worth the same try again. The record is kept, never dead-lettered."""


class PermanentError(FeedloopError):
    """This input will fail however often it is tried: it goes to the dead letters with this reason."""


class ConfigError(FeedloopError):
    """A setting or file of the user's is wrong; the process can't start with it."""


def one_line(error: Exception, limit: int = 500) -> str:
    """An error as one line for a person: a pydantic report is cut to what and where."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()[:5])[:limit]
    return " ".join(str(error).split())[:limit] or type(error).__name__
