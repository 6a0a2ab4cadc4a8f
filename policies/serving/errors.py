"""What a client is told when something does not work: one line, with a status of HTTP and a word for programs."""

from http import HTTPStatus


class ServingError(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        """Say what was given, what was expected and what to do, in one line."""
        super().__init__(" ".join(message.split()))
        self.status, self.code = status, code

    def told(self) -> dict[str, dict[str, str]]:
        """The answer."""
        return {"error": {"code": self.code, "message": str(self)}}


def refused(message: str) -> ServingError:
    """What was asked for makes no sense here."""
    return ServingError(HTTPStatus.BAD_REQUEST, "refused", message)


def unknown(what: str, name: str) -> ServingError:
    """There is no such thing."""
    return ServingError(HTTPStatus.NOT_FOUND, f"unknown_{what}", f"there is no {what} {name!r}")
