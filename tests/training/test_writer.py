import threading

import pytest

from vae_simpsons.training.writer import WAITING, Writer


def test_jobs_run_in_order_and_all_of_them():
    done = []
    with Writer() as writer:
        for i in range(50):
            writer.submit(done.append, i)
    assert done == list(range(50))


def test_what_hands_a_job_over_does_not_wait_until_too_many_do():
    may_go_on, handed_over = threading.Event(), []

    def hand_over():
        for i in range(WAITING + 2):
            writer.submit(may_go_on.wait)
            handed_over.append(i)

    with Writer() as writer:
        training = threading.Thread(target=hand_over)
        training.start()
        training.join(timeout=0.5)
        assert training.is_alive() and len(handed_over) == WAITING + 1
        may_go_on.set()
        training.join()
    assert len(handed_over) == WAITING + 2


def fail():
    raise OSError("disk full")


def test_a_job_that_fails_is_heard_of():
    with pytest.raises(OSError, match="disk full"), Writer() as writer:
        writer.submit(fail)
    with Writer() as writer:
        writer.submit(fail)
        with pytest.raises(OSError, match="disk full"):
            writer.finish()


def test_another_exception_is_not_hidden_by_it():
    with pytest.raises(KeyboardInterrupt), Writer() as writer:
        writer.submit(fail)
        raise KeyboardInterrupt
