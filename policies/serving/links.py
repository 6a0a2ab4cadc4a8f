"""Links that may be followed without the token, each for one request and a short time.

Some clients send a file to, or fetch a film from, whatever address they are told, and no header with it. Such an
address carries its own permission: a keyed digest of what may be asked and until when.
"""

import hmac
import time
from typing import Final

VALID: Final = 600  # seconds


class Links:
    """Makes such links, and recognises them."""

    def __init__(self, token: str) -> None:
        """Sign by a key that follows from the server's token."""
        self._key = hmac.digest(token.encode(), b"links of gwm serve", "sha256")

    def signed(self, method: str, path: str) -> str:
        """A path with the permission to ask for it by a method."""
        until = str(int(time.time()) + VALID)
        return f"{path}?until={until}&signature={self._signature(method, path, until)}"

    def allow(self, method: str, path: str, query: str) -> bool:
        """Whether a request was allowed by a link that still holds."""
        until, _, signature = query.removeprefix("until=").partition("&signature=")
        if not (until.isascii() and until.isdigit() and len(until) < 16 and signature.isascii()):
            return False
        return hmac.compare_digest(signature, self._signature(method, path, until)) and int(until) >= time.time()

    def _signature(self, method: str, path: str, until: str) -> str:
        return hmac.digest(self._key, f"{method} {until} {path}".encode("utf-8", "replace"), "sha256").hex()
