"""Event files for TensorBoard, without TensorBoard: scalars as records of the TFRecord format.

A record is its length (uint64), the masked CRC-32C of these eight bytes, the content, and the content's masked CRC-32C.
The content is a protocol buffer of type Event, of which only the fields below are needed. Both formats are
TensorFlow's: https://www.tensorflow.org/tutorials/load_data/tfrecord and tensorflow/core/util/event.proto.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import google_crc32c

FILE_VERSION = b"brain.Event:2"
# Field numbers of Event, Summary, Summary.Value and SessionLog, with the wire type in the last three bits
WALL_TIME, STEP, VERSION, SUMMARY, SESSION_LOG = 1 << 3 | 1, 2 << 3 | 0, 3 << 3 | 2, 5 << 3 | 2, 7 << 3 | 2
VALUE = 1 << 3 | 2
TAG, SIMPLE_VALUE = 1 << 3 | 2, 2 << 3 | 5
STATUS, START = 1 << 3 | 0, 1


class EventFile:
    """A file of scalars in a folder that TensorBoard watches.

    Parameters
    ----------
    folder : Path
        Created if it does not exist. Each run or resumed run has a file of its own.
    first_step : int
        Points of earlier files from this step on are no longer shown: they come again.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("xb")
        self._write(0, bytes([VERSION, len(FILE_VERSION)]) + FILE_VERSION)
        self._write(first_step, _message(SESSION_LOG, bytes([STATUS, START])))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars of a step, each under its name; TensorBoard groups names by what stands before a slash."""
        summary = b"".join(
            _message(VALUE, _message(TAG, name.encode()) + bytes([SIMPLE_VALUE]) + struct.pack("<f", value))
            for name, value in values.items()
        )
        self._write(step, _message(SUMMARY, summary))
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _write(self, step: int, content: bytes) -> None:
        head = bytes([WALL_TIME]) + struct.pack("<d", time.time()) + bytes([STEP]) + _varint(step)
        event = head + content
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked_crc(length) + event + _masked_crc(event))


def _message(field: int, content: bytes) -> bytes:
    return bytes([field]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
