"""The `xp` fixture: every test that asks for it runs on every array library present."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # `import oracle` works under importlib mode too

import backends

settings.register_profile(
    "anyconv",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("anyconv")


def pytest_configure(config: pytest.Config) -> None:
    backends.required_names()  # a misspelt ANYCONV_REQUIRE fails here, not silently
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


@pytest.fixture(scope="session", params=backends.NAMES)
def xp(request: pytest.FixtureRequest) -> backends.Backend:
    """A backend: `xp.asarray`, `xp.to_numpy`, and `xp.call`, which checks what it returns."""
    try:
        return backends.load(request.param)
    except backends.Absent as absent:
        if request.param in backends.required_names():
            pytest.fail(f"ANYCONV_REQUIRE names {request.param}: {absent}", pytrace=False)
        pytest.skip(str(absent))


@pytest.fixture(scope="session")
def np_backend() -> backends.Backend:
    """NumPy alone, for what does not depend on the array library."""
    return backends.load("numpy")
