"""The one door to the array libraries: which namespace an array belongs to, and what it can do.

The kernels speak the array API standard. What the standard lacks and a library has is a capability
asked of this file: strided window views, products written in place, lazy blocks. Each has a path in
standard functions beside it that gives the same numbers. No library is imported before the caller
has imported it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import array_api_compat
import array_api_extra

from anyconv._typing import Array, Device, DType, Index, Namespace, Shape


def common_namespace(**arrays: Array) -> Namespace:
    """The namespace that all arrays share, once their kind, dtype and device are found equal."""
    first = next(iter(arrays.values()))
    kind = type(first)
    xp = _numpy_namespace(kind)  # type: ignore[arg-type]
    on_one_device = xp is not None and all(type(array) is kind for array in arrays.values())
    if not on_one_device:
        xp = array_namespace(**arrays)
    if any(array.dtype != first.dtype for array in arrays.values()):
        raise TypeError(_unlike("dtype", {name: x.dtype for name, x in arrays.items()}))
    if not on_one_device:
        check_devices(**arrays)
    return xp


def check_devices(**arrays: Array) -> None:
    """Refuse arrays on different devices; one that JAX traces is on whichever the others are."""
    devices = {name: device(array) for name, array in arrays.items()}
    known = [where for where in devices.values() if where is not None]
    if any(where != known[0] for where in known):  # no set of them: CuPy's have no hash
        raise ValueError(_unlike("device", devices))


def array_namespace(**arrays: Array) -> Namespace:
    """The namespace that all arrays share, whatever their dtypes and devices."""
    for name, array in arrays.items():
        if not array_api_compat.is_array_api_obj(array):
            raise TypeError(
                f"`{name}` must be an array, got {type(array).__name__}; "
                "convert it first, for example with numpy.asarray"
            )
    found = {name: array_api_compat.array_namespace(array) for name, array in arrays.items()}
    if len(set(found.values())) > 1:
        names = {name: xp.__name__.removeprefix("array_api_compat.") for name, xp in found.items()}
        raise TypeError(_unlike("namespace", names))
    return next(iter(found.values()))


def _unlike(what: str, values: dict[str, Any]) -> str:
    each = ", ".join(f"`{name}` has {value}" for name, value in values.items())
    return f"all arrays of a call must share one {what}: {each}"


@lru_cache
def _numpy_namespace(kind: Any) -> Namespace | None:
    """NumPy's namespace for its own arrays, which need no further look; else None."""
    if getattr(kind, "__module__", "") == "numpy" and getattr(kind, "__name__", "") == "ndarray":
        import array_api_compat.numpy

        return array_api_compat.numpy
    return None


def namespace_of_name(name: str | Namespace) -> Namespace:
    """The namespace of a library's name, which is imported, or of its module."""
    import importlib
    from types import ModuleType

    if isinstance(name, ModuleType):
        name = name.__name__
    if not isinstance(name, str):
        raise TypeError(f"`namespace` must be a library's name or its module, got {name!r}")
    library = name.removeprefix("array_api_compat.").partition(".")[0]
    module = _NAMESPACES.get(library)
    if module is None:
        raise ValueError(f"`namespace` must be one of {', '.join(_NAMESPACES)}, got {name!r}")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"`namespace` {name!r} is not installed here: {error}") from error


_NAMESPACES = {
    "numpy": "array_api_compat.numpy",
    "cupy": "array_api_compat.cupy",
    "torch": "array_api_compat.torch",
    "jax": "jax.numpy",
    "dask": "array_api_compat.numpy",  # its blocks are NumPy's
    "array_api_strict": "array_api_strict",
}


def dtype_of_name(dtype: DType | str, *, xp: Namespace) -> DType:
    """A namespace's dtype from its name; a dtype as it is."""
    is_name = isinstance(dtype, str)
    found = getattr(xp, dtype, None) if is_name else dtype
    try:
        xp.isdtype(found, "numeric")
    except (TypeError, ValueError, AttributeError):
        kind = ValueError if is_name else TypeError
        raise kind(f"`dtype` must be a dtype of {library_name(xp)}, got {dtype!r}") from None
    return found


def device(x: Array) -> Device:
    """The device of an array, None while JAX traces."""
    return array_api_compat.device(x)


