"""The four task files: what they name is there, and scores as `videollama2 eval` scores."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import lmms_stand_in
import pytest
import yaml
from chat_server import Says, chat_server
from miniatures import miniatures

from videollama2.evaluation.errors import EvaluationError
from videollama2.evaluation.lmms_eval import TASKS, documents
from videollama2.evaluation.registry import find

NAMES = ("avsd", "msvd_qa", "music_avqa", "tut2017")
JUDGED = ("avsd", "msvd_qa")
# Fields of lmms-eval 0.7.3's TaskConfig (api/task.py).
FIELDS = {
    "task",
    "dataset_path",
    "dataset_kwargs",
    "test_split",
    "process_docs",
    "output_type",
    "doc_to_visual",
    "doc_to_text",
    "doc_to_messages",
    "doc_to_target",
    "process_results",
    "generation_kwargs",
    "metric_list",
    "metadata",
}


def task_file(name: str) -> dict[str, Any]:
    """The YAML as lmms-eval reads it: `!function` is an attribute of a module by its whole name."""

    class Loader(yaml.SafeLoader):
        pass

    def function(loader: yaml.SafeLoader, node: Any) -> Any:
        module, _, attribute = loader.construct_scalar(node).rpartition(".")
        return getattr(import_module(module), attribute)

    Loader.add_constructor("!function", function)
    return yaml.load((TASKS / f"{name}.yaml").read_text(), Loader)


def asked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Any]:
    lmms_stand_in.put_in(monkeypatch)
    miniatures()[name].lay_out(tmp_path / "data", find(name).folder)
    monkeypatch.setenv(documents.DATA, str(tmp_path / "data"))
    monkeypatch.setenv(documents.VERDICTS, str(tmp_path / "verdicts.jsonl"))
    config = task_file(name)
    seed = json.loads((TASKS / config["dataset_kwargs"]["data_files"]["test"]).read_text())
    return config, config["process_docs"](seed)


def test_task_files() -> None:
    assert sorted(path.stem for path in TASKS.glob("*.yaml")) == list(NAMES)
    for name in NAMES:
        config = task_file(name)
        assert config["task"] == name
        assert set(config) == FIELDS
        assert config["generation_kwargs"]["max_new_tokens"] == find(name).max_new_tokens
        assert {one["metric"] for one in config["metric_list"]} == (
            {"accuracy", "score"} if name in JUDGED else {"accuracy", "strict_accuracy"}
        )
    said = subprocess.run(
        [sys.executable, "-m", "videollama2.evaluation.lmms_eval"], capture_output=True, text=True
    )
    assert Path(said.stdout.strip()) == TASKS


@pytest.mark.parametrize("name", ["music_avqa", "tut2017"])
def test_scored(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, found = asked(name, tmp_path, monkeypatch)
    mini = miniatures()[name]
    assert len(found) == mini.questions - len(mini.missing)
    for document in found:
        json.dumps(document)
        assert config["doc_to_text"](document) == document["prompt"]
        assert all(Path(path).exists() for path in config["doc_to_visual"](document))
        (message,) = config["doc_to_messages"](document)
        kinds = [block["type"] for block in message["content"]]
        assert kinds == ["audio" if name == "tut2017" else "video", "text"]
        right = config["process_results"](document, [config["doc_to_target"](document)])
        assert right == {"accuracy": 1.0, "strict_accuracy": 1.0}
        assert config["process_results"](document, [""])["strict_accuracy"] == 0.0


@pytest.mark.parametrize("name", JUDGED)
def test_judged(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "binary_pred" if name == "avsd" else "pred"

    def judge(request: dict[str, Any]) -> Says:
        said = request["messages"][1]["content"]
        right = "Predicted Answer: right" in said
        return Says(json.dumps({key: "yes" if right else "no", "score": 4 if right else 1}))

    with chat_server(judge) as server:
        monkeypatch.setenv(documents.JUDGE_URL, server.url)
        monkeypatch.setenv(documents.JUDGE_MODEL, "judge")
        config, found = asked(name, tmp_path, monkeypatch)
        said = ["right", "wrong"]
        cases = [
            config["process_results"](document, [answer])
            for document, answer in zip(found, said, strict=True)
        ]
        means = {
            one["metric"]: one["aggregation"]([case[one["metric"]] for case in cases])
            for one in config["metric_list"]
        }
        assert means == {"accuracy": 0.5, "score": 2.5}
        assert len(server.requests) == 2  # the second figure asks nothing again
        assert config["doc_to_messages"](found[0])[0]["content"][0]["sound"] == (
            None if name == "avsd" else False
        )


def test_what_is_missing_is_said_before_anything_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(documents.JUDGE_URL, raising=False)
    with pytest.raises(EvaluationError, match=documents.JUDGE_URL):
        asked("avsd", tmp_path, monkeypatch)
    monkeypatch.delenv(documents.DATA)
    with pytest.raises(EvaluationError, match=documents.DATA):
        documents.questions([{"benchmark": "tut2017"}])
    monkeypatch.setenv(documents.DATA, str(tmp_path))
    with pytest.raises(EvaluationError, match="no such file"):
        documents.questions([{"benchmark": "tut2017"}])
    (tmp_path / "TUT2017").mkdir()
    (tmp_path / "TUT2017/tut2017_eval.jsonl").write_text('{"audio": "a.wav", "gt": "bus"}')
    with pytest.raises(EvaluationError, match="none of its media"):
        documents.questions([{"benchmark": "tut2017"}])
