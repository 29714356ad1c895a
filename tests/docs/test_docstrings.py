"""Every public module, class, function and method has a docstring.

Exempt are setters of properties, and methods that override or implement a documented one: of a base class of the project, or of
a protocol of ``bench/api.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tests.checkout import PROJECT

FOLDERS = ("bench", "datasets", "methods", "metrics", "reports")
CONTRACT = "bench/api.py"

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = tuple[str, Function | ast.ClassDef, ast.ClassDef | None]  # dotted name, node, class of a method


def sources() -> dict[str, str]:
    return {
        path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((PROJECT / folder).rglob("*.py"))
    }


def undocumented(found: Mapping[str, str]) -> list[str]:
    """``path: name`` of what lacks a docstring, for sources by path."""
    trees = {path: ast.parse(text) for path, text in found.items()}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    contract = [node for node in trees.get(CONTRACT, ast.Module([], [])).body if isinstance(node, ast.ClassDef)]
    implemented = {name for node in contract if "Protocol" in bases(node) for name, said in methods(node).items() if said}
    missing = []
    for path, tree in trees.items():
        if tree.body and not ast.get_docstring(tree):
            missing.append(path)
        for name, node, owner in public(tree):
            inherited = owner is not None and (node.name in implemented or node.name in documented_above(owner, classes))
            if not (ast.get_docstring(node) or inherited or is_setter(node)):
                missing.append(f"{path}: {name}")
    return missing


def public(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[Definition]:
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node, tree if isinstance(tree, ast.ClassDef) and isinstance(node, Function) else None
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


def bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]


def methods(node: ast.ClassDef) -> dict[str, bool]:
    """Name -> whether the method has a docstring."""
    return {one.name: bool(ast.get_docstring(one)) for one in node.body if isinstance(one, Function)}


def documented_above(owner: ast.ClassDef, classes: list[ast.ClassDef]) -> set[str]:
    above = [node for node in classes if node.name in bases(owner) and node is not owner]
    own = {name for node in above for name, said in methods(node).items() if said}
    return own.union(*(documented_above(node, classes) for node in above))


def is_setter(node: Function | ast.ClassDef) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr in ("setter", "deleter") for one in node.decorator_list)


def test_everything_public_has_a_docstring() -> None:
    found = sources()
    assert len(found) > 200
    assert undocumented(found) == []


def test_what_lacks_a_docstring_is_found() -> None:
    contract = '"""."""\nclass Clock(Protocol):\n    """."""\n    def stage(self):\n        """."""\n    def other(self): ...\n'
    plugin = '''"""."""
class A:
    """."""
    def said(self):
        """."""
    def bare(self): ...
    def _own(self): ...
    @property
    def lr(self):
        """."""
    @lr.setter
    def lr(self, value): ...
class B(module.A):
    def said(self): ...
    def bare(self): ...
    def stage(self): ...
    def other(self): ...
def loose(): ...
def stage(): ...
def _hidden(): ...
'''
    expected = [
        "bench/api.py: Clock.other",
        *(f"methods/a.py: {name}" for name in ("A.bare", "B", "B.bare", "B.other", "loose", "stage")),
        "methods/b.py",
    ]
    assert undocumented({CONTRACT: contract, "methods/a.py": plugin, "methods/b.py": "x = 1\n"}) == expected
