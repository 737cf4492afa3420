"""The container, the compose file and the unit, taken apart; none is built or started here."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def dockerfile() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines]


def test_the_image_runs_as_nobody_special_and_says_how_it_is() -> None:
    steps = dockerfile()
    names = [name for name, _ in steps]
    assert set(names) <= {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE",
                          "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}  # fmt: skip
    assert names.index("USER") > names.index("RUN")
    assert dict(steps)["USER"] == "10001"
    assert "/health/ready" in dict(steps)["HEALTHCHECK"]
    assert "constraints.txt" in dict(steps)["RUN"]
    for source in (ROOT / ".dockerignore").read_text().split():
        assert not source.startswith("!") or (ROOT / source[1:]).exists()


def test_what_the_image_installs_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert "serve" in extras
    for _, value in (step for step in dockerfile() if step[0] == "COPY"):
        for source in value.split()[:-1]:
            assert (ROOT / source).exists(), source


def test_compose() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    service = compose["services"]["videollama2"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "/health/ready" in service["healthcheck"]["test"][-1]
    assert int(service["stop_grace_period"].rstrip("s")) > 90
    assert (ROOT / "deploy" / service["build"]["context"] / "Dockerfile").exists()


def test_unit() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy/videollama2.service")
    service = unit["Service"]
    assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert int(service["TimeoutStopSec"]) > 90
    assert service["KillMode"] == "mixed"  # the server ends its own processes


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_strange_in_the_unit(tmp_path: Path) -> None:
    unit = (ROOT / "deploy/videollama2.service").read_text()
    file = tmp_path / "videollama2.service"
    file.write_text(unit.replace("/opt/videollama2/bin/videollama2", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "videollama2.service" not in done.stderr, done.stderr
