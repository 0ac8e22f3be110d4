"""What keeps the resident memory of a serving process small.

A process that scores uses a small part of the libraries it must load: of a compiler only what
brings its compiled code into memory, once. Nothing here changes a result.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

_ARENA_MAX: Final = -8
"""Of mallopt(3), in glibc's malloc.h."""
_MADV_DONTNEED: Final = 4
"""Of madvise(2), the same on every Linux."""


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let imports of these packages fail inside the context, as if they were not installed.

    For what a library only tries to import and can do without. What is imported already stays, and
    outside the context and on other threads the packages are found as ever.

    Args:
        packages: names of top-level packages.
    """
    finder = _Hiding(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Hiding:
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)
        self._thread = threading.get_ident()

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        hides = name.partition(".")[0] in self._packages
        if hides and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{name} is not used here", name=name)
        return None


def bound_arenas(count: int = 2) -> bool:
    """Let the threads of this process share ``count`` heaps; to be called before they start.

    glibc gives up to eight heaps a core, and what was freed in one serves no other. Threads that
    hold the interpreter lock one at a time have little use for more than one.

    Returns:
        Whether the C library could be told; others than glibc have no such setting.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and set_option(_ARENA_MAX, count) == 1


def give_back_unused() -> None:
    """Return what starting has used and serving does not: garbage, free heap, code of libraries.

    The pages of mapped libraries are read again from the page cache when they are run again, so
    those that serve come back at once and the compiler's stay away.
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    if not hasattr(libc, "madvise"):
        return
    try:
        smaps = Path("/proc/self/smaps").read_text()
    except OSError:
        return
    for mapping in _mappings(smaps):
        if ".so" in Path(mapping.file).name and mapping.equals_file:
            # A refusal leaves the pages where they are.
            libc.madvise(
                ctypes.c_void_p(mapping.start),
                ctypes.c_size_t(mapping.end - mapping.start),
                _MADV_DONTNEED,
            )


class _Mapping(NamedTuple):
    """Part of a file in the memory of this process."""

    start: int
    end: int
    rights: str
    file: str
    kilobytes: dict[str, int]

    @property
    def equals_file(self) -> bool:
        """Whether no page was ever written.

        What the loader has relocated, and made read-only afterwards, has pages of its own, in
        memory or swapped out, which would be lost.
        """
        own = self.kilobytes.get("Anonymous", 1) + self.kilobytes.get("Swap", 1)
        return "w" not in self.rights and own == 0


def _mappings(smaps: str) -> Iterator[_Mapping]:
    """What ``/proc/PID/smaps`` says; see proc(5)."""
    found: _Mapping | None = None
    for line in smaps.splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            if found is not None:
                yield found
            start, _, end = name.partition("-")
            rights, _offset, _device, _inode, *file = rest.split(maxsplit=4)
            found = _Mapping(int(start, 16), int(end, 16), rights, "".join(file), {})
        elif found is not None and rest.endswith(" kB"):
            found.kilobytes[name.removesuffix(":")] = int(rest.removesuffix(" kB"))
    if found is not None:
        yield found
