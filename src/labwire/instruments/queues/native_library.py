"""The C part of the queues, loaded through ctypes. See `labwire.instruments.queues.build`."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Final

from labwire.errors import ResourceError

LIBRARY: Final = Path(__file__).with_name("libqueues.so")  # `build` makes it; a worker has no need to import that
ABI: Final = 2
"""Goes up with every change of a C function's name, arguments or results."""

TIMED_OUT: Final = -1
WOKEN: Final = -2
CLOSED: Final = -3
BROKEN: Final = -4
LOCKED: Final = -5
TOO_LARGE: Final = -6
GONE: Final = -7
ERRNO: Final = -1000
"""Below this: `ERRNO` minus an errno."""

_REBUILD = "compile it: apt install gcc (or your system's C compiler), then python -m labwire.instruments.queues.build"
_P, _I, _U32, _U64, _I64, _S = (
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint32,
    ctypes.c_uint64,
    ctypes.c_int64,
    ctypes.c_char_p,
)
_FUNCTIONS: Final = {
    "lw_sources": (_S,),
    "lw_boost_handle_bytes": (_U64,),
    "lw_boost_file_bytes": (_U64, _U64, _U64),
    "lw_boost_map": (_I, _P, _I, _U64),
    "lw_boost_format": (_I, _P, _U64, _U64, _I),
    "lw_boost_learn": (_I, _P, _U32, _I),
    "lw_boost_depth": (_U64, _P),
    "lw_boost_size_bytes": (_U64, _P),
    "lw_boost_text": (_S, _P),
    "lw_boost_holder": (_I, _P),
    "lw_boost_count": (_U64, _P),
    "lw_boost_send": (_I, _P, _S, _U32, _U32, _I64),
    "lw_boost_receive": (_I, _P, _P, _I64),
    "lw_boost_wake": (None, _P),
    "lw_boost_close": (None, _P),
    "lw_socket_handle_bytes": (_U64,),
    "lw_socket_open": (_I, _P, _I, _I, _I, _U32, _U64),
    "lw_socket_count": (_I64, _P, _I),
    "lw_socket_send": (_I, _P, _S, _U32, _U32, _I64),
    "lw_socket_receive": (_I, _P, _P, _I64),
    "lw_socket_wake": (None, _P),
    "lw_socket_close": (None, _P),
    "lw_posix_handle_bytes": (_U64,),
    "lw_posix_open": (_I, _P, _S, ctypes.c_long, ctypes.c_long, _U32),
    "lw_posix_unlink": (_I, _S),
    "lw_posix_look": (_I, _P, _P, _P, _P),
    "lw_posix_send": (_I, _P, _S, _U32, _U32, _I64),
    "lw_posix_receive": (_I, _P, _P, _I64),
    "lw_posix_wake": (None, _P),
    "lw_posix_close": (None, _P),
}


@cache
def library() -> ctypes.CDLL:
    """Load the C part, once. Its calls release the interpreter lock.

    Raises:
        ResourceError: Not on Linux, not compiled, or compiled from another version.
    """
    if sys.platform != "linux":
        raise ResourceError(f"the queues of instruments need Linux, not {sys.platform}")
    try:
        loaded = ctypes.CDLL(str(LIBRARY), use_errno=False)
    except OSError as error:
        raise ResourceError(f"the C part of the queues cannot be loaded ({error}); {_REBUILD}") from error
    try:
        abi = loaded.lw_abi()
    except AttributeError:
        abi = 0
    if abi != ABI:
        raise ResourceError(f"the C part of the queues, {LIBRARY}, is of version {abi}, not {ABI}; {_REBUILD}")
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype = result
        function.argtypes = arguments
    return loaded
