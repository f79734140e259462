"""Compilation of the kernel by Numba, once per machine: the machine code is kept beside the source or in the
user's cache folder.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)

Function = TypeVar("Function", bound=Callable[..., Any])


def part(function: Function) -> Function:
    """Compile as a part of those kernels that call it; Python cannot call it."""
    compiled: Function = njit(nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return compiled


def kernel(function: Function) -> Function:
    """Compile, and keep the machine code until any file of this folder changes. Runs without the GIL.

    Neither a kernel nor its parts allocate memory: Numba would count references to every array that is passed on,
    which takes four times as long as the work.

    Numba's own cache looks at the one file that the function stands in, and would go on with old parts.
    """
    compiled: Any = njit(nogil=True, _nrt=False)(function)
    with suppress(RuntimeError):  # nowhere to write: each process compiles for itself
        compiled._cache = _KernelCache(function)
    return compiled  # type: ignore[no-any-return]


@cache
def _stamp() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class _Stamped:
    def get_source_stamp(self) -> str:
        return _stamp()


class _Provided(_Stamped, UserProvidedCacheLocator):  # type: ignore[misc]
    pass


class _InTree(_Stamped, InTreeCacheLocator):  # type: ignore[misc]
    pass


class _UserWide(_Stamped, UserWideCacheLocator):  # type: ignore[misc]
    pass


class _CacheImpl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Provided, _InTree, _UserWide)


class _KernelCache(FunctionCache):  # type: ignore[misc]
    _impl_class = _CacheImpl
