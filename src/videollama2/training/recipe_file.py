"""A recipe's YAML, `key=value` on top of it -> a `Recipe`, or one line for each thing wrong."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from videollama2.training.errors import TrainingError
from videollama2.training.recipe import Recipe

RELEASED = "released"  # a file's section of what `values=released` changes, by dotted key
# What changes where and how fast a run goes, not what comes of it (but for rounding).
_FREE = (
    "run",
    "parallel",
    "batch.per_device",
    "data.workers",
    "data.expected_records",
    "data.packing",
    "data.pack_tokens",
    "data.shard_cache",
    "data.features",
)


class _Loader(yaml.SafeLoader):
    """YAML in which `1e-3` is a number, as everywhere else."""


_Loader.yaml_implicit_resolvers = {
    letter: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:float"]
    for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    folder = files("videollama2.training") / "recipes"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or path, with `key=value` settings (nested by dots) on top.

    Raises:
        TrainingError: there is none, or something in it is wrong: one line each.
    """
    raw = _parse(_text(name_or_path), name_or_path)
    released: Any = raw.pop(RELEASED, None) or {}
    if not isinstance(released, dict):
        raise TrainingError(f"{name_or_path}: {RELEASED} is no mapping of settings")
    changes = [_override(text) for text in overrides]
    chosen = dict(changes).get("values", raw.get("values"))
    whole: list[tuple[str, Any]] = list(cast("dict[str, Any]", released).items())
    _build(_merged(raw, whole), name_or_path)  # its keys are checked whether they count or not
    recipe = _build(
        _merged(raw, [*(whole if chosen == "released" else []), *changes]), name_or_path
    )
    recipe.check()
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """A recipe with nothing left to defaults, as YAML that `load_recipe` takes."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differences(before: Recipe, now: Recipe) -> list[str]:
    """Settings on which a run's outcome depends and in which two recipes differ."""
    old, new = (dict(_flat(recipe.model_dump(mode="json"))) for recipe in (before, now))
    return [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and not key.startswith(_FREE)
    ]


def _text(name_or_path: str) -> str:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is no UTF-8 text"
            raise TrainingError(f"{name_or_path}: {str(reason).lower()}") from error
    if name_or_path not in recipe_names():
        raise TrainingError(
            f"no recipe is called {name_or_path!r}{_suggestion(name_or_path, recipe_names())} "
            f"(there are {', '.join(recipe_names())}, or the path of a .yaml file)"
        )
    shipped = files("videollama2.training") / "recipes" / f"{name_or_path}.yaml"
    return shipped.read_text(encoding="utf-8")


def _parse(text: str, name: str) -> dict[str, Any]:
    value = _yaml(text, name)
    if not isinstance(value, dict):
        raise TrainingError(f"{name}: a recipe is a mapping of settings")
    try:  # YAML has more than a recipe can hold: keys that are lists, values within themselves
        plain: dict[str, Any] = json.loads(json.dumps(cast("Any", value), default=str))
        return plain
    except (TypeError, ValueError, RecursionError) as error:
        raise TrainingError(
            f"{name}: a recipe has plain keys and values, none within itself"
        ) from error


def _yaml(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise TrainingError(f"{name}{where}: is no YAML: {problem}") from error
    except (ValueError, RecursionError, OverflowError) as error:  # a value, such as 2026-99-99
        deep = isinstance(error, RecursionError)
        problem = "it is nested too deeply" if deep else str(error).splitlines()[0][:200]
        raise TrainingError(f"{name}: is no YAML: {problem}") from error


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TrainingError(f"{text!r}: a setting is key=value, for example batch.total=256")
    return key, _yaml(value, text)


def _merged(raw: Mapping[str, Any], changes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(dict(raw)))
    for key, value in changes:
        *sections, last = key.split(".")
        place = whole
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = cast("dict[str, Any]", place[section])
        place[last] = value
    return whole


def _build(values: dict[str, Any], name: str) -> Recipe:
    try:
        # As JSON, so that lists are taken for tuples and nothing else is bent to fit.
        return Recipe.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        lines = [_line(dict(one), name) for one in error.errors(include_url=False)]
        raise TrainingError("\n".join(lines)) from error


def _line(error: dict[str, Any], name: str) -> str:
    place = [str(part) for part in error["loc"] if not str(part).startswith("function-")]
    key = ".".join(place)
    if error["type"] == "extra_forbidden":
        return f"{name}: {key} is no setting{_suggestion(key, tuple(_keys(Recipe)))}"
    if error["type"] == "missing":
        return f"{name}: {key} is missing"
    message = str(error["msg"])
    return f"{name}: {key} is {error['input']!r}: {message[:1].lower()}{message[1:]}"


def _suggestion(wrong: str, known: Sequence[str]) -> str:
    """The nearest known key: of the same section, else any, else the word in another section."""
    section, _, last = ".".join(p for p in wrong.split(".") if not p.isdecimal()).rpartition(".")
    beside = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == section}
    ends = {key.rpartition(".")[2]: key for key in known}
    near = [beside[word] for word in difflib.get_close_matches(last, list(beside), 1, 0.6)]
    near = near or difflib.get_close_matches(wrong, known, 1, 0.6)
    near = near or [ends[word] for word in difflib.get_close_matches(last, list(ends), 1, 0.75)]
    return f"; did you mean {near[0]}?" if near else ""


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting by its dotted key."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in _sections(field.annotation):
            yield from _keys(section, f"{prefix}{name}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for key, inner in cast("dict[str, Any]", value).items():
        yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
