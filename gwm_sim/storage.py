"""What storage refuses, in words: full, locked, read-only, not permitted, not there.

Libraries pass the system's error number on in their own ways: as `errno`, or within the text of any exception, in its
first line: below may be a traceback, of other errors too. What has none is no trouble of the storage but one of the
content.
"""

import errno
import os
import re

_FULL = "make room or write elsewhere"
_WORDS = {
    errno.ENOENT: "there is no such file or folder",
    errno.EACCES: "permission denied; change its permissions, or work on a copy of your own",
    errno.EPERM: "permission denied; change its permissions, or work on a copy of your own",
    errno.EISDIR: "it is a folder where a file is expected",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.EEXIST: "it exists already",
    errno.ENOSPC: f"no space is left on the disk; {_FULL}",
    errno.EDQUOT: f"the disk quota is used up; {_FULL}",
    errno.EFBIG: "the file would become larger than `ulimit -f` or the file system allows",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EMFILE: "too many files are open; raise the limit by `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the device reports an input/output error; check the disk or the network",
    errno.ESTALE: "the network file system has lost it; try again",
    errno.ETIMEDOUT: "it does not answer in time; try again",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EBUSY: "another process uses it",
    errno.ETXTBSY: "another process uses it",
}
_LOCKED = "another process has it open for writing; wait until that is done"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_NUMBER = re.compile(r"\[errno (\d+)\]|\berrno = (\d+)|\(os error (\d+)\)", re.IGNORECASE)
_NAME = re.compile(r"name = '([^']+)'")
_TEMPORARY = re.compile(r"\.tmp(\.\w+)?$")  # what `files.replacing` appends
_MOST_TEXT = 100_000  # characters of an exception that are searched, unless its first line ends before


def reason(error: BaseException) -> str | None:
    """Why the storage refuses, and what helps; None where the error is another one."""
    number, text = _number(error), _text(error)
    if number in (errno.EAGAIN, errno.EACCES) and "unable to lock file" in text:
        return _LOCKED
    return None if number is None else _WORDS.get(number)


def trouble(error: BaseException) -> str | None:
    """As `reason`, with the name of the file where the error tells it."""
    why, told = reason(error), _file(error)
    return why if why is None or told is None else f"{_TEMPORARY.sub('', told)}: {why}"


def lacks_locks(error: OSError) -> bool:
    """Whether the storage knows no locks, as that of many clusters; one that is taken is another matter."""
    return error.errno in _NO_LOCKS


def _number(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        # Decoders of films return -1, which is EPERM, for whatever they stumble over; the system forbids a named file.
        return None if number == errno.EPERM and _file(error) is None else number
    found = _NUMBER.search(_text(error))
    return int(next(filter(None, found.groups()))) if found else None


def _file(error: BaseException) -> str | None:
    """Name of the file, where the error tells it; PyAV names the function that failed in its place."""
    told = getattr(error, "filename", None) or next(iter(_NAME.findall(_text(error))), None)
    name = os.fsdecode(told) if isinstance(told, str | bytes | os.PathLike) else ""
    return None if name.endswith("()") else name or None


def _text(error: BaseException) -> str:
    return str(error).partition("\n")[0][:_MOST_TEXT]
