"""Turn the UCI Bank Marketing file into files that `cis-server import` reads.

    python examples/bank_marketing.py bank-marketing.csv OUT_DIR

writes ``leads.csv``, ``activities.csv`` and ``mapping.toml`` into OUT_DIR; then

    cis-server import --client bank --leads OUT_DIR/leads.csv \
        --activities OUT_DIR/activities.csv --mapping OUT_DIR/mapping.toml

The data set: S. Moro, P. Cortez and P. Rita, "A data-driven approach to predict the success of
bank telemarketing", Decision Support Systems 62 (2014) 22-31. It is "Bank Marketing" in the UCI
Machine Learning Repository (41 188 rows, licence CC BY 4.0). Both forms of it are read: commas and
an outcome column ``output``, or the repository's semicolons and outcome column ``y``.

What the file says: who was called, by which kind of telephone, in which month and on which weekday
the last call took place, how many calls there were, and whether the client subscribed. Its rows
are in the order of time, from May 2008 to November 2010.

What is assumed here, because the file does not say it:

* The year: it goes up whenever the month goes back. The first row stands in May 2008.
* The day of the last call: rows are in the order of time, so that each change of weekday starts
  another day; it is put on the first such weekday of the month after the day before. When the
  weekdays of a month do not fit that way (a file that was sampled or sorted), its rows are spread
  over the matching weekdays of the month in row order. The day stays marked as precise to the
  weekday only: it is a conclusion, not a record.
* The hour: calls of a day are spread over 9 to 17 o'clock in row order, so that the order of the
  rows is the order of time and a split by time is a split by position. An hour is not known, and
  the precision says so: no analysis of hours or of gaps in days looks at these calls.
* Earlier calls: they are spread evenly over the time between the start of that month and the last
  call, precise to the month at best.
* A subscription follows its last call by one hour, and so does the end of a sequence without one.
* Everybody lives in the time zone of Portugal, whose bank it was.

Left out: ``duration`` (known only after the call: it would predict the outcome by itself) and the
economic indicators of the full file (the same for everybody on a day). "unknown" and ``pdays`` 999
mean that nothing is known.
"""

from __future__ import annotations

import argparse
import calendar
import csv
import datetime as dt
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

FIRST_YEAR = 2008
MONTHS = tuple(name.lower() for name in calendar.month_abbr)
WEEKDAYS = tuple(name.lower() for name in calendar.day_abbr)
DAY_STARTS, DAY_SECONDS = dt.time(9), 8 * 3600
AFTER_LAST_CALL = dt.timedelta(hours=1)
PERSON_COLUMNS = ("age", "marital", "education", "default", "housing", "loan")
HISTORY_COLUMNS = ("pdays", "previous")
NEVER_CONTACTED = "999"

MAPPING = """\
# Written by bank_marketing.py; see there for what is recorded and what is assumed.

[leads]
timezone = "Europe/Lisbon"
missing = ["unknown"]

[leads.columns]
job = "title"

[leads.constants]
timezone = "Europe/Lisbon"
person_country = "Portugal"

[activities]
timezone = "Europe/Lisbon"
precision = { column = "time_precision" }

[activities.columns]
contact = "attributes.contact"

[activities.constants]
channel = "voice"
action = "sent"
"""

Row = dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, write the files, say how many rows there are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the data set, as CSV")
    parser.add_argument("out_dir", type=Path, help="folder to write into; made when absent")
    options = parser.parse_args(arguments)
    rows = read_rows(options.source)
    leads, touches = write_files(rows, options.out_dir)
    print(f"{leads} leads and {touches} touches in {options.out_dir}")
    return 0


def read_rows(path: Path) -> list[Row]:
    """All rows of the data set, in file order."""
    with path.open(newline="", encoding="utf-8") as file:
        header = file.readline()
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=";" if ";" in header else ","))
    needed = {"job", "month", "day_of_week", "campaign", "contact", *HISTORY_COLUMNS}
    missing = needed - set(rows[0] if rows else ())
    if missing:
        sys.exit(f"{path} is not the Bank Marketing file: no column {', '.join(sorted(missing))}")
    return rows


