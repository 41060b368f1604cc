"""Bodies unpacked as they come, never further than a limit: gzip (RFC 1952, with several members) and deflate (RFC 1950, or the bare RFC 1951)."""

import zlib

from services.ingest.items import SourceProblem

MAX_MEMBERS = 1_000  # of a gzip; at each one's end the rest of the piece is copied
ASKED_FOR = "gzip, deflate"  # neither br nor zstd: what can't be unpacked with a limit is not asked for
_FOREIGN = frozenset("br zstd compress x-compress dcb dcz exi aes128gcm pack200-gzip".split())  # IANA, HTTP Content Coding Registry


class Inflater:
    """Unpacks one body. `most` is the number of bytes after which it raises SourceProblem, counted both packed and unpacked."""

    def __init__(self, encoding: str, most: int) -> None:
        self._encoding, self._most = encoding.strip().lower(), most
        self._inner: zlib._Decompress | None = None
        self._is_packed = self._encoding in ("gzip", "x-gzip", "deflate")  # what is no coding (none, UTF-8) is a server's mistake
        self._packed, self._members, self.out = 0, 0, bytearray()
        if self._encoding in _FOREIGN or "," in self._encoding:
            raise SourceProblem(f"the server sends the encoding {encoding[:60]!r}, which was not asked for")

    def feed(self, data: bytes) -> None:
        """Takes the next piece. Raises SourceProblem where the body is too large or not packed as it says."""
        self._packed += len(data)
        if self._packed > self._most:  # also a stream that unpacks to nothing
            self._too_large()
        if not self._is_packed:
            self.out += data
            return
        try:
            while data:
                data = self._unpack(data)
        except zlib.error as error:
            raise SourceProblem("what came is not compressed as the server says") from error

    def finish(self) -> bytes:
        """The whole body. Raises SourceProblem where a packed one ends in the middle: half a feed is not taken for the whole."""
        if self._inner is not None and not self._inner.eof:
            raise SourceProblem("the compressed answer ends in the middle")
        return bytes(self.out)

    def _unpack(self, data: bytes) -> bytes:
        """Returns what is left over after the end of a gzip member."""
        if self._inner is not None and self._inner.eof:
            data = data.lstrip(b"\0")  # padding
            if self._encoding == "deflate" or not data.startswith(b"\x1f"):
                return b""  # what follows the end is no part of the body
            self._inner = None
        if self._inner is None:
            self._members += 1
            if self._members > MAX_MEMBERS:
                raise SourceProblem(f"the compressed answer has more than {MAX_MEMBERS:,} parts (gzip members)")
            self._inner = zlib.decompressobj(self._window(data))
        # at most one byte over the limit is ever unpacked: a bomb stays small
        self.out += self._inner.decompress(data, self._most + 1 - len(self.out))
        if len(self.out) > self._most:
            self._too_large()
        return self._inner.unused_data

    def _window(self, data: bytes) -> int:
        if self._encoding != "deflate":
            return 16 + zlib.MAX_WBITS
        # `deflate` means zlib or, from some servers, the bare stream: the first byte tells
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS

    def _too_large(self) -> None:
        raise SourceProblem(f"larger than {self._most // 1_000_000 or self._most} MB")
