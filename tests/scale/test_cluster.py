"""How work is laid out on a Ray cluster, which is not there in this environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from videollama2.cli.main import app
from videollama2.engines.cluster import ClusterError
from videollama2.scale.captioner import Asking
from videollama2.scale.cluster import Cluster, Shape, caption_on_cluster, shape_of
from videollama2.scale.intake import ReadSettings
from videollama2.scale.work import ModelSettings, Work


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ray.data", raising=False)


def work(device: str | None = None) -> Work:
    return Work(ModelSettings(device=device), Asking(), ReadSettings())


@pytest.mark.usefixtures("without_ray")
def test_what_to_install_is_said(crowd: Path, tmp_path: Path) -> None:
    words = [str(crowd), str(tmp_path / "o.jsonl"), "--ray", "auto"]
    done = CliRunner().invoke(app, ["caption", *words])
    assert done.exit_code == 1
    assert done.stderr == (
        "videollama2: Ray: it is not in this environment. Run pip install 'videollama2[ray]'\n"
    )
    assert not (tmp_path / "o.jsonl").exists()
    with pytest.raises(ClusterError, match=r"videollama2\[ray\]"):
        next(caption_on_cluster(Cluster("auto"), work(), []))


@pytest.mark.parametrize(
    ("has", "machines", "cluster", "shape"),
    [
        # Four machines of 8 CPUs and one GPU each: a model and eight readers on each.
        ({"CPU": 32.0, "GPU": 4.0}, 4, Cluster("auto"), Shape(4, 8, 8.0, 0.0, 1)),
        ({"CPU": 32.0}, 4, Cluster("auto"), Shape(4, 7, 7.0, 1.0, 0)),
        ({"CPU": 2.0}, 1, Cluster("local"), Shape(1, 1, 1.0, 1.0, 0)),
        # More than fits takes shares of CPUs.
        ({"CPU": 2.0}, 1, Cluster("local", 2, 1), Shape(2, 1, 0.5, 0.5, 0)),
        ({"CPU": 1.0}, 1, Cluster("local", 3, 2), Shape(3, 2, 0.22, 0.11, 0)),
    ],
)
def test_actors_fit(has: dict[str, float], machines: int, cluster: Cluster, shape: Shape) -> None:
    found = shape_of(cluster, work(), has, machines)
    assert found == shape
    assert found.workers * (found.reader_cpus + found.model_cpus) <= has["CPU"]


def test_a_model_that_is_to_be_on_a_cpu_takes_no_gpu() -> None:
    has = {"CPU": 8.0, "GPU": 1.0}
    assert shape_of(Cluster("auto"), work("cpu"), has, 1) == Shape(1, 7, 7.0, 1.0, 0)
