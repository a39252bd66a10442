"""Waiting for other threads without the interpreter's lock, awake, as threads of C libraries do.

A thread that sleeps until another is done wakes up a twentieth to a tenth of a millisecond late,
which is as long as a small convolution takes.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from anyconv._compiled._kept_loops import loop
from anyconv._typing import Array


@intrinsic
def _is_set(typing: Any, flags: Any, index: Any) -> Any:
    """Whether a flag has been set, as memory has it now."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        flag = builder.load_atomic(builder.gep(start, [index]), "acquire", 8)
        return builder.icmp_signed("!=", flag, ir.Constant(flag.type, 0))

    return types.boolean(flags, index), generate


@intrinsic
def _set(typing: Any, flags: Any, index: Any) -> Any:
    """Set a flag, once all that was written before can be read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        one = ir.Constant(ir.IntType(64), 1)
        builder.store_atomic(one, builder.gep(start, [index]), "release", 8)
        return context.get_dummy_value()

    return types.void(flags, index), generate


@loop
def wait(flags: Array, most: int) -> bool:
    """Whether all flags were set before they had been looked at so many times."""
    for _ in range(most):
        count = 0
        for i in range(flags.size):
            count += _is_set(flags, i)
        if count == flags.size:
            return True
    return False


@loop
def tell(flags: Array, index: int, looks: int) -> None:
    """Set a flag, and leave the lock to those who wait for it, as long as that many looks take."""
    _set(flags, index)
    for _ in range(looks):
        if not _is_set(flags, index):
            return
