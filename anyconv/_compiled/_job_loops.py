"""Compiled loops called by other threads, which never ask for the interpreter's lock.

A thread that has to take the lock from the one that gives it work sleeps until it is let go, and
wakes up a twentieth to a tenth of a millisecond late, which is as long as a small convolution
takes. So what is to be called is written down as numbers: for each call how many there are, the
address of an entry, and its arguments. Threads tell one another by semaphores of the system, and
look at them for a while before they sleep.
"""

from collections.abc import Callable
from itertools import count
from platform import machine
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from anyconv._compiled._kept_loops import loop as kept_loop
from anyconv._typing import Array

# Where a mailbox keeps the address of its calls, how many there are, what came of them, whether its
# thread is to end, and whether some were given that nobody has waited for; then, each in a line of
# the cache of its own, its semaphores.
CALLS, COUNT, STATUS, ENDS, GIVEN, GO, DONE, MAILBOX = 0, 1, 2, 3, 4, 8, 16, 24
NUMBER, BYTES = ir.IntType(64), 8

_sem_post = types.ExternalFunction("sem_post", types.int32(types.intp))
_sem_trywait = types.ExternalFunction("sem_trywait", types.int32(types.intp))
_sem_wait = types.ExternalFunction("sem_wait", types.int32(types.intp))


@global_compiler_lock
def entry_of(compiled: Any) -> tuple[int, Any]:
    """The address of a function that calls a compiled loop with such arguments; who keeps it.

    Of an array, whose elements lie side by side, they have its place and its sizes.
    """
    context, signature = compiled.target_context, compiled.signature
    library = context.codegen().create_library("anyconv entry")
    module = library.create_ir_module("anyconv entry")
    kind = ir.FunctionType(ir.IntType(32), [NUMBER.as_pointer()])
    entry = ir.Function(module, kind, "anyconv_entry")
    builder = ir.IRBuilder(entry.append_basic_block())
    numbers = (builder.load(builder.gep(entry.args[0], [ir.Constant(NUMBER, i)])) for i in count())
    arguments = [_argument(context, builder, kind, numbers) for kind in signature.args]
    called = context.call_conv.get_function_type(signature.return_type, signature.args)
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    function = builder.inttoptr(ir.Constant(NUMBER, address), called.as_pointer())
    status, _ = context.call_conv.call_function(
        builder, function, signature.return_type, signature.args, arguments
    )
    builder.ret(status.code)
    library.add_ir_module(module)
    library.finalize()
    return library.get_pointer_to_function("anyconv_entry"), library


def _argument(context: Any, builder: Any, kind: Any, numbers: Any) -> Any:
    """One argument of a loop from the next numbers."""
    if not isinstance(kind, types.Array):
        wanted, number = context.get_value_type(kind), next(numbers)
        return number if wanted == NUMBER else builder.trunc(number, wanted)
    array = context.make_array(kind)(context, builder)
    data = builder.inttoptr(next(numbers), array.data.type)
    shape = [next(numbers) for _ in range(kind.ndim)]
    size = ir.Constant(NUMBER, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [size]
    for length in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], length))
    populate_array(
        array,
        data=data,
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=size,
        meminfo=None,
    )
    return array._getvalue()


@intrinsic(prefer_literal=False)
def _call(typing: Any, place: Any) -> Any:
    """Make the call at a place in memory; what comes of it, zero if all is well."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = builder.inttoptr(arguments[0], NUMBER.as_pointer())
        numbers = builder.gep(numbers, [ir.Constant(NUMBER, 1)])
        kind = ir.FunctionType(ir.IntType(32), [NUMBER.as_pointer()])
        entry = builder.inttoptr(builder.load(numbers), kind.as_pointer())
        status = builder.call(entry, [builder.gep(numbers, [ir.Constant(NUMBER, 1)])])
        return builder.zext(status, NUMBER)

    return types.int64(types.int64), generate


@intrinsic(prefer_literal=False)
def _number_at(typing: Any, place: Any) -> Any:
    """The number at a place in memory."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], NUMBER.as_pointer()))

    return types.int64(types.int64), generate


@intrinsic(prefer_literal=False)
def _pause(typing: Any) -> Any:
    """Leave the core to its other thread for some cycles, where a processor has a word for that."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if machine() == "x86_64":
            kind = ir.FunctionType(ir.VoidType(), [])
            pause = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause")
            builder.call(pause, [])
        return context.get_dummy_value()

    return types.void(), generate


def _loop(function: Callable[..., Any]) -> Any:
    """Compiled, with arrays that other threads write to as well."""
    return kept_loop(function, {"nogil": True})


@_loop
def place_of(x: Array) -> int:
    """Where an array begins in memory, seven times as fast as it tells by itself."""
    place: int = x.ctypes.data
    return place


@_loop
def run(calls: int, count: int) -> int:
    """Make so many calls one after the other; how many of them failed."""
    failed = 0
    for _ in range(count):
        failed += _call(calls) != 0
        calls += (_number_at(calls) + 2) * BYTES
    return failed


@_loop
def _take(semaphore: int, looks: int) -> None:
    """Wait for a semaphore: awake for so many looks, then asleep."""
    for _ in range(looks):
        if _sem_trywait(semaphore) == 0:
            return
        _pause()
    while _sem_wait(semaphore) != 0:  # a signal has come
        pass


@_loop
def serve(mailbox: Array, place: int, looks: int) -> None:
    """Run what is put in a mailbox, which is at a place in memory, until it ends."""
    while True:
        _take(place + GO * BYTES, looks)
        if mailbox[ENDS]:
            return
        if mailbox[COUNT]:
            mailbox[STATUS] = run(mailbox[CALLS], mailbox[COUNT])
            mailbox[COUNT] = 0
            _sem_post(place + DONE * BYTES)


@_loop
def give(mailbox: Array, place: int, calls: int, count: int) -> None:
    """Put so many calls in a mailbox whose thread has nothing else to do.

    (What Python does in several steps an interrupt may leave half done.)
    """
    mailbox[CALLS], mailbox[GIVEN], mailbox[COUNT] = calls, 1, count
    _sem_post(place + GO * BYTES)


@_loop
def finish(mailbox: Array, place: int, looks: int) -> int:
    """Wait until what was given has been run, if nobody has yet; how many calls failed."""
    if mailbox[GIVEN]:
        _take(place + DONE * BYTES, looks)
        mailbox[GIVEN] = 0
    failed: int = mailbox[STATUS]
    return failed