def write_files(rows: Sequence[Row], out_dir: Path) -> tuple[int, int]:
    """Write the three files.

    Returns:
        Number of leads and of touches.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "mapping.toml").write_text(MAPPING, encoding="utf-8")
    touches = 0
    with (
        (out_dir / "leads.csv").open("w", newline="", encoding="utf-8") as lead_file,
        (out_dir / "activities.csv").open("w", newline="", encoding="utf-8") as touch_file,
    ):
        leads, activities = csv.writer(lead_file), csv.writer(touch_file)
        leads.writerow(
            ("lead_id", "job", *PERSON_COLUMNS, "contact", *HISTORY_COLUMNS, "status",
             "converted_at", "conversion_type", "sequence_completed_at")
        )  # fmt: skip
        activities.writerow(("lead_id", "occurred_at", "time_precision", "contact"))
        for number, (row, last_call) in enumerate(zip(rows, last_calls(rows), strict=True), 1):
            lead_id = f"bank-{number:05d}"
            leads.writerow((lead_id, *lead_values(row, last_call)))
            for moment, precision in calls(last_call, int(row["campaign"])):
                activities.writerow((lead_id, moment.isoformat(), precision, known(row["contact"])))
                touches += 1
    return len(rows), touches


def lead_values(row: Row, last_call: dt.datetime) -> list[str]:
    """One lead's columns after its id."""
    closed = (last_call + AFTER_LAST_CALL).isoformat()
    converted = row.get("output", row.get("y")) == "yes"
    history = [row["pdays"] if row["pdays"] != NEVER_CONTACTED else "", row["previous"]]
    person = [known(row[name]) for name in ("job", *PERSON_COLUMNS, "contact")]
    outcome = (
        ["converted", closed, "status", ""] if converted else ["exhausted", "", "", closed]
    )  # fmt: skip
    return [*person, *history, *outcome]


def known(text: str) -> str:
    """The text, or nothing when it says "unknown"."""
    return "" if text == "unknown" else text


def calls(last_call: dt.datetime, count: int) -> Iterator[tuple[dt.datetime, str]]:
    """The local times of a lead's calls, and how exactly each is known."""
    month = last_call.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    span = last_call - month
    for number in range(1, count):
        yield (month + span * number / count).replace(microsecond=0), "month"
    yield last_call, "weekday"


def last_calls(rows: Sequence[Row]) -> Iterator[dt.datetime]:
    """The local time of each row's last call, in the order of the rows."""
    year, last_month = FIRST_YEAR, 0
    for name, group in itertools.groupby(rows, key=lambda row: row["month"]):
        month = MONTHS.index(name)
        if month < last_month:
            year += 1
        last_month = month
        days = month_days([WEEKDAYS.index(row["day_of_week"]) for row in group], year, month)
        calls_a_day = Counter(days)
        calls_so_far: Counter[dt.date] = Counter()
        for day in days:
            seconds = DAY_SECONDS * calls_so_far[day] // calls_a_day[day]
            calls_so_far[day] += 1
            yield dt.datetime.combine(day, DAY_STARTS) + dt.timedelta(seconds=seconds)


def month_days(weekdays: Sequence[int], year: int, month: int) -> list[dt.date]:
    """The day of each row of one month, from the weekdays (Monday = 0) of its rows in order."""
    runs = [(weekday, len(list(run))) for weekday, run in itertools.groupby(weekdays)]
    length = calendar.monthrange(year, month)[1]
    dates = [dt.date(year, month, day) for day in range(1, length + 1)]
    days: list[dt.date] = []
    unused: Iterable[dt.date] = iter(dates)
    for weekday, count in runs:
        day = next((date for date in unused if date.weekday() == weekday), None)
        if day is None:
            return _spread(weekdays, dates)
        days += [day] * count
    return days


def _spread(weekdays: Sequence[int], dates: Sequence[dt.date]) -> list[dt.date]:
    days = []
    for position, weekday in enumerate(weekdays):
        matching = [date for date in dates if date.weekday() == weekday]
        days.append(matching[position * len(matching) // len(weekdays)])
    return days


if __name__ == "__main__":
    sys.exit(main())
