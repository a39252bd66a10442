"""Jobs and the threads that carry them out: order, errors, forks, ends, callers that overlap."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import anyconv
from anyconv._compiled import (
    Job,
    add_to_channels_job,
    clear_job,
    divide_job,
    has_mailboxes,
    quotients_job,
    run_jobs,
    why_no_compiled_loops,
)
from anyconv._execution import _job_threads as threads_mod
from anyconv._execution._job_threads import _threads, carry_out

pytestmark = pytest.mark.skipif(
    why_no_compiled_loops() is not None, reason=f"no Numba: {why_no_compiled_loops()}"
)
needs_mailboxes = pytest.mark.skipif(
    not has_mailboxes(), reason="threads wait for jobs in compiled code on Linux alone"
)
ROWS = np.asarray([[1, 0]] * 4)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_jobs_are_carried_out_in_order_whatever_their_arrays():
    y = np.full((2, 3, 4, 5, 6), 7.0, dtype=np.float32)
    part, b = y[:, 1:, ::2, :, 2:], np.arange(4, dtype=np.float32)
    b.flags.writeable = False
    run_jobs([clear_job(part), add_to_channels_job(part, b), add_to_channels_job(part, b)])
    assert np.array_equal(part, np.broadcast_to(2 * b, part.shape))
    assert (y[..., :2] == 7).all() and (y[:, 0] == 7).all() and (y[:, :, 1::2] == 7).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 3, 2, 4, 5)])
def test_rows_are_divided_by_one_number_or_by_their_own(shape, dtype):
    rng = np.random.default_rng(0)
    y = (rng.integers(1, 9, shape) * (1 + 1j if "complex" in dtype else 1)).astype(dtype)
    for counts in (np.asarray([4]), rng.integers(1, 9, shape[1:-1]).reshape(-1)):
        by = counts.astype(y.real.dtype)
        each = by if by.size == 1 else by.reshape(1, *shape[1:-1], 1)
        z, in_place = np.full_like(y, np.nan), y.copy()
        run_jobs([quotients_job(z, y, by), divide_job(in_place, by)])
        np.testing.assert_allclose(z, y / each, rtol=1e-6)
        np.testing.assert_array_equal(in_place, z)


@pytest.mark.parametrize(("items", "workers"), [(1, 3), (3, 3), (7, 3), (2, 2), (5, 8), (0, 2)])
def test_every_item_is_carried_out_once(items, workers):
    y = np.zeros((items, 3), dtype=np.float64)
    b = np.ones(3)
    carry_out(lambda i: [add_to_channels_job(y[i : i + 1], b)] * 2, range(items), workers)
    assert (y == 2).all()


@needs_mailboxes
def test_a_thread_stays_and_waits_for_the_next_call():
    y, b = np.zeros((4, 3)), np.ones(3)
    carry_out(lambda i: [add_to_channels_job(y[i : i + 1], b)], range(4), 2)
    (thread, *_) = _threads.threads
    carry_out(lambda i: [add_to_channels_job(y[i : i + 1], b)], range(4), 2)
    assert _threads.threads[0] is thread and thread.thread.is_alive()
    assert (y == 2).all()


def test_an_error_of_the_caller_is_heard_once_all_are_done():
    y, b = np.zeros((3, 2**20)), np.ones(2**20)

    def jobs(item):
        if item == 2:
            raise KeyError("the caller's own")
        return [add_to_channels_job(y[item : item + 1], b)] * 20

    with pytest.raises(KeyError, match="own"):
        carry_out(jobs, range(3), 3)
    assert (y[:2] == 20).all() and not y[2].any()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_loop_without_memory_says_so(workers):
    """As one that fails tells by what it returns; this one fails always."""
    from numba import njit

    @njit(nogil=True)
    def loop(y):
        raise MemoryError

    with pytest.raises(MemoryError, match="no memory"):
        carry_out(lambda i: [Job(loop, (np.zeros(1),))], range(2), workers)
    y = np.ones((2, 3))
    carry_out(lambda i: [clear_job(y[i])], range(2), workers)  # and the threads are as before
    assert not y.any()


def test_calls_that_overlap_share_no_thread():
    """One has the job threads, others have threads of their own; all results are right."""
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (6, 20, 20, 32)).astype(np.float32)
    w = rng.integers(-3, 4, (3, 3, 32, 32)).astype(np.float32)
    wanted, found = anyconv.conv_forward(x, w), []

    def call():
        with anyconv.options(compiled=True, workers=2):
            found.extend(np.array_equal(anyconv.conv_forward(x, w), wanted) for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_without_mailboxes_other_threads_carry_out_jobs(monkeypatch):
    monkeypatch.setattr(threads_mod, "has_mailboxes", lambda: False)
    y, b = np.zeros((5, 3)), np.ones(3)
    carry_out(lambda i: [add_to_channels_job(y[i : i + 1], b)], range(5), 3)
    assert (y == 1).all()


CALL = """
import os, numpy as np, anyconv
x, w = np.ones((4, 32, 32, 32), np.float32), np.ones((3, 3, 32, 32), np.float32)
def call():
    with anyconv.options(compiled=True, workers=3):
        assert (anyconv.conv_forward(x, w) == 288).all()
