"""The README tells the truth: its code runs, its commands exist, its table names every function."""

import re
from pathlib import Path

import numpy as np
import pytest

import anyconv

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
PROGRAMS = [code for language, code in BLOCKS if language == "python"]
NEEDS = {"cupy": "import cupy", "sigpy": "import sigpy"}


def test_the_code_runs_from_top_to_bottom():
    names: dict[str, object] = {}
    for code in PROGRAMS:
        if not any(word in code for word in NEEDS.values()):
            exec(compile(code, "README.md", "exec"), names)
    assert names["dx"].shape == names["x"].shape
    assert names["Z"].shape == (10, 3, 4, 8)
    assert names["dA"].shape == names["A_prev"].shape


def test_the_comments_give_the_shapes():
    """`# (8, 64, 64, 3) -> (8, 64, 64, 16)` and the line after it."""
    names: dict[str, object] = {}
    exec(PROGRAMS[0], names)
    shapes = [tuple(map(int, text.split(", "))) for text in re.findall(r"\((8, [\d, ]+)\)", README)]
    x, w, b = names["x"], names["w"], names["b"]
    convolved = anyconv.conv_forward(x, w, b, stride=1, padding="same")
    found = [names["x"].shape, convolved.shape, names["features"](x, w, b).shape]
    assert [shape for shape in shapes if len(shape) == 4][:3] == found


def test_sigpy_s_block_runs():
    pytest.importorskip("sigpy")
    from anyconv.signal.sigpy import uninstall

    (code,) = (code for code in PROGRAMS if NEEDS["sigpy"] in code)
    names: dict[str, object] = {}
    try:
        exec(code, names)
        y = names["sigpy"].convolve(np.ones(4), np.ones(2))
    finally:
        uninstall()
    np.testing.assert_array_equal(y, [1, 2, 2, 2, 1])


def test_cupy_s_block_runs():
    cupy = pytest.importorskip("cupy")
    try:
        cupy.zeros(1)
    except Exception as error:
        pytest.skip(f"CuPy can't allocate: {error}")
    names: dict[str, object] = {}
    for code in PROGRAMS[:2]:
        exec(code, names)


COMPILED = ", in compiled loops"  # where Numba is installed


def test_the_plan_is_printed_as_it_is_printed():
    """All but what a machine or a new measurement changes: times, workspace and workers."""
    (block,) = (code for _, code in BLOCKS if code.startswith(">>> print(plan_conv("))
    call, *printed = block.strip().splitlines()
    plan = eval(call.removeprefix(">>> print(").removesuffix(")"), {"plan_conv": anyconv.plan_conv})
    rows = [line.split("  ", 1) for line in str(plan).splitlines()]
    shown = [line.split("  ", 1) for line in printed]
    assert [name for name, _ in shown] == [name for name, _ in rows]
    for (name, words), (_, now) in zip(shown, rows, strict=True):
        if name in ("operation", "arrays", "output shape", "multiply-adds", "bytes moved"):
            assert words.removesuffix(COMPILED) == now.removesuffix(COMPILED)


def test_every_function_is_named():
    for name in set(anyconv.__all__) - {"ConvGradients"}:
        assert f"`{name}" in README, name


def test_every_command_and_option_exists():
    typer = pytest.importorskip("typer")
    pytest.importorskip("rich")
    from anyconv.cli._app import app

    commands = typer.main.get_command(app).commands
    lines = re.findall(r"^(?:.*&& )?anyconv (\w+)(.*)$", README, re.MULTILINE)
    assert {command for command, _ in lines} == set(commands)
    for command, rest in lines:
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest.partition("#")[0])) <= known, (command, rest)


def test_every_link_leads_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert (Path(__file__).parents[1] / target).exists(), target