@lru_cache
def is_kind(xp: Namespace, dtype: DType, kind: str) -> bool:
    """Whether a dtype is of one of the standard's kinds, such as `"real floating"`."""
    return bool(xp.isdtype(dtype, kind))


@lru_cache
def accumulator(xp: Namespace, dtype: DType) -> DType:
    """The dtype that sums are kept in: the arrays' own, or float32 for half precision."""
    if is_kind(xp, dtype, "real floating") and xp.finfo(dtype).bits < 32:
        return xp.float32
    return dtype


@lru_cache
def item_bytes(xp: Namespace, dtype: DType) -> int:
    """The bytes of one element."""
    if is_kind(xp, dtype, "bool"):
        return 1
    if is_kind(xp, dtype, "complex floating"):
        return int(xp.finfo(dtype).bits) // 4  # `bits` counts one of the two parts
    info = xp.finfo if is_kind(xp, dtype, "real floating") else xp.iinfo
    return int(info(dtype).bits) // 8


@lru_cache
def is_numpy(xp: Namespace) -> bool:
    """Whether arrays are NumPy's: eager, on the CPU, one core for all but matrix products."""
    return bool(array_api_compat.is_numpy_namespace(xp))


@lru_cache
def is_lazy_blocks(xp: Namespace) -> bool:
    """Whether an array is a lazy grid of blocks, each an array of another library (Dask)."""
    return bool(array_api_compat.is_dask_namespace(xp))


@lru_cache
def is_traced(xp: Namespace) -> bool:
    """Whether arrays are immutable and calls compiled as one program (JAX)."""
    return bool(array_api_compat.is_jax_namespace(xp))


@lru_cache
def is_cupy(xp: Namespace) -> bool:
    """Whether arrays are CuPy's, on a GPU always."""
    return bool(array_api_compat.is_cupy_namespace(xp))


@lru_cache
def _is_torch(xp: Namespace) -> bool:
    return bool(array_api_compat.is_torch_namespace(xp))


def runs_on_gpu(xp: Namespace, x: Array) -> bool:
    """Whether an array's memory is a GPU's."""
    if is_numpy(xp):
        return False
    return is_cupy(xp) or "cpu" not in str(device(x)).lower()


def is_gpu(xp: Namespace, where: Device | str | None) -> bool:
    """Whether a device, or the name of one, is a GPU; none given is the library's own choice."""
    if where is None:
        return is_cupy(xp)
    if isinstance(where, int | float):
        raise TypeError(f"`device` must be a device or its name, such as 'cuda:0', got {where!r}")
    word = str(where).lower()
    if isinstance(where, str) and not word.startswith(_DEVICE_WORDS):
        raise ValueError(f"`device` must start with {', '.join(_DEVICE_WORDS)}, got {where!r}")
    on_gpu = "cpu" not in word
    if (on_gpu and is_numpy(xp)) or (not on_gpu and is_cupy(xp)):
        raise ValueError(f"`device` must be one that {library_name(xp)} has, got {where!r}")
    return on_gpu


_DEVICE_WORDS = ("cpu", "cuda", "gpu", "mps", "xpu")


def library_name(xp: Namespace) -> str:
    """What a reader calls the library of a namespace."""
    return str(xp.__name__).removeprefix("array_api_compat.").removesuffix(".numpy")


@lru_cache
def multiplies_half_in_float32(xp: Namespace) -> bool:
    """Whether products of half precision are summed in float32 by the library itself (CuPy)."""
    return is_cupy(xp)


@lru_cache
def has_strided_views(xp: Namespace) -> bool:
    """Whether `strided_view` can show overlapping windows without a copy."""
    return is_numpy(xp) or is_cupy(xp) or _is_torch(xp)


def strided_view(
    x: Array, shape: Shape, axes: Sequence[tuple[int, int]], *, xp: Namespace
) -> Array:
    """A view of `shape` whose axis j walks x's axis `axes[j][0]` in steps of `axes[j][1]` cells."""
    if _is_torch(xp):
        strides = x.stride()
        steps = [strides[axis] * step for axis, step in axes]
        return x.as_strided(shape, steps, x.storage_offset())
    steps = [x.strides[axis] * step for axis, step in axes]
    return _as_strided(xp)(x, shape, steps)


