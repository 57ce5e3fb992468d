"""A request to stop is answered at once, or as soon as work that must not be interrupted is over."""

import pytest

from vqvae2.errors import StopRequested
from vqvae2.system.stopping import StopRequest


def test_deferred_it_interrupts_at_the_end_of_the_outermost_context():
    stop, reached = StopRequest(), []

    def work():
        with stop.deferred():
            with stop.deferred():
                stop.make()
                reached.append("inner")
            reached.append("outer")

    with pytest.raises(StopRequested):
        work()
    assert reached == ["inner", "outer"]
