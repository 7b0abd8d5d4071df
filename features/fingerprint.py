"""What a feature function computes, as text: its syntax tree and that of everything it reaches.

Comments, docstrings and annotations are not in it, so that only a change of meaning changes the fingerprint. A
function may reach its own module, `features`, numpy, math and builtins. Anything else is refused, since it could change
without the fingerprint changing.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from features.aggregates import FeatureError

LIBRARIES = ("numpy", "math")


def source_of(function: Callable[..., Any]) -> list[str]:
    """Lines that change exactly when the function, a helper or a constant it reaches changes in meaning.

    Raises:
        FeatureError: if it reaches something that cannot be held, naming the function and what it reaches.
    """
    reach = _Reach(function.__module__, f"row feature {function.__name__!r}")
    reach.visit(function)
    return sorted(reach.lines)


class _Reach:
    """Everything one row feature reaches: a line for each function's tree, and for what each name in it is bound to."""

    def __init__(self, home: str, who: str) -> None:
        self.home, self.who = home, who
        self.labels: dict[Any, str] = {}
        self.lines: list[str] = []

    def visit(self, function: Any) -> str:
        """What the function is called in the lines: the name of its own module is not in it."""
        if function in self.labels:
            return self.labels[function]
        name = f"{function.__module__}.{function.__qualname__}"
        label = function.__qualname__ if function.__module__ == self.home else name
        self.labels[function] = label = f"{label}#{len(self.labels)}"
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        except (OSError, TypeError, SyntaxError) as error:
            raise FeatureError(
                f"{self.who}: the source of {name} cannot be read ({error}); write it as a plain def"
            ) from None
        if not isinstance(tree, ast.FunctionDef):
            raise FeatureError(f"{self.who}: {name} is no plain function; write it as a def")
        tree = ast.fix_missing_locations(_Meaning().visit(tree))
        self.lines.append(f"{label} = {_dump(tree)}")
        scope = _scope(function)
        for path in sorted(set(_paths(tree, scope))):
            bound = self._bound(path, scope[path[0]])
            self.lines.append(f"{label} reads {'.'.join(path)} = {bound}")
        return label

    def _bound(self, path: tuple[str, ...], value: Any) -> str:
        """Follow `a.b.c` from the object bound to `a` until it is no longer a module; what that is, as text."""
        shown = ".".join(path)
        for depth, attribute in enumerate(path[1:], start=1):
            if not isinstance(value, types.ModuleType) or value.__name__.split(".")[0] in LIBRARIES:
                break
            self._own(value.__name__, ".".join(path[:depth]))
            value = getattr(value, attribute)
        owner = value.__name__ if isinstance(value, types.ModuleType) else (getattr(value, "__module__", None) or "")
        if owner.startswith("numpy.random") or (owner == "numpy" and path[1:2] == ("random",)):
            raise FeatureError(f"{self.who} reaches {shown!r}: what is drawn at random cannot be computed again")
        if owner.split(".")[0] in LIBRARIES or (isinstance(value, np.ufunc) and vars(np).get(value.__name__) is value):
            return f"{owner or 'numpy'}.{getattr(value, '__name__', shown)}"
        if isinstance(value, types.BuiltinFunctionType | type) and owner == "builtins":
            return f"builtins.{value.__name__}"
        if isinstance(value, types.FunctionType):
            self._own(owner, shown)
            return self.visit(value)
        if _constant(value):
            return _literal(value)
        raise FeatureError(
            f"{self.who} reaches {shown!r} ({type(value).__name__} of {owner or 'no module'}); it may reach functions "
            f"and constants of its own module or of features, {' and '.join(LIBRARIES)}"
        )

    def _own(self, module: str, shown: str) -> None:
        if module != self.home and module.split(".")[0] != "features":
            raise FeatureError(
                f"{self.who} reaches {shown!r} of module {module!r}, which could change without the fingerprint "
                f"changing; move it into {self.home} or features"
            )


def _scope(function: Any) -> dict[str, Any]:
    """What each free name of the function, and of functions nested in it, is bound to."""
    closure = dict(
        zip(function.__code__.co_freevars, (c.cell_contents for c in function.__closure__ or ()), strict=True)
    )
    return {**vars(builtins), **function.__globals__, **closure}


def _paths(tree: ast.FunctionDef, scope: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Dotted names the function loads from outside: `DAY` as ("DAY",), `clock.DAY` as ("clock", "DAY")."""
    free = set(_free(symtable.symtable(ast.unparse(tree), tree.name, "exec")))
    stack: list[tuple[ast.AST, tuple[str, ...]]] = [(tree, ())]
    while stack:
        node, rest = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            raise FeatureError(
                f"row feature code of {tree.name!r} imports inside a function; import at the module's top"
            )
        if isinstance(node, ast.Attribute):
            stack.append((node.value, (node.attr, *rest)))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in free:
                if node.id not in scope:
                    raise FeatureError(f"{tree.name!r} reads {node.id!r}, which is not defined")
                yield (node.id, *rest)
        else:
            stack.extend((child, ()) for child in ast.iter_child_nodes(node))


def _free(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that are read from outside the function: by it, its decorators and defaults, or a scope inside it."""
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced() and symbol.is_global())
    for child in table.get_children():
        yield from _free(child)


class _Meaning(ast.NodeTransformer):
    """A tree without annotations and docstrings."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value is not None else ast.Pass()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        self.generic_visit(node)
        return node


def _dump(node: Any) -> str:
    """A syntax tree as text that does not depend on the Python release: empty fields and contexts are left out."""
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={_dump(value)}"
            for name, value in ast.iter_fields(node)
            if name not in ("ctx", "kind", "type_comment", "type_params") and value is not None and value != []
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    return repr(node)


def _constant(value: Any) -> bool:
    if isinstance(value, tuple | frozenset | list | set):
        return all(map(_constant, value))
    if isinstance(value, dict):
        return all(map(_constant, value)) and all(map(_constant, value.values()))
    return value is None or isinstance(value, bool | int | float | str | bytes | np.ndarray | np.generic)


def _literal(value: Any) -> str:
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({sorted(map(_literal, value))})"
    if isinstance(value, dict):
        return str(sorted((_literal(key), _literal(item)) for key, item in value.items()))
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({list(map(_literal, value))})"
    if isinstance(value, np.ndarray):
        return f"ndarray({value.dtype.str}, {value.tolist()!r})"
    return repr(value)