@lru_cache
def _as_strided(xp: Namespace) -> Callable[..., Array]:
    if is_cupy(xp):
        from cupy.lib.stride_tricks import as_strided
    else:
        from numpy.lib.stride_tricks import as_strided
    return as_strided  # type: ignore[no-any-return]


@lru_cache
def has_out(xp: Namespace) -> bool:
    """Whether `xp.matmul` and the like write into `out=`."""
    return is_numpy(xp) or is_cupy(xp)


def matmul(a: Array, b: Array, *, out: Array | None = None, xp: Namespace) -> Array:
    """The product of two matrices, or of as many in each; written to `out` where one is given.

    CuPy copies a matrix that is transposed, unless there are but two axes. (With those it sums the
    product of two vectors in their own dtype, which half precision must not be.)
    """
    is_one = a.ndim == b.ndim and prod(a.shape[:-2]) == prod(b.shape[:-2]) == 1
    if is_cupy(xp) and is_one and a.shape[-2] * b.shape[-1] > 1:
        batch, given = a.shape[:-2], None
        if out is not None:
            given = xp.reshape(out, out.shape[-2:], copy=False)
        a, b = (xp.reshape(m, m.shape[-2:], copy=False) for m in (a, b))
        product = xp.matmul(a, b) if given is None else xp.matmul(a, b, out=given)
        return xp.reshape(product, (*batch, *product.shape))
    return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)


@lru_cache
def adds_row_by_row(xp: Namespace) -> bool:
    """Whether `xp.sum` over an axis before others may go row by row: slow, and digits are lost."""
    return not (is_cupy(xp) or _is_torch(xp) or is_traced(xp))


def highest(x: Array, *, axis: int | Shape, keepdims: bool = False, xp: Namespace) -> Array:
    """The maximum over some axes; NaN wins, which JAX's own reduction may miss on a CPU."""
    y = xp.max(x, axis=axis, keepdims=keepdims)
    if not (is_traced(xp) and is_kind(xp, x.dtype, "real floating")):
        return y
    has_nan = xp.any(xp.isnan(x), axis=axis, keepdims=keepdims)
    return xp.where(has_nan, xp.asarray(xp.nan, dtype=x.dtype), y)


def add_at(x: Array, index: Index, value: Array, *, xp: Namespace) -> Array:
    """X with a value added to one of its slices, written in place where the library can."""
    if is_traced(xp):
        return array_api_extra.at(x)[index].add(value)
    x[index] += value
    return x


def set_at(x: Array, index: Index, value: Array, *, xp: Namespace) -> Array:
    """X with one of its slices replaced, written in place where the library can."""
    if is_traced(xp):
        return array_api_extra.at(x)[index].set(value)
    x[index] = value
    return x


def in_order(x: Array, *, xp: Namespace) -> Array:
    """A copy that lies in row-major order, which `asarray` does not promise: it keeps a view's."""
    if is_traced(xp):
        return x
    y = xp.empty(x.shape, dtype=x.dtype, device=device(x))
    return set_at(y, (...,), x, xp=xp)


def combine_at(
    x: Array, index: Index, operation: Callable[..., Array], *values: Array, xp: Namespace
) -> Array:
    """X with one of its slices replaced by `operation(*values)`, without a temporary if possible.

    One of the values may be that slice itself.
    """
    if has_out(xp):
        operation(*values, out=x[index])
        return x
    return set_at(x, index, operation(*values), xp=xp)


@lru_cache
def has_sums_of_products(xp: Namespace, dtype: DType) -> bool:
    """Whether `sum_of_products` is one pass over its factors, without a temporary."""
    return (is_numpy(xp) or is_cupy(xp)) and is_kind(xp, dtype, "real floating")


