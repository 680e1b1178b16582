import threading
import time

import pytest
import torch

from vae_simpsons.threads import map_ahead


def test_what_is_done_comes_in_order_whichever_is_done_first():
    def work(i: int) -> int:
        time.sleep(0.002 * (5 - i % 5))
        return i

    assert list(map_ahead(work, range(30), workers=4, waiting=8)) == list(range(30))


def test_no_more_is_begun_than_may_wait():
    drawn = []
    results = map_ahead(lambda i: i, (drawn.append(i) or i for i in range(100)), workers=2, waiting=3)
    for i in range(5):
        assert next(results) == i
        assert len(drawn) == i + 4
    results.close()
    assert len(drawn) == 8


def test_the_threads_share_out_those_of_torch_and_give_them_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for inside in map_ahead(lambda _: torch.get_num_threads(), range(8), workers=2, waiting=4):
            assert inside == torch.get_num_threads() == 2
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)


def test_work_that_fails_is_heard_of_in_its_turn_and_no_thread_is_left():
    before = threading.active_count()
    results = map_ahead(lambda i: 1 // (2 - i), range(100), workers=2, waiting=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before
