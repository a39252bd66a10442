"""The house: imports point down the floors, one door to the array libraries, public names."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import anyconv

ROOT = Path(anyconv.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LIBRARIES = {
    "array_api_compat",
    "array_api_extra",
    "array_api_strict",
    "cupy",
    "cupyx",
    "dask",
    "jax",
    "numba",
    "numpy",
    "torch",
}

# The floor of each part; what is not named here stands on the public names alone.
FLOORS = {
    "_typing": 0,
    "_geometry": 0,
    "_costs": 0,
    "_checks": 0,
    "_namespace": 0,
    "_compiled": 0,
    "_cupy_kernels": 0,
    "_options": 1,
    "_layout": 1,
    "_arguments": 1,
    "_windows": 2,
    "_traits": 2,
    "_algorithms": 2,
    "_rewritings": 2,
    "_pooling": 2,
    "_plans": 3,
    "_execution": 3,
    "conv": 4,
    "conv_transpose": 4,
    "planning": 4,
    "max_pool": 4,
    "avg_pool": 4,
    "lp_pool": 4,
    "unpool": 4,
    "adaptive_pool": 4,
    "windows": 4,
    "__init__": 6,
}
PUBLIC_FLOOR = 5
# The parts of the core that may name a library of arrays, or Numba.
DOORS = {"_namespace", "_compiled", "_cupy_kernels"}


def part_of(module: str) -> str:
    """`anyconv._algorithms.gemm` -> `_algorithms`; the package itself is `__init__`."""
    return ([*module.split("."), "__init__"])[1]


def module_of(file: Path) -> str:
    parts = ["anyconv", *file.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports(file: Path) -> set[str]:
    """Every module that a file imports, at its top or later, relative ones by their full name."""
    package = ["anyconv", *file.relative_to(ROOT).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            names = {alias.name for alias in node.names} if module == "anyconv" else set()
            parts = {
                name for name in names if list(ROOT.glob(name)) or list(ROOT.glob(f"{name}.py"))
            }
            found |= {f"anyconv.{part}" for part in parts}
            found |= {module} if names - parts or not names else set()
    return found


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_point_down(file):
    """A part imports its own floor, lower ones, and nothing private from above the core."""
    part = part_of(module_of(file))
    floor = FLOORS.get(part, PUBLIC_FLOOR)
    for module in imports(file):
        if module.partition(".")[0] != "anyconv":
            continue
        other = part_of(module)
        if floor == PUBLIC_FLOOR:  # on the public names and the ground alone
            public = not other.startswith("_") or other == "__init__"
            assert public or FLOORS[other] == 0, f"{part} imports {module}"
        else:
            below = FLOORS.get(other, PUBLIC_FLOOR) <= floor
            assert other == part or below, f"{part} imports {module}"


@pytest.mark.parametrize(
    "file", [f for f in FILES if part_of(module_of(f)) in FLOORS], ids=module_of
)
def test_only_the_doors_name_an_array_library(file):
    named = {module.partition(".")[0] for module in imports(file)} & LIBRARIES
    assert part_of(module_of(file)) in DOORS or not named


@pytest.mark.parametrize("file", sorted((ROOT / "_geometry").glob("*.py")), ids=module_of)
def test_geometry_knows_no_array(file):
    modules = imports(file)
    assert {module.partition(".")[0] for module in modules} <= {*sys.stdlib_module_names, "anyconv"}
    own = {part_of(module) for module in modules if module.startswith("anyconv")}
    assert own <= {"_geometry", "_typing"}


def test_every_floor_has_its_file():
    """So that a renamed file does not slip out of the tests above."""
    parts = {part_of(module_of(file)) for file in FILES}
    assert set(FLOORS) <= parts
    assert {part for part in parts if part.startswith("_")} <= set(FLOORS)


def namespace_functions() -> set[str]:
    """The names that the core takes from `xp`."""
    files = [file for file in FILES if part_of(module_of(file)) in FLOORS]
    return {
        node.attr
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "xp"
        and not node.attr.startswith("__")
    }


def test_every_namespace_function_exists_in_cupy():
    namespace = pytest.importorskip("array_api_compat.cupy", reason="CuPy is not installed")
    used = namespace_functions()
    assert {"matmul", "reshape", "zeros"} <= used  # the walk above finds them at all
    assert [name for name in sorted(used) if not hasattr(namespace, name)] == []


def test_kernels_speak_the_standard():
    strict = pytest.importorskip("array_api_strict")
    beyond = {name for name in namespace_functions() if not hasattr(strict, name)}
    assert beyond <= {"float16", "bfloat16"}


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout


def test_import_brings_no_array_library_but_numpy():
    """What that takes is for a benchmark to say (`small.py`)."""
    code = "import sys, numpy; before = set(sys.modules); import anyconv; "
    brought = run_python(code + "print(*(set(sys.modules) - before))").split()
    others = {name.partition(".")[0] for name in brought} - sys.stdlib_module_names
    assert "anyconv" in others
    assert others <= {"anyconv", "array_api_compat", "array_api_extra", "threadpoolctl"}


CONV = ", *, stride=1, padding=0, dilation=1, groups=1, padding_mode='zeros', "
CONV += "layout='channels_last', algorithm='auto')"
TRANSPOSE = ", *, stride=1, padding=0, output_padding=0, output_size=None, dilation=1, groups=1, "
TRANSPOSE += "layout='channels_last', algorithm='auto')"
POOL = ", stride=None, padding=0, dilation=1, ceil_mode=False"
LAYOUT = ", layout='channels_last'"
WINDOWS = ", *, stride=1, padding=0, dilation=1, layout='channels_last')"
SIGNATURES = {
    "conv_forward": "(x, w, b=None" + CONV,
    "conv_backward": "(dy, x, w" + CONV,
    "conv_backward_input": "(dy, w, input_shape" + CONV,
    "conv_backward_weight": "(dy, x, weight_shape" + CONV,
    "conv_backward_bias": "(dy, *, layout='channels_last')",
    "conv_transpose_forward": "(x, w, b=None" + TRANSPOSE,
    "conv_transpose_backward": "(dy, x, w" + TRANSPOSE,
    "max_pool_forward": f"(x, kernel_size, *{POOL}{LAYOUT}, return_indices=False)",
    "max_pool_backward": f"(dy, x, kernel_size, *{POOL}{LAYOUT}, ties='first')",
    "max_unpool_forward": f"(y, indices, output_size, *{LAYOUT})",
    "max_unpool_backward": f"(dx, indices, *{LAYOUT}, output_size=None)",
    "avg_pool_forward": f"(x, kernel_size, *{POOL}, count_include_pad=True{LAYOUT})",
    "avg_pool_backward": f"(dy, input_shape, kernel_size, *{POOL}, count_include_pad=True{LAYOUT})",
    "lp_pool_forward": f"(x, kernel_size, *, p=2{POOL}{LAYOUT})",
    "lp_pool_backward": f"(dy, x, kernel_size, *, p=2{POOL}{LAYOUT})",
    "adaptive_avg_pool_forward": f"(x, output_size, *{LAYOUT})",
    "adaptive_avg_pool_backward": f"(dy, input_shape, output_size, *{LAYOUT})",
    "adaptive_max_pool_forward": f"(x, output_size, *{LAYOUT})",
    "adaptive_max_pool_backward": f"(dy, x, output_size, *{LAYOUT})",
    "unfold": "(x, kernel_size" + WINDOWS,
    "fold": "(windows, output_size, kernel_size" + WINDOWS,
    "pad": "(x, padding, *, mode='zeros', layout='channels_last')",
    "pad_backward": "(dy, input_shape, padding, *, mode='zeros', layout='channels_last')",
    "options": None,
    "plan_conv": None,
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    function = getattr(anyconv, name)
    assert name in anyconv.__all__
    if SIGNATURES[name] is None:
        return
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    bare = signature.replace(parameters=plain, return_annotation=signature.empty)
    assert str(bare) == SIGNATURES[name]


def test_options_and_plan_take_what_the_documentation_says():
    assert list(inspect.signature(anyconv.options).parameters) == [
        "workspace_bytes",
        "workers",
        "compiled",
    ]
    parameters = inspect.signature(anyconv.plan_conv).parameters
    first = list(parameters)[:2]
    assert first == ["x_shape", "w_shape"]
    assert all(
        parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in list(parameters)[2:]
    )
    convolution = set(inspect.signature(anyconv.conv_forward).parameters) - {"x", "w", "b"}
    assert convolution | {"dtype", "namespace", "device"} <= set(parameters)


def test_every_public_name_is_documented():
    """Sections of numpydoc, and an example that runs."""
    for name in SIGNATURES:
        text = inspect.getdoc(getattr(anyconv, name))
        assert "Parameters\n-----" in text, name
        assert ">>> " in text, name
        assert "Returns\n-----" in text or "Yields\n-----" in text, name
        assert "Raises\n-----" in text, name


def test_every_public_name_exists():
    for name in anyconv.__all__:
        assert hasattr(anyconv, name), name
    assert anyconv.__version__


@pytest.mark.parametrize("module", ["stepbystep", "nn", "signal", "datasets", "testing"])
def test_modules_import_on_numpy_alone(module):
    """Extras are imported where they are used, not by the modules."""
    code = f"import sys, anyconv.{module}; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in run_python(code).split()}
    assert not loaded & {"cupy", "torch", "jax", "dask", "h5py", "matplotlib", "typer", "sigpy"}


def test_files_open_with_one_sentence():
    for file in FILES:
        text = ast.get_docstring(ast.parse(file.read_text()))
        assert text, f"{file.relative_to(ROOT)} has no docstring"


def test_modules_load():
    for file in FILES:
        needs_numba = file.parent.name == "_compiled" and file.stem.endswith("_loops")
        needs_extras = file.stem == "sigpy" or needs_numba
        if "cli" not in file.parts and not needs_extras:
            importlib.import_module(module_of(file).removesuffix(".__init__"))