def sum_of_products(
    x: Array,
    w: Array,
    w_axes: Sequence[int],
    y_axes: Sequence[int],
    *,
    out: Array | None = None,
    xp: Namespace,
) -> Array:
    """`x * w` summed over the axes of x that y lacks; w and y have those of x that are named.

    Where y is given the axes summed over are all of w. Half precision is summed in float32.
    """
    if not is_cupy(xp):
        import numpy

        return numpy.einsum(x, range(x.ndim), w, w_axes, y_axes, out=out)
    sums = "float" if accumulator(xp, x.dtype) != x.dtype else "T"
    summed = [axis for axis in range(x.ndim) if axis not in y_axes]
    w = xp.reshape(w, tuple(n if axis in w_axes else 1 for axis, n in enumerate(x.shape)))
    if out is None:
        return _cupy_reduction(sums)(x, w, axis=tuple(summed))
    taps = list(product(*(range(x.shape[axis]) for axis in summed)))
    for start in range(0, len(taps), CUPY_TERMS):
        arrays = []
        for tap in taps[start : start + CUPY_TERMS]:
            index: list[int | slice] = [slice(None)] * x.ndim
            for axis, place in zip(summed, tap, strict=True):
                index[axis] = place
            arrays += [x[tuple(index)], w[tuple(index)]]
        _cupy_sum(len(arrays) // 2, start > 0, sums)(*arrays, out)
    return out


# The products that one of CuPy's kernels adds: what it is given may take four kilobytes.
CUPY_TERMS = 16


@lru_cache
def _cupy_sum(terms: int, adds: bool, sums: str) -> Callable[..., Array]:
    """The sum of some products, element by element, as one kernel."""
    import cupy

    given = ", ".join(f"T x{term}, T w{term}" for term in range(terms))
    products = (f"({sums})x{term} * ({sums})w{term}" for term in range(terms))
    total = " + ".join([*[f"({sums})y"] * adds, *products])
    made: Callable[..., Array] = cupy.ElementwiseKernel(
        given, "T y", f"y = {total}", "anyconv_taps"
    )
    return made


@lru_cache
def _cupy_reduction(sums: str) -> Callable[..., Array]:
    """The sum of products over some axes, as one kernel."""
    import cupy

    steps = ("T x, T w", "T y", f"({sums})x * ({sums})w", "a + b", "y = a", "0")
    made: Callable[..., Array] = cupy.ReductionKernel(*steps, "anyconv_sums", reduce_type=sums)
    return made


@lru_cache
def scatters_in_order(xp: Namespace) -> bool:
    """Whether `add_at_positions` is fast, and adds in the order given what names the same cell."""
    return is_numpy(xp)


def add_at_positions(x: Array, positions: Array, values: Array, *, xp: Namespace) -> Array:
    """X, which is contiguous, with values added at flat positions, in place."""
    flat = xp.reshape(x, (-1,), copy=False)
    xp.add.at(flat, xp.reshape(positions, (-1,)), xp.reshape(values, (-1,)))
    return x


@lru_cache
def has_minimum_at(xp: Namespace) -> bool:
    """Whether `minimum_at` is there."""
    return is_numpy(xp) or is_traced(xp) or _is_torch(xp)


def minimum_at(x: Array, positions: Array, values: Array, *, xp: Namespace) -> Array:
    """X `(cells,)` with the least of its own and all values at each position, perhaps in place."""
    if is_traced(xp):
        return array_api_extra.at(x)[positions].min(values)
    if _is_torch(xp):
        return x.scatter_reduce_(0, positions, values, "amin")
    xp.minimum.at(x, positions, values)
    return x


def divide(x: Array, y: Array | int, *, xp: Namespace) -> Array:
    """X divided, in place where the library can; for an array that nobody else holds."""
    if has_out(xp):
        return xp.divide(x, y, out=x)
    return x / y


def keep_where(x: Array, mask: Array, *, out: Array | None = None, xp: Namespace) -> Array:
    """X where the mask is true, zero elsewhere, perhaps written to `out`."""
    bits = _same_bits(x.dtype) if is_numpy(xp) else None
    if bits is None:
        kept = xp.where(mask, x, xp.zeros((), dtype=x.dtype, device=device(x)))
        return kept if out is None else set_at(out, (...,), kept, xp=xp)
    # Three times as fast as `where`: a pattern of bits times one or zero, exact for every number.
    if out is None:
        return (x.view(bits) * mask).view(x.dtype)
    xp.multiply(x.view(bits), mask, out=out.view(bits))
    return out


@lru_cache
def _same_bits(dtype: DType) -> DType | None:
    """The integer dtype of a NumPy dtype's size, if there is one."""
    import numpy

    return {1: numpy.int8, 2: numpy.int16, 4: numpy.int32, 8: numpy.int64}.get(dtype.itemsize)


def may_hold_nan(x: Array, *, xp: Namespace) -> bool:
    """Whether care must be taken of NaN.

    On NumPy a look at the values costs less than the care; elsewhere they may not be known yet.
    What is computed is the same either way.
    """
    if not is_kind(xp, x.dtype, "real floating"):
        return False
    return not is_numpy(xp) or x.size == 0 or bool(xp.isnan(xp.max(x)))


def pad_constant(
    x: Array, widths: Sequence[tuple[int, int]], value: Any, *, xp: Namespace
) -> Array:
    """X with constant cells before and after each axis."""
    if is_traced(xp):
        return array_api_extra.pad(x, widths, constant_values=value, xp=xp)
    shape = tuple(n + sum(width) for n, width in zip(x.shape, widths, strict=True))
    padded = xp.full(shape, value, dtype=x.dtype, device=device(x))
    inner = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True))
    padded[(*inner, ...)] = x
    return padded


