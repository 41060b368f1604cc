"""The two kinds of failure that handling knows: one that passes, and one that does not."""


class FeedloopError(Exception):
    """Base of our own errors. The message is one line for a person: what is wrong, and what to do."""


class TransientError(FeedloopError):
    """Something outside is away or busy: worth the same try again. The record is kept, never dead-lettered."""


class PermanentError(FeedloopError):
    """This input will fail however often it is tried: it goes to the dead letters with this reason."""


class ConfigError(FeedloopError):
    """A setting or file of the user's is wrong; the process can't start with it."""
