"""The numbers of the fused CPU blur: load and store by storage dtype, and an exponential that vectorises.

Numba knows neither bfloat16 nor float16: they travel as int16 and uint16, and are widened to float32 on the way in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload


def load(array: np.ndarray, i: int) -> float:
    """array[i] as a number to compute with."""
    raise NotImplementedError("compiled code only")


def store(array: np.ndarray, i: int, value: float) -> None:
    """array[i] = value, rounded to nearest even."""
    raise NotImplementedError("compiled code only")


def exponential(x: float) -> float:
    """exp(x) for x <= 0, in a form that vectorises."""
    raise NotImplementedError("compiled code only")


@overload(load, strict=False)
def _load(array: Any, i: Any) -> Callable:
    if array.dtype == types.int16:  # bfloat16: the upper half of a float32

        def load_bfloat16(array: Any, i: int) -> Any:
            return np.uint32(np.uint32(np.uint16(array[i])) << np.uint32(16)).view(np.float32)

        return load_bfloat16
    if array.dtype == types.uint16:  # float16: rebias the exponent by a product, which is exact for subnormals too

        def load_float16(array: Any, i: int) -> Any:
            half = np.uint32(array[i])
            magnitude = half & np.uint32(0x7FFF)
            wide = np.uint32(magnitude << np.uint32(13)).view(np.float32) * np.float32(2.0**112)
            bits = np.float32(wide).view(np.uint32)
            if magnitude >= np.uint32(0x7C00):
                bits = bits | np.uint32(0x7F800000)
            return np.uint32(bits | ((half & np.uint32(0x8000)) << np.uint32(16))).view(np.float32)

        return load_float16
    return lambda array, i: array[i]


@overload(store, strict=False)
def _store(array: Any, i: Any, value: Any) -> Callable:
    if array.dtype == types.int16:

        def store_bfloat16(array: Any, i: int, value: Any) -> None:
            bits = np.float32(value).view(np.uint32)
            rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            if (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000):
                rounded = bits | np.uint32(0x400000)  # a NaN stays one
            array[i] = np.int16(np.uint16(rounded >> np.uint32(16)))

        return store_bfloat16
    if array.dtype == types.uint16:

        def store_float16(array: Any, i: int, value: Any) -> None:
            bits = np.float32(value).view(np.uint32)
            magnitude = bits & np.uint32(0x7FFFFFFF)
            # Normal numbers: rebias the exponent from 127 to 15, round the 13 bits that go.
            normal = magnitude - np.uint32(112 << 23) + np.uint32(0xFFF) + ((magnitude >> np.uint32(13)) & np.uint32(1))
            half = normal >> np.uint32(13)
            if magnitude < np.uint32(113 << 23):  # subnormal: the adder of 0.5 does shift and rounding
                shifted = np.uint32(magnitude).view(np.float32) + np.float32(0.5)
                half = np.float32(shifted).view(np.uint32) - np.uint32(126 << 23)
            if magnitude >= np.uint32(143 << 23):  # 2^16 and above: infinity
                half = np.uint32(0x7C00)
            if magnitude > np.uint32(0x7F800000):
                half = np.uint32(0x7E00)
            array[i] = np.uint16(half | ((bits >> np.uint32(16)) & np.uint32(0x8000)))

        return store_float16

    def store_as_is(array: Any, i: int, value: Any) -> None:
        array[i] = value

    return store_as_is


@overload(exponential, strict=False)
def _exponential(x: Any) -> Callable:
    if x == types.float64:
        return lambda x: np.exp(x)

    def exponential_float32(x: Any) -> Any:
        # exp(x) = 2^n 2^f, |f| <= 1/2: n goes into the exponent's bits, 2^f is a series, exact to 2e-8.
        y = x * np.float32(1.4426950408889634)
        n = np.floor(max(y, np.float32(-126.0)) + np.float32(0.5))
        f = (y - n) * np.float32(0.6931471805599453)
        p = np.float32(1 / 5040)
        p = p * f + np.float32(1 / 720)
        p = p * f + np.float32(1 / 120)
        p = p * f + np.float32(1 / 24)
        p = p * f + np.float32(1 / 6)
        p = p * f + np.float32(0.5)
        p = p * f + np.float32(1)
        p = p * f + np.float32(1)
        result = p * np.uint32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        return np.float32(0) if y < np.float32(-126.0) else result

    return exponential_float32
