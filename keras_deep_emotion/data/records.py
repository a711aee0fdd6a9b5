"""Check the TFRecords of built data before TensorFlow reads them."""

import os
from pathlib import Path


def check_records(folder: str | Path) -> None:
    """Raise ValueError if a record in a folder of TFRecords ends behind its file.

    TensorFlow takes memory for as many bytes as a record says that it has, and crashes if there is
    not so much.
    """
    for path in sorted(Path(folder).glob("*.tfrecord*")):
        # tensorflow/core/lib/io/record_writer.h: length, its checksum, data, its checksum
        size, offset = os.path.getsize(path), 0
        with open(path, "rb", buffering=0) as file:
            while offset < size:
                file.seek(offset)
                offset += int.from_bytes(file.read(8), "little") + 16
        if offset != size:
            raise ValueError(
                f"A file is damaged: {path} ends amid a record. Build again what it belongs to."
            )