def map_batch(
    function: Callable[..., Array],
    batched: Sequence[Array],
    whole: Sequence[Array],
    *,
    batch_axes: int,
    result: Shape,
    dtype: DType,
    summed: bool = False,
) -> Array:
    """A function of eager arrays on each lazy block of the batch: `(*batch, *result)`.

    `batched` arrays are cut along their first `batch_axes` axes only, `whole` arrays not at all.
    Where the result is `summed` over the batch, `function` gives the share of its block.
    """
    import dask.array
    from dask.array.utils import meta_from_array

    names = iter(range(1_000_000))
    batch = [next(names) for _ in range(batch_axes)]
    arguments: list[Any] = []
    for index, x in enumerate([*batched, *whole]):
        kept = batch_axes if index < len(batched) else 0
        axes = batch[:kept] + [next(names) for _ in range(x.ndim - kept)]
        arguments += [x.rechunk(dict.fromkeys(range(kept, x.ndim), -1)), axes]
    core = [next(names) for _ in result]
    share = _one_share if summed else _as_it_is
    y = dask.array.blockwise(
        share,
        [*batch, *core],
        *arguments,
        new_axes=dict(zip(core, result, strict=True)),
        adjust_chunks=dict.fromkeys(batch, 1) if summed else None,
        concatenate=True,
        dtype=dtype,
        meta=meta_from_array(batched[0]._meta, ndim=batch_axes + len(result), dtype=dtype),
        function=function,
        batch_axes=batch_axes,
    )
    return y.sum(axis=tuple(range(batch_axes)), dtype=dtype) if summed else y


def _as_it_is(*blocks: Array, function: Callable[..., Array], batch_axes: int) -> Array:
    return function(*blocks)


def _one_share(*blocks: Array, function: Callable[..., Array], batch_axes: int) -> Array:
    return function(*blocks)[(None,) * batch_axes]


def index_dtype(xp: Namespace) -> DType:
    """The dtype of positions: int64, or JAX's widest integer while 64 bits are switched off."""
    if is_traced(xp):
        return xp.__array_namespace_info__().default_dtypes()["integral"]
    return xp.int64


def constant(
    table: Callable[..., Any],
    sizes: tuple[Any, ...],
    dtype: DType,
    where: Device,
    *,
    kept: bool = True,
    xp: Namespace,
) -> Array:
    """The array of `table(*sizes)`, `kept` for the next call (but never a traced one)."""
    if is_traced(xp) or not kept:
        return xp.asarray(table(*sizes), dtype=dtype, device=where)
    key = int(where) if is_cupy(xp) else where  # its devices have no hash
    return _kept_constant(table, sizes, dtype, key, xp)


@lru_cache(maxsize=256)
def _kept_constant(
    table: Callable[..., Any], sizes: tuple[Any, ...], dtype: DType, where: Device, xp: Namespace
) -> Array:
    return xp.asarray(table(*sizes), dtype=dtype, device=where)


@lru_cache
def complex_dtype(xp: Namespace, dtype: DType) -> DType:
    """The complex dtype of the same precision."""
    return xp.result_type(dtype, xp.complex64)
