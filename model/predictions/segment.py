"""Segments: append-only files of framed records, the first a Header, the others entries.

A frame is 16 bytes and a payload: magic, the payload's length, its crc32, the crc32 of these 12 bytes; little-endian.
To change what a payload holds: append fields with defaults to Entry, or raise Header.version and keep the old reader.

TIME-POD-PID-N.open   a process appends to it, or died while it did; TIME is that of its first entry, in microseconds
TIME-POD-PID-N.seg    sealed: on the disk, never written again
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from features.store.base import StoreError
from model.predictions.entry import Entry, Header

MAGIC = b"HFP1"
OPEN, SEALED = ".open", ".seg"
_FRAME = struct.Struct("<4sII")
_CHECK = struct.Struct("<I")
_SIZE = _FRAME.size + _CHECK.size
_encode = msgspec.msgpack.Encoder().encode
_header = msgspec.msgpack.Decoder(Header).decode
_entry = msgspec.msgpack.Decoder(Entry).decode


def frame(record: Header | Entry) -> tuple[bytes, bytes]:
    """A record as it is written: its frame's head, and its payload.

    Raises:
        UnicodeEncodeError, OverflowError: for text or numbers that no reader could take.
    """
    payload = _encode(record)
    head = _FRAME.pack(MAGIC, len(payload), zlib.crc32(payload))
    return head + _CHECK.pack(zlib.crc32(head)), payload


def name(time: int, pod: str, pid: int, number: int) -> str:
    """Name of a segment, without its end; names sort by time."""
    return f"{max(time, 0):016d}-{re.sub('[^A-Za-z0-9.-]', '-', pod)[:80]}-{pid}-{number}"


def began(path: Path) -> int:
    """Time of a segment's first entry, microseconds."""
    return int(path.name[:16])


def segments(directory: Path) -> list[Path]:
    """Every segment of a directory, oldest first; none where there is no directory."""
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in found if path.suffix in (OPEN, SEALED) and path.name[:16].isdigit())


def content(path: Path) -> bytes:
    """What is in a segment; one that was sealed meanwhile is found under its new name."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return path.with_suffix(SEALED).read_bytes()


def read(path: Path, data: bytes | None = None) -> Iterator[tuple[Header, Entry]]:
    """The entries of a segment, each with its header, in the order they were written.

    A last record that is cut off was never acknowledged, and is left out: its process died while it wrote.

    Args:
        data: the segment's content, where it is at hand.

    Raises:
        StoreError: at a record that is not what was written, naming file and offset; what stands before it is given.
    """
    header = None
    for offset, payload in _payloads(path, content(path) if data is None else data):
        try:
            if header is None:
                header = _header(payload)
            else:
                yield header, _entry(payload)
        except msgspec.MsgspecError as error:
            raise _damaged(path, offset, f"a record of another form ({error})") from None


def _payloads(path: Path, data: bytes) -> Iterator[tuple[int, memoryview]]:
    offset, end, view = 0, len(data), memoryview(data)
    while offset < end:
        head = data[offset : offset + _SIZE]
        if not head.startswith(MAGIC) and not (len(head) < len(MAGIC) and MAGIC.startswith(head)):
            raise _damaged(path, offset, "no record begins here")
        if len(head) < _SIZE:
            return
        _, length, crc = _FRAME.unpack_from(head)
        if zlib.crc32(head[: _FRAME.size]) != _CHECK.unpack_from(head, _FRAME.size)[0]:
            raise _damaged(path, offset, "a record's length is not what was written")
        begin = offset + _SIZE
        if begin + length > end:
            return
        payload = view[begin : begin + length]
        if zlib.crc32(payload) != crc:
            raise _damaged(path, offset, "a record is not what was written")
        yield offset, payload
        offset = begin + length


def _damaged(path: Path, offset: int, what: str) -> StoreError:
    return StoreError(
        f"{path}, byte {offset}: {what}; the file was damaged after it was written: put back a copy, or move it away"
    )
