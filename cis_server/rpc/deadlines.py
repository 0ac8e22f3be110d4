"""How long a call may still take."""

from __future__ import annotations

import grpc

from cis_server.errors import DeadlinePassed


def remaining_seconds(context: grpc.ServicerContext, most: float) -> float:
    """The smaller of the caller's deadline and ``most``.

    Raises:
        DeadlinePassed: the deadline is over; the caller has stopped waiting anyway.
    """
    left: float | None = context.time_remaining()
    if left is None:  # no deadline; the stubs do not say that this can be
        return most
    if left <= 0:
        raise DeadlinePassed("the deadline has passed")
    return min(float(left), most)