call()
"""


def test_a_process_ends_with_its_threads_asleep_or_awake():
    for rest in ("", "import time; time.sleep(0.2)"):
        done = run(CALL + rest)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_process_that_was_forked_has_threads_of_its_own():
    done = run(
        CALL
        + "child = os.fork()\n"
        + "call()\n"
        + "if child == 0: os._exit(0)\n"
        + "assert os.waitpid(child, 0)[1] == 0\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


INTERRUPTED = """
import os, signal, threading
import numpy as np
import anyconv

x, w = np.ones((32, 64, 64, 32), np.float32), np.ones((3, 3, 32, 32), np.float32)
with anyconv.options(workers=2, compiled=True):
    wanted = anyconv.conv_forward(x, w)
    for wait in np.linspace(0.01, 0.05, 12):
        timer = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            while True:
                anyconv.conv_forward(x, w)
        except KeyboardInterrupt:
            timer.join()
        np.testing.assert_array_equal(anyconv.conv_forward(x, w), wanted)
"""


@needs_mailboxes
def test_a_call_after_an_interrupt_is_right():
    done = run(INTERRUPTED)
    assert done.returncode == 0, done.stderr


@needs_mailboxes
def test_what_was_given_is_waited_for_once():
    """Whoever asks how often: an interrupt may come between the wait and what is made of it."""
    y, b = np.zeros((2, 3)), np.ones(3)
    carry_out(lambda i: [add_to_channels_job(y, b)], range(2), 2)
    with _threads.lock:
        (thread,) = _threads.take(1)
        thread.mailbox.give([add_to_channels_job(y, b)])
        thread.mailbox._held = None  # as if an interrupt had come before it was written down
        assert thread.mailbox.wait() == thread.mailbox.wait() == 0
        thread.mailbox.give([add_to_channels_job(y, b)])
        assert thread.mailbox.wait() == 0
    assert (y == 4).all()


@needs_mailboxes
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_fails_is_heard_of_and_replaced(monkeypatch):
    """Its call fails rather than wait for ever, and the next one has another thread."""
    from anyconv._compiled import _job_loops

    y, b = np.zeros((2, 3)), np.ones(3)
    monkeypatch.setattr(threads_mod, "_threads", threads_mod._JobThreads())

    def call():
        carry_out(lambda i: [add_to_channels_job(y[i : i + 1], b)], range(2), 2)

    def fail(*_):
        raise OSError("damaged")

    with monkeypatch.context() as patch:
        patch.setattr(_job_loops, "serve", fail)
        with pytest.raises(RuntimeError, match="a thread of anyconv has ended"):
            call()
    y[...] = 0
    call()
    assert (y == 1).all()


@pytest.mark.parametrize("compiled", [False, "auto"])
def test_threads_that_outlive_the_main_one_still_compute(compiled):
    """No thread begins any more then; each does the work of all by itself."""
    done = run(
        "import threading, time, numpy as np, anyconv\n"
        "x, w = np.ones((8, 96, 96, 32), np.float32), np.ones((3, 3, 32, 32), np.float32)\n"
        "def call():\n"
        f"    with anyconv.options(workers=2, compiled={compiled!r}):\n"
        "        for _ in range(4):\n"
        "            assert (anyconv.conv_forward(x, w, algorithm='gemm') == 288).all()\n"
        "            time.sleep(0.05)\n"
        "    print('done')\n"
        "for _ in range(2): threading.Thread(target=call).start()\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["done"] * 2
