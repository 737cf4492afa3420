"""The house's one rule: every room knows only the rooms below it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

import videollama2

SOURCE = Path(videollama2.__file__).parent
PACKAGE = "videollama2"

# From the bottom up; rooms of one floor do not know each other, but for the face's own files.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"scenes", "layouts", "storage"}),
    frozenset({"media", "model"}),
    frozenset({"processing"}),
    frozenset({"reading"}),
    frozenset({"generation", "checkpoints"}),
    frozenset({"face"}),
    frozenset({"engines"}),
    frozenset({"evaluation", "scale", "serving", "training"}),
    frozenset({"cli"}),
)
FACE = frozenset(
    {"answers", "assistant", "auto", "compat", "conversation", "engine", "media_cache", "utils"}
)
# They know nothing of ours, or only of the bottom.
ALONE = frozenset({"media", "scenes", "layouts", "storage"})
# Upward all the same, inside a function: `from_pretrained` hands other layouts to the loader.
EXCEPTIONS = frozenset(
    {
        ("model.model", "checkpoints.load"),
        ("model.trunk", "checkpoints.load"),
        ("processing.processor", "checkpoints.load"),
    }
)


@dataclass(frozen=True)
class Import:
    """`importer` imports `imported`, both without the package's name; `lazily` in a function."""

    importer: str
    imported: str
    lazily: bool


def dotted(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(file): file for file in sorted(SOURCE.rglob("*.py"))}


def imports_of(name: str) -> list[Import]:
    """Every import of ours in one file, wherever in it, but for those of type checkers alone."""
    file = MODULES[name]
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: list[Import] = []

    def visit(node: ast.AST, lazily: bool) -> None:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            return
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([PACKAGE, *filter(None, up), *filter(None, [node.module])])
            targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for target in targets:
            inner = target.removeprefix(f"{PACKAGE}.")
            if inner != target and inner in MODULES:
                found.append(Import(name, inner, lazily))
        lazily = lazily or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, lazily)

    visit(ast.parse(file.read_text(encoding="utf-8")), False)
    return found


def below(name: str) -> set[str]:
    """What a file imports, early or late, and what that imports, and so on."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        for found in imports_of(waiting.pop()):
            if found.imported not in seen:
                seen.add(found.imported)
                waiting.append(found.imported)
    return seen


LAYOUTS = {"checkpoints.layouts", *below("checkpoints.layouts")} | {"checkpoints"}


def room(name: str) -> str:
    if name in LAYOUTS:
        return "layouts"
    first = name.split(".")[0]
    return "face" if first in FACE else first


def floor(name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if room(name) in rooms)


INNER = [name for name in MODULES if name not in ("", "__main__")]


@pytest.mark.parametrize("name", INNER)
def test_imports_point_downward(name: str) -> None:
    wrong = [
        found
        for found in imports_of(name)
        if room(found.imported) != room(name)
        and floor(found.imported) >= floor(name)
        and not (found.lazily and (found.importer, found.imported) in EXCEPTIONS)
    ]
    assert not wrong


@pytest.mark.parametrize("name", [name for name in INNER if room(name) in ALONE])
def test_the_bottom_knows_nothing_of_ours(name: str) -> None:
    assert {room(found.imported) for found in imports_of(name)} <= {room(name)}


def test_layouts_are_names_and_numbers() -> None:
    """What a config needs to know of layouts lies below the model, and is small."""
    assert all(name.split(".")[0] == "checkpoints" for name in LAYOUTS)
    assert not LAYOUTS & {"checkpoints.load", "checkpoints.export", "checkpoints.processor"}


def test_the_rule_can_be_broken() -> None:
    """The test sees imports: some that exist are found, at both depths."""
    found = imports_of("model.model")
    assert Import("model.model", "model.config", False) in found
    assert Import("model.model", "checkpoints.load", True) in found
    assert floor("cli.ask") > floor("assistant") > floor("generation.batch") > floor("model.beats")


@pytest.mark.parametrize("name", [name for name in INNER if room(name) == "media"])
def test_media_know_nothing_of_models(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"torch", "transformers"}
