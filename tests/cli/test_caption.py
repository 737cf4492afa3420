"""What `videollama2 caption` says while it works."""

from __future__ import annotations

import time

import pytest

from videollama2.cli.caption import _Progress
from videollama2.scale.bulk import Tally


def test_rates_count_from_the_first_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long a model takes to load."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with _Progress() as progress:
        progress(Tally(100, 10, 10, 0, 0.0, 0))
        now += 600  # loading
        progress(Tally(100, 10, 12, 0, 20.0, 40))
        now += 20
        progress(Tally(100, 10, 52, 1, 420.0, 840))
    assert capsys.readouterr().err.splitlines() == [
        "10 of 100 rows are there: going on",
        "12 of 100 clips (0 failed)",
        "52 of 100 clips (1 failed), 2.00 clips/s, 20.0 s of video a second, 40 tokens/s, "
        "about 0:00:24 left",
    ]
