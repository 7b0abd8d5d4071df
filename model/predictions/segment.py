"""Segments: append-only files of framed records, the first a Header, the others entries, outcomes and refusals.

A frame is 16 bytes and a payload: magic, the payload's length, its crc32, the crc32 of these 12 bytes; little-endian.
The magic says what the payload is: HFP1 a header or an entry, HFO1 the outcomes of a request, HFR1 what was refused in
some seconds. To change what a payload holds: append fields with defaults to its struct, or raise Header.version and
keep the old reader. For another kind of record, give it a magic of its own, as HFO1 and HFR1 came to be: segments from
before are read as ever, and a reader from before takes the first such record for damage, keeps the file, and ships what
stands before it.

TIME-POD-PID-N.open   a process appends to it, or died while it did; TIME is that of its first entry, in microseconds
TIME-POD-PID-N.seg    sealed: on the disk, never written again
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from features.store.base import StoreError
from model.predictions.entry import Entry, Header
from model.predictions.outcome import Outcomes
from model.predictions.refusal import Refusals

Record = Entry | Outcomes | Refusals
ENTRY, OUTCOMES, REFUSALS = b"HFP1", b"HFO1", b"HFR1"
OPEN, SEALED = ".open", ".seg"
_FRAME = struct.Struct("<4sII")
_CHECK = struct.Struct("<I")
_SIZE = _FRAME.size + _CHECK.size
_encode = msgspec.msgpack.Encoder().encode
_header = msgspec.msgpack.Decoder(Header).decode
_DECODE: dict[bytes, Callable[[memoryview], Record]] = {
    ENTRY: msgspec.msgpack.Decoder(Entry).decode,
    OUTCOMES: msgspec.msgpack.Decoder(Outcomes).decode,
    REFUSALS: msgspec.msgpack.Decoder(Refusals).decode,
}


def frame(record: Header | Record) -> tuple[bytes, bytes]:
    """A record as it is written: its frame's head, and its payload.

    Raises:
        UnicodeEncodeError, OverflowError: for text or numbers that no reader could take.
    """
    payload = _encode(record)
    magic = OUTCOMES if isinstance(record, Outcomes) else REFUSALS if isinstance(record, Refusals) else ENTRY
    head = _FRAME.pack(magic, len(payload), zlib.crc32(payload))
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
    """The entries of a segment, as `records` reads them."""
    for header, record in records(path, data, only=ENTRY):
        if isinstance(record, Entry):
            yield header, record


def outcomes(path: Path, data: bytes | None = None) -> Iterator[tuple[Header, Outcomes]]:
    """The outcomes of a segment, likewise."""
    for header, record in records(path, data, only=OUTCOMES):
        if isinstance(record, Outcomes):
            yield header, record


def records(path: Path, data: bytes | None = None, *, only: bytes | None = None) -> Iterator[tuple[Header, Record]]:
    """The records of a segment, each with its header, in the order they were written.

    A last record that is cut off was never acknowledged, and is left out: its process died while it wrote.

    Args:
        data: the segment's content, where it is at hand. only: the magic of those that are wanted; None is all.

    Raises:
        StoreError: at a record that is not what was written, naming file and offset; what stands before it is given.
    """
    header = None
    for offset, magic, payload in _payloads(path, content(path) if data is None else data):
        try:
            if header is None:
                header = _header(payload)
            elif only is None or magic == only:
                yield header, _DECODE[magic](payload)
        except msgspec.MsgspecError as error:
            raise _damaged(path, offset, f"a record of another form ({error})") from None


def taken(path: Path, data: bytes, base: int, header: Header | None) -> Iterator[tuple[int, Header, Record | None]]:
    """The records in a piece of a segment, each with the offset behind it and its header; a last one that is not whole
    is left out.

    Args:
        base: offset of the piece. header: what the segment begins with; None if the piece does, and it is given with no
            record then.

    Raises:
        StoreError: as `records`.
    """
    for offset, magic, payload in _payloads(path, data, base):
        behind = offset + _SIZE + len(payload)
        try:
            if header is None:
                header = _header(payload)
                yield behind, header, None
            else:
                yield behind, header, _DECODE[magic](payload)
        except msgspec.MsgspecError as error:
            raise _damaged(path, offset, f"a record of another form ({error})") from None


def _payloads(path: Path, data: bytes, base: int = 0) -> Iterator[tuple[int, bytes, memoryview]]:
    offset, end, view = 0, len(data), memoryview(data)
    while offset < end:
        head = data[offset : offset + _SIZE]
        if not any(magic.startswith(head[: len(magic)]) for magic in _DECODE):
            raise _damaged(path, base + offset, "no record begins here")
        if len(head) < _SIZE:
            return
        magic, length, crc = _FRAME.unpack_from(head)
        if zlib.crc32(head[: _FRAME.size]) != _CHECK.unpack_from(head, _FRAME.size)[0]:
            raise _damaged(path, base + offset, "a record's length is not what was written")
        begin = offset + _SIZE
        if begin + length > end:
            return
        payload = view[begin : begin + length]
        if zlib.crc32(payload) != crc:
            raise _damaged(path, base + offset, "a record is not what was written")
        yield base + offset, magic, payload
        offset = begin + length


def _damaged(path: Path, offset: int, what: str) -> StoreError:
    return StoreError(
        f"{path}, byte {offset}: {what}; the file was damaged after it was written: put back a copy, or move it away"
    )
