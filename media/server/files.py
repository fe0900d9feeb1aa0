"""Sound files: prompts read and kept decoded, recordings written by a thread of their own.

Fed by ``media.server.audio``. Names are paths below one of the configured roots, and nothing
else: ``..``, absolute paths elsewhere and links that lead out are refused. A name without an
extension gets ``.wav``.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from media import wav
from media.dsp.resample import resample
from media.errors import NgRequestError, ResourceError, WavError

#: Decoded sound that is kept: twenty minutes at 16 kHz and a hundred at most of a stock prompt set.
MAX_CACHE_BYTES: Final = 64 << 20
#: Pieces of recordings on their way to the disk, a second each: 2,000 legs for half a minute.
MAX_QUEUE: Final = 65_536


class _Key(NamedTuple):
    path: str
    changed_ns: int
    size: int
    rate_hz: int


class SoundFiles:
    """Prompts by name."""

    def __init__(self, roots: Sequence[Path], max_cache_bytes: int = MAX_CACHE_BYTES) -> None:
        """``roots``: directories, the first that has a name wins."""
        self._roots = [root.resolve() for root in roots]
        self._max_cache_bytes = max_cache_bytes
        self._cache: OrderedDict[_Key, NDArray[np.int16]] = OrderedDict()
        self._cached_bytes = 0

    def load(self, name: str, rate_hz: int) -> NDArray[np.int16]:
        """The sound at this rate, (samples,), shared: do not change it.

        Raises :class:`NgRequestError`: no such file, a name that leads elsewhere, not a WAV file.
        """
        path = self.find(name)
        try:
            status = path.stat()
            key = _Key(str(path), status.st_mtime_ns, status.st_size, rate_hz)
            cached = self._cache.get(key)
            if cached is not None:
                self._cache.move_to_end(key)
                return cached
            if status.st_size > wav.MAX_BYTES:
                raise NgRequestError(f"{name}: the file is longer than {wav.MAX_BYTES >> 20} MB")
            pcm = decode(path.read_bytes(), rate_hz)
        except OSError as error:
            raise NgRequestError(f"{name}: {error.strerror}") from None
        except WavError as error:
            raise NgRequestError(f"{name}: {error}") from None
        self._cache[key] = pcm
        self._cached_bytes += pcm.nbytes
        while self._cached_bytes > self._max_cache_bytes and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return pcm

    def find(self, name: str) -> Path:
        """The file of a name. Raises :class:`NgRequestError`."""
        try:
            for root in self._roots:
                for path in _candidates(root, name):
                    if path.is_relative_to(root) and path.is_file():
                        return path
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
            raise NgRequestError("unusable file name") from None
        raise NgRequestError(f"{name}: no such sound file")


def _candidates(root: Path, name: str) -> list[Path]:
    """Files that a name may stand for, links followed: where they really lead is judged."""
    names = [name] if name.lower().endswith(".wav") else [f"{name}.wav", name]
    return [(root / one).resolve() for one in names]


def decode(data: bytes, rate_hz: int) -> NDArray[np.int16]:
    """A WAV file's sound at a rate. Raises :class:`WavError`."""
    recording = wav.parse(data)
    return resample(recording.pcm, recording.rate_hz, rate_hz)


class _Job(NamedTuple):
    number: int
    path: Path | None
    data: bytes
    rate_hz: int = 0
    channels: int = 0


class Written(NamedTuple):
    """A recording is complete on the disk, or failed."""

    number: int
    path: Path
    size_bytes: int
    error: str


class RecordingWriter:
    """Writes recordings in a thread, so that a slow disk delays nobody's sound."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MAX_QUEUE)
        self._written: deque[Written] = deque()
        self._serial = 0
        self._paths: dict[int, Path] = {}
        self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)
        self._thread.start()

    def open(self, path: Path, rate_hz: int, channels: int) -> int:
        """Begin a file; returns its number. What cannot be written is told by `finished`."""
        self._serial += 1
        self._paths[self._serial] = path
        self._put(_Job(self._serial, path, b"", rate_hz, channels))
        return self._serial

    def append(self, number: int, data: bytes) -> None:
        if data:
            self._put(_Job(number, self._paths[number], data))

    def close(self, number: int) -> None:
        """No more comes; `finished` tells when the file is complete."""
        del self._paths[number]
        self._put(_Job(number, None, b""))

    def finished(self) -> list[Written]:
        """Files that were completed since the last call."""
        return [self._written.popleft() for _ in range(len(self._written))]

    def shutdown(self) -> None:
        """Complete what is open and end the thread."""
        for number in list(self._paths):
            self.close(number)
        self._jobs.put(None)
        self._thread.join()

    def _put(self, job: _Job) -> None:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise ResourceError("the disk is too slow for the recordings") from None

    def _run(self) -> None:
        files: dict[int, _File] = {}
        while (job := self._jobs.get()) is not None:
            if job.rate_hz and job.path is not None:
                files[job.number] = _File(job.path, job.rate_hz, job.channels)
            elif job.path is not None:
                files[job.number].append(job.data)
            else:
                file = files.pop(job.number)
                file.close()
                self._written.append(Written(job.number, file.path, file.size_bytes, file.error))


class _File:
    """One recording; an error is kept and told at the end."""

    def __init__(self, path: Path, rate_hz: int, channels: int) -> None:
        self.path = path
        self.error = ""
        self.size_bytes = wav.HEADER_BYTES
        self._rate_hz = rate_hz
        self._channels = channels
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb")
            self._file.write(wav.header(0, rate_hz, channels))
        except OSError as error:
            self.error = error.strerror or str(error)

    def append(self, data: bytes) -> None:
        if self.error:
            return
        try:
            self._file.write(data)
            self.size_bytes += len(data)
        except OSError as error:
            self.error = error.strerror or str(error)

    def close(self) -> None:
        """The header tells the length only now; who reads before takes what is there."""
        if not self.error:
            try:
                self._file.seek(0)
                data_bytes = self.size_bytes - wav.HEADER_BYTES
                self._file.write(wav.header(data_bytes, self._rate_hz, self._channels))
            except OSError as error:
                self.error = error.strerror or str(error)
        if hasattr(self, "_file"):
            self._file.close()
