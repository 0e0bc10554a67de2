from __future__ import annotations

import os
import signal
import threading

import pytest

from unmask.training.interrupt import interrupts_wait


def test_the_first_waits_and_the_second_does_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_wait() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_several_processes_and_threads_are_left_alone() -> None:
    with interrupts_wait(alone=False) as interrupted:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert not interrupted()
    answers = []

    def elsewhere() -> None:
        with interrupts_wait() as interrupted:
            answers.append(interrupted())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert answers == [False]
