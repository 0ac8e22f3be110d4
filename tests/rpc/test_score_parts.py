"""The reasons of every input as arrays, against those found one input at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cis_client.v1 import core_pb2
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.rpc.messages.score_parts import (
    PartTables,
    part_numbers,
    ranked_parts,
    reason_pieces,
)
from cis_server.scoring.components import funding_class, role_class
from cis_server.scoring.reasons import NO_RANK
from cis_server.serving.memo import MemoBudget

FLAGS = (0, 1)
DAYS = range(-1, 2000)
INPUTS = {
    "quality": (core_pb2.EmailStatus.values(), range(3), range(3), FLAGS, FLAGS),
    "authority": (range(26),),
    "fit": (FLAGS, range(5), range(3)),
    "timing": (set(map(role_class, DAYS)), (-1, 0, 1), set(map(funding_class, DAYS))),
    "risk": (FLAGS,) * 4,
}


@pytest.mark.parametrize(
    "weights",
    [DEFAULT_WEIGHTS, Weights(0.1, 0.4, 0.2, 0.2, 0.1), Weights(0.2, 0.2, 0.2, 0.2, 0.2)],
)
def test_every_input_has_the_reasons_of_its_part(weights: Weights) -> None:
    tables, arrays, pieces = (
        PartTables(weights, MemoBudget()),
        ranked_parts(weights),
        reason_pieces(),
    )
    numbers = set()
    for component, (name, inputs) in enumerate(INPUTS.items()):
        for key in itertools.product(*inputs):
            number = int(part_numbers(component, *(np.array([value]) for value in key))[0])
            numbers.add(number)
            found = getattr(tables, name)
            part = found[_key(name, key)]
            for side, ranks, told in (
                (0, part.gains, tables.gains),
                (1, part.misses, tables.misses),
            ):
                held = [rank for rank in arrays.ranks[side, number].tolist() if rank != NO_RANK]
                assert tuple(held) == ranks
                for rank in ranks:
                    source, front = arrays.factors[side, rank].tolist()
                    points = b"\x11" + arrays.points[side, rank].tobytes()
                    assert (source, points) == told[rank][:2]
                    assert pieces[front : front + 2] == told[rank][2:]
    assert numbers == set(range(arrays.ranks.shape[1]))


def _key(name: str, key: tuple[int, ...]) -> object:
    if name == "authority":
        return key[0]
    if name == "timing":
        return key[0], None if key[1] < 0 else bool(key[1]), key[2]
    return key
