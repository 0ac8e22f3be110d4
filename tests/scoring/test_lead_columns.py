"""Leads as columns against the functions that read one lead."""

from __future__ import annotations

import datetime as dt

import numpy as np
from columns_of_leads import LEADS, columns_of
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.titles import parse_title
from cis_server.scoring.columns import TextTables, coded_columns, contact_shapes
from cis_server.scoring.components import coded_lead
from cis_server.scoring.icp import matcher
from cis_server.scoring.suppression import competitor_set, is_competitor

AS_OF = dt.date(2026, 1, 21)
PROFILES = (Icp(), Icp(industries=("bank",), countries=("AT",), employee_min=2, employee_max=9))
RIVALS = competitor_set(("rival.example", "b.a"))


@settings(max_examples=60, deadline=None)
@given(st.lists(LEADS, max_size=30), st.sampled_from(PROFILES), st.dates())
def test_codes_are_those_of_each_lead(leads: list[Lead], icp: Icp, any_day: dt.date) -> None:
    tables = TextTables()
    columns = columns_of(leads)
    competitor = [is_competitor(lead, RIVALS) for lead in leads]
    for as_of in (AS_OF, any_day, AS_OF):  # the last time every text has been met
        codes = coded_columns(
            columns,
            contact_shapes(columns),
            tables,
            icp=matcher(icp),
            as_of=as_of,
            competitor=np.array(competitor, dtype=np.int64),
        )
        assert [tuple(row) for row in codes.tolist()] == [
            coded_lead(
                lead,
                title=parse_title(lead.title),
                icp=matcher(icp),
                as_of=as_of,
                competitor=rival,
            )
            for lead, rival in zip(leads, competitor, strict=True)
        ]
