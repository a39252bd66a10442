"""Threads that share a call: results in order, and errors heard once all are done."""

import threading
import time

import pytest

from anyconv._execution._workers import share


def test_a_worker_that_fails_is_heard_and_others_are_waited_for():
    done = []

    def work(items):
        if items[0] == 0:
            raise KeyError("the first")
        time.sleep(0.05)
        done.append(items[0])
        return items[0]

    with pytest.raises(KeyError, match="the first"):
        share(work, [0, 1, 2], 3)
    assert sorted(done) == [1, 2]


def test_the_caller_that_fails_waits_for_its_workers():
    done = threading.Event()

    def work(items):
        if items[0] == 1:
            raise KeyError("the caller's own")
        time.sleep(0.05)
        done.set()

    with pytest.raises(KeyError, match="own"):
        share(work, [0, 1], 2)
    assert done.is_set()


def test_results_are_in_order_however_long_each_takes():
    def work(items):
        time.sleep(0.02 * (3 - items[0]))
        return items[0]

    assert share(work, [0, 1, 2], 3) == [0, 1, 2]
