"""The simulator does what its truth says."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from polars.testing import assert_frame_equal

from cis_server.demo.dataset import to_dataset
from cis_server.demo.engagement import UNMARKED_AGENT
from cis_server.demo.simulator import TABLES, Simulation, simulate
from cis_server.demo.specs import ClientSpec, Outreach
from cis_server.demo.truth import DealEffects, Effects, ShowEffects, TrueRate, WeekPeak
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.weights import COMPONENTS

AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
EVERYTHING = Window(start=AS_OF - dt.timedelta(days=1_000), as_of=AS_OF)


def test_same_seed_gives_the_same_rows_and_truth(two_small: Simulation) -> None:
    again = simulate(two_small.clients, seed=5, as_of=AS_OF)
    for name in TABLES:
        assert_frame_equal(again.tables[name], two_small.tables[name])
    for client, truth in two_small.truth.items():
        assert again.truth[client].lead_rates == truth.lead_rates
        np.testing.assert_array_equal(again.truth[client].hazard, truth.hazard)


def test_a_client_does_not_depend_on_its_neighbours(two_small: Simulation) -> None:
    alone = simulate(two_small.clients[1:], seed=5, as_of=AS_OF)
    for name in TABLES:
        together = two_small.tables[name].filter(pl.col("client_id") == "second")
        assert_frame_equal(alone.tables[name], together)


def test_another_seed_gives_other_rows(two_small: Simulation) -> None:
    other = simulate(two_small.clients, seed=6, as_of=AS_OF)
    assert not other.tables["leads"]["email"].equals(two_small.tables["leads"]["email"])


@pytest.fixture(scope="module")
def settled(planted: Simulation) -> Dataset:
    """The planted client, only leads whose sequences have long ended and did not bounce."""
    dataset = to_dataset(planted, "planted", EVERYTHING)
    old = AS_OF - dt.timedelta(days=120)
    leads = dataset.leads.filter(
        (pl.col("first_contacted_at") < old) & (pl.col("status") != "bounced")
    )
    touches = dataset.activities.filter(
        (pl.col("action") == "sent") & pl.col("lead_id").is_in(leads["lead_id"].implode())
    )
    return Dataset(
        client_id="planted",
        window=EVERYTHING,
        leads=leads,
        activities=touches,
        **{
            name: getattr(dataset, name)
            for name in ("email_events", "meetings", "deals", "deal_stages", "threads", "messages")
        },
    )


def assert_close(frame: pl.DataFrame, value: str, success: str, truth: dict[str, TrueRate]) -> None:
    """Counted rates lie within 4.5 standard errors of the expected ones."""
    counted = (
        frame.filter(pl.col(value).is_not_null())
        .group_by(value)
        .agg(pl.len().alias("n"), pl.col(success).sum().alias("k"))
    )
    compared = 0
    for name, n, k in counted.iter_rows():
        rate = truth[str(name).lower() if isinstance(name, bool) else str(name)].rate
        error = np.sqrt(max(rate * (1 - rate), 1e-4) / n)
        assert abs(k / n - rate) < 4.5 * error, (value, name, k, n, rate)
        compared += n >= 100
    assert compared >= 2


def test_counted_rates_of_leads_agree_with_the_truth(planted: Simulation, settled: Dataset) -> None:
    truth = planted.truth["planted"].lead_rates
    first = settled.activities.filter(pl.col("touch_number") == 1)
    leads = settled.leads.join(
        first.select("lead_id", first_channel="channel"), on="lead_id"
    ).with_columns(
        converted=pl.col("converted_at").is_not_null(),
        source=pl.col("attributes").str.json_path_match("$.crm_source"),
    )
    for column, dimension in {
        "title": "title",
        "industry": "industry",
        "tier": "tier",
        "country": "country",
        "timezone": "timezone",
        "is_hiring": "signal.hiring",
        "source": "attributes.crm_source",
        "first_channel": "first_channel",
    }.items():
        assert_close(leads, column, "converted", dict(truth[dimension]))
    rate = leads["converted"].mean()
    assert rate == pytest.approx(planted.truth["planted"].baseline, rel=0.08)
    assert planted.truth["planted"].baseline == pytest.approx(0.09, rel=0.02)


def test_counted_rates_of_touches_agree_with_the_truth(
    planted: Simulation, settled: Dataset
) -> None:
    truth = planted.truth["planted"].touch_rates
    touches = settled.activities.with_columns(
        pl.col("content").str.json_path_match(f"$.{path}").alias(name)
        for name, path in {
            "pain": "pain_points_used[0]",
            "angle": "angles[0]",
            "cta": "cta_used",
            "subject": "subject_patterns[0]",
            "news": "has_recent_news",
        }.items()
    ).with_columns(template=pl.col("template_id").str.strip_prefix("planted-"))
    for column, dimension in {
        "local_weekday": "weekday",
        "local_hour": "hour",
        "touch_number": "touch",
        "channel": "channel",
        "pain": "pain_point",
        "angle": "angle",
        "cta": "cta",
        "subject": "subject",
        "template": "template",
        "ab_variant": "ab_variant",
        "news": "personalisation.recent_news",
    }.items():
        assert_close(touches, column, "converting", dict(truth[dimension]))


def test_planted_effects_point_the_way_they_were_planted(planted: Simulation) -> None:
    truth = planted.truth["planted"]
    leads, touches = truth.lead_rates, truth.touch_rates
    assert leads["title_level"]["founder"].lift > 2 > leads["title_level"]["director"].lift
    assert leads["industry"]["Software"].lift > 1.5
    assert leads["size"]["16-30"].lift > 1.4
    assert leads["signal.hiring"]["true"].lift > 1.4
    assert leads["attributes.crm_source"]["referral"].lift > 1.5
    assert leads["first_channel"]["linkedin"].lift > 1.2
    assert touches["weekday"]["2"].lift > 1.4
    assert touches["hour"]["0"].lift > 2
    assert touches["gap"]["3"].lift > 1.3
    assert touches["pain_point"]["scaling"].lift > 1.6 > 0.7 > touches["pain_point"]["cost"].lift
    assert touches["ab_variant"]["B"].lift > 1.3
    assert truth.hazard[1] > 1.2 * truth.hazard[0] > 1.2 * truth.hazard[3]
    assert truth.peak_hour is not None
    assert min(truth.peak_hour, 24 - truth.peak_hour) < 0.1


def test_the_authority_slope_can_be_recovered(settled: Dataset) -> None:
    points = settled.leads.select(
        *(
            pl.col("components").str.json_path_match(f"$.{name}").cast(pl.Float64).alias(name)
            for name in COMPONENTS
        ),
    ).to_numpy() / np.array([20, 25, 25, 15, 15])
    converted = settled.leads["converted_at"].is_not_null().to_numpy().astype(float)
    fit = sm.Logit(converted, sm.add_constant(points)).fit(disp=0)
    assert fit.params[2] == pytest.approx(4.0, abs=0.6)
    assert np.abs(fit.params[1]) < 0.8


def test_implied_weights_follow_the_slopes(planted: Simulation) -> None:
    weights = planted.truth["planted"].implied_weights
    assert weights["authority"] == pytest.approx(0.5, abs=1e-6)
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert all(0.05 - 1e-9 <= weight <= 0.5 + 1e-9 for weight in weights.values())


def test_without_effects_nothing_matters() -> None:
    spec = ClientSpec(client_id="null", leads=8_000, outreach=Outreach(history_days=200))
    truth = simulate([spec], seed=2, as_of=AS_OF).truth["null"]
    np.testing.assert_allclose(truth.hazard, truth.hazard[0], rtol=1e-9)
    assert truth.peak_hour is None
    for dimension, rates in truth.touch_rates.items():
        for name, rate in rates.items():
            assert rate.rate == pytest.approx(truth.touch_baseline, rel=1e-9), (dimension, name)
    # Leads differ only by the lengths of the plans they happened to get.
    for dimension in ("title_level", "industry", "size", "signal.hiring", "tier"):
        for name, rate in truth.lead_rates[dimension].items():
            if rate.units >= 200:
                assert rate.lift == pytest.approx(1.0, abs=0.05), (dimension, name)
    assert truth.implied_weights["data_quality"] == 0.20


def test_tier_confounding_without_any_channel_effect() -> None:
    spec = ClientSpec(
        client_id="confounded",
        leads=12_000,
        outreach=Outreach(tier_confounding=1.0),
        effects=Effects(tiers={"hot": 2.0, "warm": 1.2}),
    )
    simulation = simulate([spec], seed=2, as_of=AS_OF)
    truth = simulation.truth["confounded"]
    assert truth.touch_rates["channel"]["voice"].lift > 1.3
    tier_of = simulation.tables["leads"].select("lead_id", "tier")
    touches = (
        simulation.tables["activities"]
        .filter(pl.col("action") == "sent")
        .join(tier_of, on="lead_id")
    )
    assert set(touches.filter(pl.col("channel") == "sms")["tier"].unique()) <= {"hot"}
    assert set(touches.filter(pl.col("channel") == "voice")["tier"].unique()) <= {"hot", "warm"}


def test_local_times_are_those_of_the_leads_clock(planted: Simulation) -> None:
    touches = to_dataset(planted, "planted", EVERYTHING).activities
    known = touches.filter(pl.col("lead_timezone").is_not_null()).sample(2_000, seed=1)
    for at, zone, weekday, hour in known.select(
        "occurred_at", "lead_timezone", "local_weekday", "local_hour"
    ).iter_rows():
        local = at.astimezone(ZoneInfo(zone))
        assert (local.isoweekday(), local.hour) == (weekday, hour)
    missing = touches["lead_timezone"].null_count() / len(touches)
    assert missing == pytest.approx(0.06, abs=0.01)


def test_calls_and_texts_keep_to_civil_hours(two_small: Simulation) -> None:
    touches = to_dataset(two_small, "first", EVERYTHING).activities
    spoken = touches.filter(pl.col("channel").is_in(["voice", "sms"]))
    assert spoken["local_hour"].min() >= 8
    assert spoken["local_hour"].max() <= 19


def test_nothing_later_than_as_of_is_known(planted: Simulation) -> None:
    later = {"scheduled_at", "original_scheduled_at"}
    for name, frame in planted.tables.items():
        for column, kind in frame.schema.items():
            if kind == pl.Datetime("us", "UTC") and column not in later:
                latest = frame[column].max()
                assert latest is None or latest <= AS_OF, (name, column)


def test_machines_open_within_seconds_and_people_do_not(planted: Simulation) -> None:
    events = planted.tables["email_events"]
    delivered = events.filter(pl.col("event_type") == "delivered").select(
        "activity_id", at="occurred_at"
    )
    opened = events.filter(pl.col("event_type") == "opened").join(delivered, on="activity_id")
    seconds = (opened["occurred_at"] - opened["at"]).dt.total_milliseconds() / 1_000
    proxied = opened["user_agent"].str.contains("GoogleImageProxy")
    assert seconds.filter(proxied).max() < 60 <= seconds.filter(~proxied).min()
    share = proxied.sum() / len(delivered)
    assert share == pytest.approx(0.35, abs=0.02)


def test_proxies_may_hide_what_they_are() -> None:
    outreach = Outreach(unmarked_proxy_share=0.5, privacy_proxy_share=0.4)
    spec = ClientSpec(client_id="hidden", leads=2_000, outreach=outreach)
    events = simulate([spec], seed=4, as_of=AS_OF).tables["email_events"]
    opened = events.filter(pl.col("event_type") == "opened")
    agents = opened["user_agent"]
    hidden, named = (agents == UNMARKED_AGENT).sum(), agents.str.contains("GoogleImageProxy").sum()
    assert hidden / (hidden + named) == pytest.approx(0.5, abs=0.06)
    delivered = events.filter(pl.col("event_type") == "delivered").height
    assert (hidden + named) / delivered == pytest.approx(0.4, abs=0.04)


def test_an_industry_may_be_new() -> None:
    outreach = Outreach(late_industry="Energy", late_days=60.0, history_days=150)
    spec = ClientSpec(client_id="late", leads=4_000, outreach=outreach)
    dataset = to_dataset(simulate([spec], seed=4, as_of=AS_OF), "late", EVERYTHING)
    leads = dataset.leads.filter(pl.col("industry").is_not_null())
    late = pl.col("first_contacted_at") > AS_OF - dt.timedelta(days=58)
    share = leads.filter(late).select((pl.col("industry") == "Energy").mean()).item()
    assert share == pytest.approx(0.5, abs=0.05)
    early = pl.col("first_contacted_at") < AS_OF - dt.timedelta(days=62)
    assert not leads.filter(early)["industry"].is_in(["Energy"]).any()
    with pytest.raises(ValueError, match="unknown industry"):
        ClientSpec(client_id="typo", outreach=Outreach(late_industry="Enrgy"))


def test_people_open_before_they_reply(planted: Simulation) -> None:
    touches = to_dataset(planted, "planted", EVERYTHING).activities
    answered = touches.filter((pl.col("channel") == "email") & pl.col("converting"))
    answered = answered.filter(pl.col("replied_at").is_not_null())
    assert len(answered) > 300
    assert answered["human_opened_at"].null_count() == 0
    assert (answered["human_opened_at"] <= answered["replied_at"]).all()


def test_every_conversion_follows_a_touch_and_a_meeting(planted: Simulation) -> None:
    dataset = to_dataset(planted, "planted", EVERYTHING)
    converting = dataset.activities.filter(pl.col("converting"))
    converted = dataset.leads.filter(pl.col("converted_at").is_not_null())
    assert sorted(converting["lead_id"]) == sorted(converted["lead_id"])
    booked = dataset.leads.filter(pl.col("status").is_in(["meeting_booked", "converted"]))
    assert len(booked) == len(converted) == len(dataset.meetings)


def test_show_and_deal_causes_are_visible() -> None:
    effects = Effects(
        show=ShowEffects(
            confirmed=1.5, rescheduled=-1.0, peaks=(WeekPeak(hour=10, width_hours=2, log_odds=1),)
        ),
        deals=DealEffects(first_channels={"voice": 2.0}, lost_reasons={"no_budget": 20.0}),
    )
    spec = ClientSpec(
        client_id="shows",
        leads=25_000,
        base_rate=0.3,
        effects=effects,
        outreach=Outreach(history_days=250),
    )
    dataset = to_dataset(simulate([spec], seed=3, as_of=AS_OF), "shows", EVERYTHING)
    known = dataset.meetings.filter(pl.col("showed_up").is_not_null())

    def share(frame: pl.DataFrame) -> float:
        return frame["showed_up"].cast(pl.Float64).sum() / len(frame)

    assert share(known) == pytest.approx(0.72, abs=0.02)
    assert share(known.filter("confirmed")) > 1.2 * share(known.filter(~pl.col("confirmed")))
    moved = pl.col("rescheduled_count") > 0
    assert share(known.filter(~moved)) > 1.15 * share(known.filter(moved))
    closed = dataset.deals.filter(pl.col("won").is_not_null())
    by_voice = closed.filter(pl.col("first_touch_channel") == "voice")["won"].mean()
    others = closed.filter(pl.col("first_touch_channel") != "voice")["won"].mean()
    assert by_voice > 1.5 * others
    lost = dataset.deals["lost_reason"].drop_nulls()
    assert (lost == "no_budget").mean() > 0.5


def test_deal_histories_are_unbroken(planted: Simulation) -> None:
    history = planted.tables["deal_stage_history"].sort("deal_id", "changed_at")
    deals = planted.tables["deals"]
    before = history["to_stage"].shift(1)
    first = history["deal_id"] != history["deal_id"].shift(1)
    assert history.filter(first.fill_null(True))["from_stage"].null_count() == len(deals)
    followed = history.filter(~first.fill_null(True))
    assert (followed["from_stage"] == before.filter(~first.fill_null(True))).all()
    latest = history.group_by("deal_id").agg(pl.col("to_stage").last())
    joined = deals.join(latest, on="deal_id")
    assert (joined["stage"] == joined["to_stage"]).all()
    closed = joined.filter(pl.col("closed_at").is_not_null())
    assert set(closed["stage"].unique()) == {"closed_won", "closed_lost"}


def test_enough_conversions_to_learn_from() -> None:
    simulation = simulate([ClientSpec(client_id="usual", leads=1_500)], seed=1, as_of=AS_OF)
    recent = simulation.tables["meetings"]["booked_at"] >= AS_OF - dt.timedelta(days=90)
    assert recent.sum() >= 60


@pytest.mark.parametrize(
    "effects",
    [
        Effects(industries={"Sofware": 1.0}),
        Effects(angles={"roi": 1.0}),
        Effects(components={"authorities": 1.0}),
        Effects(attributes={"crm_source=nowhere": 1.0}),
        Effects(sequences={("email", "fax"): 1.0}),
        Effects(peaks=(WeekPeak(hour=3, channel="fax"),)),
        Effects(weekdays={0: 1.0}),
    ],
)
def test_effects_on_unknown_words_are_refused(effects: Effects) -> None:
    with pytest.raises(ValueError, match="unknown"):
        simulate([ClientSpec(client_id="typo", leads=10, effects=effects)], seed=1, as_of=AS_OF)


def test_bad_requests_are_refused() -> None:
    spec = ClientSpec(client_id="twin", leads=10)
    with pytest.raises(ValueError, match="differ"):
        simulate([spec, spec], seed=1, as_of=AS_OF)
    with pytest.raises(ValueError, match="zone"):
        simulate([spec], seed=1, as_of=dt.datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="at least one"):
        ClientSpec(client_id="none", leads=0)
    with pytest.raises(ValueError, match="unknown channels"):
        ClientSpec(client_id="fax", outreach=Outreach(sequences={("fax",): 1.0}))


def test_the_smallest_client_can_be_simulated() -> None:
    simulation = simulate([ClientSpec(client_id="tiny", leads=1)], seed=1, as_of=AS_OF)
    dataset = to_dataset(simulation, "tiny", EVERYTHING)
    assert len(simulation.tables["leads"]) == 1
    assert len(dataset.leads) <= 1


def test_a_dataset_does_not_reach_back_before_the_simulations_end(two_small: Simulation) -> None:
    earlier = Window(start=EVERYTHING.start, as_of=AS_OF - dt.timedelta(days=1))
    with pytest.raises(ValueError, match="instead of cutting"):
        to_dataset(two_small, "first", earlier)
