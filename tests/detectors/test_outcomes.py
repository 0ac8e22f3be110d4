"""Who counts, and how each lead and touch ended."""

import datetime as dt

import pytest
from detector_frames import AS_OF, START, dataset, outreach, shuffled

from cis_server.detectors.outcomes import Label, population
from cis_server.detectors.settings import DetectorSettings

SETTINGS = DetectorSettings()


def ago(days: float) -> dt.datetime:
    return AS_OF - dt.timedelta(days=days)


def touch(lead: str, days_ago: float, **more: object) -> dict[str, object]:
    return {
        "activity_id": f"{lead}@{days_ago}",
        "lead_id": lead,
        "channel": "email",
        "action": "sent",
        "occurred_at": ago(days_ago),
        "time_precision": "instant",
        **more,
    }


def label(lead: dict[str, object], *touches: dict[str, object]) -> str | None:
    """Label of one lead; None when it is not in the run."""
    run = population(dataset(leads=[{"lead_id": "a", **lead}], activities=touches), SETTINGS)
    return run.leads["label"].to_list()[0] if run.leads.height else None


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        ({"status": "converted", "converted_at": ago(1)}, Label.CONVERTED),
        ({"status": "meeting_booked", "converted_at": ago(1)}, Label.CONVERTED),
        ({"status": "bounced", "converted_at": ago(1)}, Label.CONVERTED),
        ({"status": "converted", "converted_at": AS_OF}, Label.CONVERTED),
        ({"status": "converted", "converted_at": ago(-1)}, Label.OPEN),
        ({"status": "exhausted", "converted_at": ago(-1)}, Label.OPEN),
        ({"status": "unsubscribed"}, Label.NOT_CONVERTED),
        ({"status": "in_sequence", "unsubscribed": True}, Label.NOT_CONVERTED),
        ({"status": "not_interested"}, Label.NOT_CONVERTED),
        ({"status": "in_sequence", "rejection_reason": "no_need"}, Label.NOT_CONVERTED),
        ({"status": "exhausted"}, Label.NOT_CONVERTED),
        ({"status": "exhausted", "sequence_completed_at": ago(1)}, Label.NOT_CONVERTED),
        ({"status": "exhausted", "sequence_completed_at": ago(-1)}, Label.OPEN),
        ({"status": "in_sequence", "sequence_completed_at": ago(31)}, Label.NOT_CONVERTED),
        ({"status": "in_sequence", "sequence_completed_at": ago(29)}, Label.OPEN),
        ({"status": "in_sequence"}, Label.OPEN),
        ({"status": "bounced"}, None),
        ({"status": "converted"}, None),
    ],
)
def test_label_of_a_lead(lead: dict[str, object], expected: Label | None) -> None:
    assert label(lead, touch("a", 40)) == expected


def test_a_reply_within_the_silence_keeps_a_finished_sequence_open() -> None:
    lead = {"status": "in_sequence", "sequence_completed_at": ago(60)}
    assert label(lead, touch("a", 61, replied_at=ago(20))) == Label.OPEN
    assert label(lead, touch("a", 61, replied_at=ago(45))) == Label.NOT_CONVERTED


def test_what_is_left_out_is_counted() -> None:
    before = START - dt.timedelta(days=1)
    run = population(
        dataset(
            leads=[
                {"lead_id": "a", "status": "bounced"},
                {"lead_id": "b", "status": "converted"},
                {"lead_id": "c", "status": "converted", "converted_at": before},
                {"lead_id": "d", "status": "in_sequence"},
                {"lead_id": "e", "status": "exhausted"},
                {"lead_id": "f", "status": "exhausted", "first_contacted_at": before},
                {"lead_id": "g", "status": "scored"},
                {"lead_id": "h", "status": "converted", "converted_at": ago(50)},
                {"lead_id": "i", "status": "converted", "converted_at": ago(2)},
            ],
            activities=[
                touch("d", 40),
                touch("d", 20),
                touch("e", 100),
                touch("f", 90),
                touch("h", 45),
                touch("i", 3),
            ],
        ),
        SETTINGS,
    )
    assert run.excluded == {
        "bounced": 1,
        "converted without a date": 1,
        "with an outcome before the window": 1,
        "without a known first contact": 1,
        "first contacted before the window": 1,
        "converted before their first contact": 1,
        "first contacted in the last 30 days": 1,
    }
    assert run.leads["lead_id"].to_list() == list("defghi")
    assert run.resolved_leads["lead_id"].to_list() == ["d", "e"]
    assert "1 bounced" in run.note
    assert "within 30 days of first contact" in run.note
    assert "touches left out: 2 of the last 30 days" in run.note


