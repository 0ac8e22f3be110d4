"""Datasets lie below their folder, whatever a client is called."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cis_server.domain.dataset import Window
from cis_server.persistence.dataset import load_dataset, read_dataset, save_dataset

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WINDOW = Window(start=NOW - dt.timedelta(days=90), as_of=NOW)


def test_every_client_has_a_folder_of_its_own(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "datasets"
    clients = ["acme", "a/b", "..", ".", "...", "ü" * 128, "ü" * 127 + "ä", "id=", "漢字"]
    places = set()
    for client_id in clients:
        saved = save_dataset(read_dataset(database_url, client_id, WINDOW), folder)
        assert saved.path is not None
        place = Path(saved.path).resolve()
        assert place.parent.parent == folder.resolve()
        assert load_dataset(place).client_id == client_id
        places.add(place.parent)
    assert len(places) == len(clients)
