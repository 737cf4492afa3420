"""Kubernetes' examples: the fields that its API asks for, and no others than those it knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from videollama2.cli.main import app

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]i?)?")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# The part of Kubernetes' API that the examples use, held once against the models of its Python
# client 37.0.2: fields and their kinds, `!` those that are required, `*` a list, `{}` a map.
MODELS: dict[str, dict[str, str]] = {
    "Deployment": {"!apiVersion": "str", "!kind": "str", "!metadata": "Meta",
                   "!spec": "DeploymentSpec"},
    "Job": {"!apiVersion": "str", "!kind": "str", "!metadata": "Meta", "!spec": "JobSpec"},
    "Service": {"!apiVersion": "str", "!kind": "str", "!metadata": "Meta", "!spec": "ServiceSpec"},
    "PersistentVolumeClaim": {"!apiVersion": "str", "!kind": "str", "!metadata": "Meta",
                              "!spec": "ClaimSpec"},
    "Meta": {"!name": "name", "labels": "str{}"},
    "PodMeta": {"!labels": "str{}"},
    "DeploymentSpec": {"replicas": "int", "strategy": "Strategy", "!selector": "Selector",
                       "!template": "Template"},
    "Strategy": {"type": "str"},
    "Selector": {"!matchLabels": "str{}"},
    "JobSpec": {"completions": "int", "parallelism": "int", "completionMode": "str",
                "backoffLimitPerIndex": "int", "maxFailedIndexes": "int", "!template": "Template"},
    "Template": {"!metadata": "PodMeta", "!spec": "PodSpec"},
    "PodSpec": {"!containers": "Container*", "volumes": "Volume*", "restartPolicy": "str",
                "terminationGracePeriodSeconds": "int", "securityContext": "PodSecurity"},
    "PodSecurity": {"runAsNonRoot": "bool", "runAsUser": "int", "fsGroup": "int"},
    "Container": {"!name": "name", "!image": "str", "command": "str*", "args": "str*",
                  "env": "Variable*", "ports": "Port*", "resources": "Resources",
                  "startupProbe": "Probe", "readinessProbe": "Probe", "livenessProbe": "Probe",
                  "securityContext": "Security", "volumeMounts": "Mount*"},
    "Security": {"allowPrivilegeEscalation": "bool", "capabilities": "Capabilities"},
    "Capabilities": {"drop": "str*"},
    "Variable": {"!name": "str", "value": "str", "valueFrom": "ValueFrom"},
    "ValueFrom": {"secretKeyRef": "SecretKey"},
    "SecretKey": {"!name": "name", "!key": "str"},
    "Port": {"name": "name", "!containerPort": "int"},
    "Resources": {"requests": "quantity{}", "limits": "quantity{}"},
    "Probe": {"httpGet": "Get", "periodSeconds": "int", "failureThreshold": "int"},
    "Get": {"!path": "str", "!port": "str"},
    "Mount": {"!name": "name", "!mountPath": "str", "readOnly": "bool"},
    "Volume": {"!name": "name", "persistentVolumeClaim": "ClaimSource"},
    "ClaimSource": {"!claimName": "name", "readOnly": "bool"},
    "ServiceSpec": {"selector": "str{}", "!ports": "ServicePort*"},
    "ServicePort": {"name": "name", "!port": "int", "targetPort": "str"},
    "ClaimSpec": {"!accessModes": "str*", "!resources": "Resources"},
}  # fmt: skip


def objects(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def check(value: Any, kind: str, where: str) -> None:
    """No unknown field, none missing, each of its kind."""
    if kind.endswith("*"):
        assert isinstance(value, list), where
        for place, one in enumerate(value):
            check(one, kind[:-1], f"{where}[{place}]")
    elif kind.endswith("{}"):
        assert isinstance(value, dict), where
        for name, one in value.items():
            check(one, kind[:-2], f"{where}.{name}")
    elif kind in ("name", "quantity"):
        pattern = NAME if kind == "name" else QUANTITY
        assert isinstance(value, str), where
        assert pattern.fullmatch(value), f"{where}: {value!r}"
    elif kind in ("str", "int", "bool"):
        assert type(value).__name__ == kind, f"{where}: {value!r} is no {kind}"
    else:
        fields = MODELS[kind]
        kinds = {name.lstrip("!"): one for name, one in fields.items()}
        required = {name[1:] for name in fields if name.startswith("!")}
        assert isinstance(value, dict), where
        assert required <= set(value) <= set(kinds), f"{where}: {sorted(value)}"
        for name, one in value.items():
            check(one, kinds[name], f"{where}.{name}")


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_manifests_have_the_fields_that_kubernetes_asks_for(file: Path) -> None:
    for one in objects(file):
        check(one, one["kind"], f"{file.name}:{one['kind']}")
        group = {"Deployment": "apps/v1", "Job": "batch/v1"}.get(one["kind"], "v1")
        assert one["apiVersion"] == group


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_what_is_mounted_is_there(file: Path) -> None:
    for one in objects(file):
        if one["kind"] in ("Deployment", "Job"):
            pod = one["spec"]["template"]["spec"]
            volumes = {volume["name"] for volume in pod["volumes"]}
            for container in pod["containers"]:
                assert {mount["name"] for mount in container["volumeMounts"]} == volumes
                ports = {port["name"] for port in container.get("ports", [])}
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    if probe in container:
                        assert container[probe]["httpGet"]["port"] in ports


@pytest.mark.parametrize(
    ("path", "value"), [("spec.replicas", "one"), ("spec.template.spec.container", []),
                        ("spec.selector", None), ("metadata.name", "Two Words")]
)  # fmt: skip
def test_the_check_can_fail(path: str, value: Any) -> None:
    (wrong,) = [
        one for one in objects(DEPLOY / "kubernetes/serve.yaml") if one["kind"] == "Deployment"
    ]
    *parents, last = path.split(".")
    at = wrong
    for name in parents:
        at = at[name]
    at[last] = value
    if value is None:
        del at[last]
    with pytest.raises(AssertionError):
        check(wrong, "Deployment", "")


def test_commands_in_manifests_are_ours() -> None:
    for file in MANIFESTS:
        for one in objects(file):
            if one["kind"] in ("Deployment", "Job"):
                for container in one["spec"]["template"]["spec"]["containers"]:
                    words = [*container["command"], *container["args"]]
                    assert words[0] == "videollama2"
                    known = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200"})
                    for word in words[2:]:
                        assert not word.startswith("--") or word in known.stdout, word


def test_selectors_find_their_pods() -> None:
    found = {one["kind"]: one for one in objects(DEPLOY / "kubernetes/serve.yaml")}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
