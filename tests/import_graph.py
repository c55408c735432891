"""What the files of a package import, and when, read with ``ast`` and without importing them."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Import:
    """One import statement's target.

    Args:
        target: the dotted name; of ``from a.b import c`` it is ``a.b.c`` if that is a module.
        line: where.
        when: ``import``, when the module is imported; ``call``, inside a function; ``typing``,
            under TYPE_CHECKING.
        name: what is taken from the target, '' for the module itself.
    """

    target: str
    line: int
    when: str
    name: str = ""


def dotted(path: str) -> str:
    """``bayes_sbn/metrics/scores.py`` to ``bayes_sbn.metrics.scores``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def member(module: str) -> str:
    """``bayes_sbn.metrics.scores`` to ``metrics``; the package itself is ''."""
    return module.split(".")[1] if "." in module else ""


def is_type_checking(test: ast.expr) -> bool:
    """Whether an ``if`` asks for TYPE_CHECKING."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports(tree: ast.AST, modules: set[str], when: str = "import") -> Iterator[Import]:
    """Every absolute import below a node, ``importlib.import_module("literal")`` included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, when)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules:
                    yield Import(full, node.lineno, when)
                else:
                    yield Import(str(node.module), node.lineno, when, alias.name)
        elif isinstance(node, ast.If) and is_type_checking(node.test):
            yield from imports(ast.Module(node.body, []), modules, "typing")
            yield from imports(ast.Module(node.orelse, []), modules, when)
        else:
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
                name = node.args[0] if node.args else None
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield Import(name.value, node.lineno, when)
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            inside = "call" if is_function and when == "import" else when
            yield from imports(node, modules, inside)


def loaded_with(module: str, graph: Mapping[str, list[Import]]) -> dict[str, str]:
    """Every module that importing ``module`` loads, with the one that asked for it."""
    root = module.split(".")[0]
    asked, waiting = {module: module}, [module]
    while waiting:
        current = waiting.pop()
        wanted = [found.target for found in graph.get(current, []) if found.when == "import"]
        # Importing a.b.c runs a.b's __init__ too; the package's own is lazy.
        wanted += [current.rsplit(".", 1)[0]] if current.count(".") > 1 else []
        for target in wanted:
            if target not in asked and target != root:
                asked[target] = current
                waiting.append(target)
    return asked


def reached_from(module: str, graph: Mapping[str, list[Import]]) -> set[str]:
    """The modules reached from one by import statements that run at import."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        for entry in graph.get(waiting.pop(), []):
            if entry.when == "import" and entry.target not in reached:
                reached.add(entry.target)
                waiting.append(entry.target)
    return reached


def cycles(module: str, graph: Mapping[str, list[Import]]) -> Iterator[Import]:
    """The imports of a module that lead back to it."""
    for entry in graph[module]:
        if entry.when == "import" and module in reached_from(entry.target, graph):
            yield entry
