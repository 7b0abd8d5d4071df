"""What a feature function computes, as text: its syntax tree and that of everything it reaches.

Comments, docstrings and annotations are not in it, so that only a change of meaning changes the fingerprint. A
function may reach its own module, `features`, numpy, math and builtins. Anything else is refused, since it could change
without the fingerprint changing.
"""

from __future__ import annotations

import ast
import builtins
import inspect
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
    seen: dict[str, str] = {}
    _visit(function, function.__module__, seen, f"row feature {function.__name__!r}")
    return [f"{name} = {text}" for name, text in sorted(seen.items())]


def _visit(function: Any, home: str, seen: dict[str, str], who: str) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    if name in seen:
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError) as error:
        raise FeatureError(f"{who}: the source of {name} cannot be read ({error}); write it as a plain def") from None
    if not isinstance(tree, ast.FunctionDef):
        raise FeatureError(f"{who}: {name} is no plain function; write it as a def")
    seen[name] = _dump(tree)
    scope = _scope(function)
    paths = list(_paths(tree, scope))
    for path in sorted(paths):
        _reach(path, scope[path[0]], home, seen, who)


def _reach(path: tuple[str, ...], value: Any, home: str, seen: dict[str, str], who: str) -> None:
    """Follow `a.b.c` from the object bound to `a` until it is no longer a module, and record what it is."""
    shown = ".".join(path)
    for depth, attribute in enumerate(path[1:], start=1):
        if not isinstance(value, types.ModuleType) or value.__name__.split(".")[0] in LIBRARIES:
            break
        _owned(value.__name__, home, ".".join(path[:depth]), who)
        value = getattr(value, attribute)
    owner = value.__name__ if isinstance(value, types.ModuleType) else (getattr(value, "__module__", None) or "")
    if owner.split(".")[0] in LIBRARIES or isinstance(value, np.ufunc):
        seen[shown] = f"{owner or 'numpy'}.{getattr(value, '__name__', shown)}"
    elif isinstance(value, types.BuiltinFunctionType) and owner == "builtins":
        return
    elif isinstance(value, types.FunctionType):
        _owned(owner, home, shown, who)
        _visit(value, home, seen, who)
    elif _constant(value):
        seen[f"constant {shown}"] = _literal(value)
    elif isinstance(value, type) and owner == "builtins":
        return
    else:
        raise FeatureError(
            f"{who} reaches {shown!r} ({type(value).__name__} of {owner or 'no module'}); it may reach functions and "
            f"constants of its own module or of features, {' and '.join(LIBRARIES)}"
        )


def _owned(module: str, home: str, shown: str, who: str) -> None:
    if module != home and module.split(".")[0] != "features":
        raise FeatureError(
            f"{who} reaches {shown!r} of module {module!r}, which could change without the fingerprint changing; move "
            f"it into {home} or features"
        )


def _scope(function: Any) -> dict[str, Any]:
    """What each free name of the function, and of functions nested in it, is bound to."""
    closure = dict(
        zip(function.__code__.co_freevars, (c.cell_contents for c in function.__closure__ or ()), strict=True)
    )
    return {**vars(builtins), **function.__globals__, **closure}


def _paths(tree: ast.FunctionDef, scope: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Dotted names the function loads from outside: `DAY` as ("DAY",), `clock.DAY` as ("clock", "DAY")."""
    local = {argument.arg for node in ast.walk(tree) if isinstance(node, ast.arguments) for argument in _all(node)}
    local |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    local |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node is not tree}
    stack: list[tuple[ast.AST, tuple[str, ...]]] = [(_meaning(tree), ())]
    while stack:
        node, rest = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            raise FeatureError(
                f"row feature code of {tree.name!r} imports inside a function; import at the module's top"
            )
        if isinstance(node, ast.Attribute):
            stack.append((node.value, (node.attr, *rest)))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id not in local:
                if node.id not in scope:
                    raise FeatureError(f"{tree.name!r} reads {node.id!r}, which is not defined")
                yield (node.id, *rest)
        else:
            stack.extend((child, ()) for child in ast.iter_child_nodes(node))


def _all(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [argument for argument in (arguments.vararg, arguments.kwarg) if argument]


def _meaning(tree: ast.FunctionDef) -> ast.FunctionDef:
    """The tree without annotations and docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _dump(node: Any) -> str:
    """A syntax tree as text that does not depend on the Python release: empty fields and contexts are left out."""
    if isinstance(node, ast.AST):
        if isinstance(node, ast.FunctionDef):
            _meaning(node)
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
