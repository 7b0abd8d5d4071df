"""API keys: who may ask, and under which name.

A line per key, `NAME=KEY`; blank ones and those that begin with # say nothing, and commas separate as lines do. KEY is
the key itself or `sha256:` and its SHA-256 in hex, so that what is kept opens nothing. To change a key without a gap,
let both lines stand for a while: a name may have several. Only digests are kept in memory, and every one is compared
in full, so that how long it takes tells nothing.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from serving import metrics
from serving.errors import Unauthorized
from settings import PREFIX, Settings, SettingsError

log = logging.getLogger("holdfast.serving")

NEEDED = "an API key is needed: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
"""All that is told, whether none came or a wrong one."""
LEAST = 16
"""Characters of a key; `openssl rand -hex 32` makes 64."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[!-~]{16,512}")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
_VARIABLE = f"{PREFIX}API_KEYS"


class Keys:
    """The keys in force; those of a file are looked at again by `look`, and the file may be replaced at any time.

    Attributes:
        on: whether a key is asked for at all.

    Raises:
        SettingsError: if there is a line that is no key; it is named by its number, and nothing of it is shown.
    """

    def __init__(self, settings: Settings) -> None:
        self.on = settings.api_keys is not None
        self._file = settings.file("api_keys")
        self._seen: tuple[int, ...] | None = ()  # it may be another one since the settings were read
        self._trouble = ""
        self._digests = read(settings.api_keys.get_secret_value()) if settings.api_keys is not None else []

    def client(self, headers: Mapping[bytes, bytes]) -> str:
        """The name of the key that came with a request; "" if none did that is one of ours.

        Args:
            headers: by lower-case names; over gRPC, the metadata.
        """
        given, name = [], ""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given.append(token.strip())
        if b"x-api-key" in headers:
            given.append(headers[b"x-api-key"].strip())
        for key in given:
            digest = sha256(key).digest()
            for own, known in self._digests:
                if hmac.compare_digest(digest, known):
                    name = own
        return name

    def demand(self, headers: Mapping[bytes, bytes]) -> str:
        """The same.

        Raises:
            Unauthorized: if there is none.
        """
        client = self.client(headers)
        if not client:
            raise Unauthorized(NEEDED)
        return client

    def look(self) -> None:
        """Read the file again if it is another one than before; it is to be called now and then. One that cannot be
        used changes nothing: the former keys hold, the log and a metric say so."""
        if self._file is None:
            return
        stamp = _stamp(self._file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            found = read(self._file.read_text())
        except OSError as error:
            self._keep(error.strerror or str(error))
        except UnicodeDecodeError:
            self._keep("it is not UTF-8")
        except SettingsError as error:
            self._keep(str(error))
        else:
            if found != self._digests or self._trouble:
                names = ", ".join(sorted({name for name, _ in found}))
                log.info("API keys: %s was read again; there are keys of %s", self._file, names)
            self._digests, self._trouble = found, ""
            metrics.KEYS_STALE.set(0)

    def _keep(self, why: str) -> None:
        metrics.KEYS_STALE.set(1)
        if why != self._trouble:
            self._trouble = why
            log.error("API keys: %s cannot be used, and the former keys hold: %s", self._file, why)


def read(text: str) -> list[tuple[str, bytes]]:
    """Names and digests of the keys in `text`.

    Raises:
        SettingsError: as `Keys` says, or if there is none.
    """
    found: list[tuple[str, bytes]] = []
    text = text.removeprefix("\ufeff")  # some editors begin a file so
    for number, line in enumerate(text.splitlines(), 1):
        for part in () if line.lstrip().startswith("#") else line.split(","):
            if part.strip():
                name, digest = _one(part.strip(), f"{_VARIABLE}, line {number}")
                if any(digest == known and name != own for own, known in found):
                    raise SettingsError(f"{_VARIABLE}, line {number}: another name has the same key")
                found.append((name, digest))
    if not found:
        raise SettingsError(f"{_VARIABLE} holds no key: write NAME=KEY on a line each, or leave it out to ask for none")
    return found


def _one(entry: str, where: str) -> tuple[str, bytes]:
    name, equals, key = (part.strip() for part in entry.partition("="))
    if not equals or not _NAME.fullmatch(name):
        raise SettingsError(f"{where}: write NAME=KEY, the name with 1 to 64 letters, digits, `.`, `_` and `-`")
    if hashed := _DIGEST.fullmatch(key):
        return name, bytes.fromhex(hashed[1])
    if key.startswith("sha256:"):
        raise SettingsError(f"{where}: behind `sha256:` there are 64 hex digits")
    if not _KEY.fullmatch(key):
        raise SettingsError(f"{where}: a key has {LEAST} to 512 characters of ASCII and no blank")
    return name, sha256(key.encode()).digest()


def _stamp(path: Path | None) -> tuple[int, ...] | None:
    """What is different as soon as the file is another one: Kubernetes replaces a link in the way to it."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
