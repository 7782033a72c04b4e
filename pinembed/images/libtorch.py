"""Two operations out of torch's libraries, without Python's torch: decode a JPEG, and resize with antialiasing.

To import torch takes most of a second and 300 MB; its libraries alone take a quarter of that. They are called by the C
interface that torch keeps stable for extensions: https://docs.pytorch.org/docs/stable/notes/libtorch_stable_abi.html

Shape legend: C channels, H height, W width.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import sys
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint8, c_uint64, c_void_p
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"
INTERFACE = (2 << 56) | (10 << 48)  # torch 2.10, from which on all that is called here is there
RESIZE = {"bicubic": b"aten::_upsample_bicubic2d_aa", "bilinear": b"aten::_upsample_bilinear2d_aa"}
DECODE = b"image::decode_jpeg"
RGB = 3  # torchvision's ImageReadMode.RGB
SIGNATURES = {
    "aoti_torch_create_tensor_from_blob": (
        *(c_void_p, c_int64, c_void_p, c_void_p, c_int64),
        *(c_int32, c_int32, c_int32, c_void_p),
    ),
    "aoti_torch_get_data_ptr": (c_void_p, c_void_p),
    "aoti_torch_get_dim": (c_void_p, c_void_p),
    "aoti_torch_get_sizes": (c_void_p, c_void_p),
    "aoti_torch_get_strides": (c_void_p, c_void_p),
    "aoti_torch_delete_tensor_object": (c_void_p,),
    "torch_new_list_reserve_size": (c_size_t, c_void_p),
    "torch_list_push_back": (c_void_p, c_uint64),
    "torch_call_dispatcher": (c_char_p, c_char_p, c_void_p, c_uint64),
}


class Libtorch:
    """The libraries of the torch and the torchvision that are installed, loaded into this process.

    Raises:
        OSError: they are not there, or are no pair.
        AttributeError: torch is older than 2.10.
    """

    def __init__(self) -> None:
        folder = _package("torch") / "lib"
        self._lib = ctypes.CDLL(str(folder / f"libtorch_cpu{SUFFIX}"))
        ctypes.CDLL(str(folder / f"libtorch{SUFFIX}"))  # that torchvision's library looks for
        for path in _package("torchvision").glob("image*.so"):
            ctypes.CDLL(str(path))
        for name, types in SIGNATURES.items():
            getattr(self._lib, name).argtypes = types
        self._uint8 = int(self._lib.aoti_torch_dtype_uint8())
        self._cpu = int(self._lib.aoti_torch_device_type_cpu())

    def decode_jpeg(self, content: bytes) -> Pixels:
        """(3, H, W), as the camera held it; the rows of pixels lie together.

        torchvision would turn it upright, but finds the EXIF orientation only where EXIF is the first of its kind of
        segment; `decode.orientation_of` has the one rule.

        Raises:
            RuntimeError: damaged, or no JPEG.
        """
        encoded = self._tensor_of(np.frombuffer(content, dtype=np.uint8))
        return self._array_of(self._called(DECODE, encoded, RGB, int(False)))

    def resize(self, pixels_CHW: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
        """(C, height, width) of pixels of any strides, with antialiasing.

        Args:
            pixels_CHW: to resize.
            size: width and height.
            interpolation: one of RESIZE.
        """
        wanted = c_void_p()
        self._check(self._lib.torch_new_list_reserve_size(2, byref(wanted)))
        for side_px in reversed(size):
            self._check(self._lib.torch_list_push_back(wanted, side_px))
        assert wanted.value is not None
        corners, scale_h, scale_w = 0, 0, 0  # corners are not aligned; no scale is given beside the size
        pixels_BCHW = self._tensor_of(pixels_CHW[None])
        resized = self._called(RESIZE[interpolation], pixels_BCHW, wanted.value, corners, scale_h, scale_w)
        resized_CHW: Pixels = self._array_of(resized)[0]
        return resized_CHW

    def _tensor_of(self, array: Pixels) -> int:
        """A tensor over the memory of an array, which has to outlive it."""
        made = c_void_p()
        sizes, strides = ((c_int64 * array.ndim)(*values) for values in (array.shape, array.strides))
        where = (array.ctypes.data, array.ndim, sizes, strides, 0)
        self._check(self._lib.aoti_torch_create_tensor_from_blob(*where, self._uint8, self._cpu, 0, byref(made)))
        assert made.value is not None
        return made.value

    def _called(self, operation: bytes, *values: int) -> c_void_p:
        """The first result of an operation, which takes the tensors and lists among its values over."""
        stack = (c_uint64 * len(values))(*values)
        self._check(self._lib.torch_call_dispatcher(operation, b"", stack, INTERFACE))
        return c_void_p(stack[0])

    def _array_of(self, tensor: c_void_p) -> Pixels:
        """An array over the memory of a tensor, which ends with it."""
        data, dims, sizes, strides = c_void_p(), c_int64(), POINTER(c_int64)(), POINTER(c_int64)()
        self._check(self._lib.aoti_torch_get_data_ptr(tensor, byref(data)))
        self._check(self._lib.aoti_torch_get_dim(tensor, byref(dims)))
        self._check(self._lib.aoti_torch_get_sizes(tensor, byref(sizes)))
        self._check(self._lib.aoti_torch_get_strides(tensor, byref(strides)))
        shape, steps = (tuple(values[: dims.value]) for values in (sizes, strides))
        assert data.value is not None
        memory = (c_uint8 * math.prod(shape)).from_address(data.value)
        memory.owner = _Owner(self._lib, tensor)
        return np.ndarray(shape, np.uint8, buffer=memory, strides=steps)

    @staticmethod
    def _check(code: int) -> None:
        if code:
            raise RuntimeError(f"torch refuses the call with code {code}")


class _Owner:
    """Frees a tensor when nobody needs it any more."""

    def __init__(self, lib: ctypes.CDLL, tensor: c_void_p) -> None:
        self._lib = lib
        self._tensor = tensor

    def __del__(self) -> None:
        self._lib.aoti_torch_delete_tensor_object(self._tensor)


def _package(name: str) -> Path:
    """The folder of a package, which is not imported.

    Raises:
        OSError: it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise OSError(f"{name} is not installed")
    return Path(next(iter(found.submodule_search_locations)))