def test_a_lead_taken_up_again_counts_whether_it_converts_or_not() -> None:
    """A first sequence that ended before the window dates no outcome of what came after it."""
    again = {"first_contacted_at": ago(220), "sequence_completed_at": ago(200)}
    run = population(
        dataset(
            leads=[
                {"lead_id": "a", "status": "converted", "converted_at": ago(88), **again},
                {"lead_id": "b", "status": "in_sequence", **again},
                {"lead_id": "c", "status": "exhausted", **again},
                {"lead_id": "d", "status": "exhausted", **again},
            ],
            activities=[touch("a", 90, converting=True), touch("b", 90), touch("c", 90)],
        ),
        SETTINGS,
    )
    assert run.excluded["with an outcome before the window"] == 1  # d, of whom nothing is left
    assert run.resolved_touches["activity_id"].to_list() == ["a@90", "b@90", "c@90"]
    assert run.leads["label"].to_list() == [
        Label.CONVERTED, Label.NOT_CONVERTED, Label.NOT_CONVERTED]  # fmt: skip


def test_touches_are_cut_at_the_conversion_and_at_the_window() -> None:
    days = [181, 100, 90, 80, 10, -1]
    touches = [touch("a", day, converting=day == 90) for day in days]
    run = population(
        dataset(
            leads=[{"lead_id": "a", "status": "converted", "converted_at": ago(85)}],
            activities=[*touches, touch("a", 95, action="opened")],
        ),
        SETTINGS,
    )
    assert run.touches["occurred_at"].to_list() == [ago(100), ago(90)]
    assert run.touches["success"].to_list() == [False, True]
    assert run.leads["touches"].to_list() == [2]


def test_the_credited_touch_of_a_coarse_time_is_kept_after_the_conversion() -> None:
    run = population(
        dataset(
            leads=[{"lead_id": "a", "status": "converted", "converted_at": ago(85)}],
            activities=[touch("a", 84, converting=True, time_precision="month")],
        ),
        SETTINGS,
    )
    assert run.touches["success"].to_list() == [True]


def test_touches_count_once_they_are_older_than_the_horizon_whatever_became_of_the_lead() -> None:
    leads = [
        {"lead_id": "a", "status": "in_sequence"},
        {"lead_id": "b", "status": "exhausted"},
        {"lead_id": "c", "status": "converted", "converted_at": ago(1)},
        {"lead_id": "d", "status": "converted", "converted_at": ago(1)},
    ]
    run = population(
        dataset(
            leads=leads,
            activities=[
                *(touch(lead["lead_id"], age) for lead in leads for age in (31, 29)),
                touch("c", 2, converting=True),
                touch("d", 30, converting=True),
            ],
        ),
        SETTINGS,
    )
    assert run.resolved_touches["activity_id"].to_list() == ["a@31", "b@31", "c@31", "d@31", "d@30"]
    assert run.resolved_touches["success"].to_list() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("delays", "horizon", "succeeded"),
    [
        ([1, 40, 40, 40], 40, [True, True, True, True]),
        ([1, 2, 3, 4], 30, [True, True, True, True]),
        ([1] * 29 + [80], 30, [True] * 29 + [False]),
        ([1, 100], 90, [True, False]),  # half the window at most
    ],
)
def test_no_touch_has_longer_to_succeed_than_another(
    delays: list[int], horizon: int, succeeded: list[bool]
) -> None:
    names = [f"lead-{place:02d}" for place in range(len(delays))]
    young = {"lead_id": "young", "status": "converted", "converted_at": ago(horizon - 2)}
    run = population(
        dataset(
            leads=[
                *(
                    {"lead_id": name, "status": "converted", "converted_at": ago(120 - delay)}
                    for name, delay in zip(names, delays, strict=True)
                ),
                young,
            ],
            activities=[
                *(touch(name, 120, converting=True) for name in names),
                touch("young", horizon - 1, converting=True),
            ],
        ),
        SETTINGS,
    )
    assert run.horizon_days == horizon
    assert run.resolved_touches["success"].to_list() == succeeded
    assert run.touches["success"].all()


def test_precision_says_what_a_touch_may_be_used_for() -> None:
    kinds = ["instant", "hour", "day", "weekday", "month"]
    run = population(
        dataset(
            leads=[{"lead_id": "a", "status": "exhausted"}],
            activities=[
                touch("a", 50 - i, time_precision=kind, local_weekday=1, local_hour=9)
                for i, kind in enumerate(kinds)
            ]
            + [touch("a", 10)],
        ),
        SETTINGS,
    )
    assert run.touches["hour_known"].to_list() == [True, True, False, False, False, False]
    assert run.touches["weekday_known"].to_list() == [True, True, True, True, False, False]
    assert run.touches["gap_known"].to_list() == [True, True, True, False, False, True]
    assert run.touches["touch_number"].to_list() == [1, 2, 3, 4, 5, 6]


def test_the_order_of_rows_does_not_matter() -> None:
    data = outreach(seed=1, leads=300)
    one, other = population(data, SETTINGS), population(shuffled(data, 2), SETTINGS)
    assert one.leads.equals(other.leads)
    assert one.touches.equals(other.touches)
