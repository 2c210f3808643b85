"""``@tool``: a typed function that a model may call, with the JSON schema of its arguments."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from functools import partial
from types import MethodType, SimpleNamespace
from typing import Annotated, Any, overload

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from evalkit import extras
from evalkit.errors import UsageError
from evalkit.requests import encoded
from evalkit.types import Media, Tool
from evalkit.util.boundary import call_in_thread

Read = Callable[[dict[str, Any]], dict[str, Any]]


class BrokenArguments(ValueError):
    """Arguments that do not fit the schema of their tool."""


class Done(Struct, frozen=True):
    """What a tool returns to end the conversation; ``value`` is the tool's result."""

    value: Any = None


class FunctionTool(Tool, frozen=True, kw_only=True):
    """A tool with its function, which can still be called as before. Made by ``@tool``.

    ``read`` returns a call's arguments as the function takes them, and raises ``BrokenArguments``.
    """

    fn: Callable[..., Any]
    read: Read

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)

    def __get__(self, owner: Any, kind: type | None = None) -> FunctionTool:
        """Return the tool of one object, where the function is a method."""
        if owner is None:
            return self
        return msgspec.structs.replace(self, fn=MethodType(self.fn, owner))

    @property
    def is_async(self) -> bool:
        """Whether the function runs in the event loop and not in a thread."""
        return inspect.iscoroutinefunction(self.fn)

    async def call(self, arguments: dict[str, Any]) -> Any:
        """Return the function's value."""
        if self.is_async:
            return await self.fn(**arguments)
        value = await call_in_thread(partial(self.fn, **arguments))
        return await value if inspect.isawaitable(value) else value


@overload
def tool(fn: Callable[..., Any], /) -> FunctionTool: ...


@overload
def tool(
    *, name: str = "", description: str = "", parameters: dict[str, Any] | None = None
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    description: str = "",
    parameters: dict[str, Any] | None = None,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a function a tool: its name, its docstring, and a JSON schema of its typed arguments.

    - An argument's description is that of ``Annotated[str, "the description"]``, else of the docstring
      (``Args:`` or ``:param x:``). ``Annotated[int, msgspec.Meta(ge=1)]`` bounds a value.
    - A model's arguments reach the function converted to its types: a dataclass, a list, a date.
    - ``parameters`` is a schema in place of the function's own; the function then gets the plain values of
      JSON, checked by the package jsonschema (the extra ``tools``).
    - A function that is not async runs in a thread. A method is a tool of its object.

    Raises ``UsageError`` for an argument without a type, or with one that no schema can describe.
    """

    def wrap(fn: Callable[..., Any]) -> FunctionTool:
        if isinstance(fn, staticmethod):
            raise UsageError("write @tool below @staticmethod")
        if isinstance(fn, classmethod):
            raise UsageError(_NO_CLASSMETHOD)
        if not (inspect.isfunction(fn) or inspect.ismethod(fn)):
            raise UsageError(f"@tool takes a function that is written with def, not {fn!r}")
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise UsageError(f"the tool {fn.__name__} yields: a tool returns its result, such as a list")
        own, described = _docstring(fn)
        called = name or fn.__name__
        if parameters is None:
            schema, read = _from_types(fn, called, described)
        else:
            schema, read = parameters, _schema_reader(parameters, called)
        return FunctionTool(called, description or own, schema, fn=fn, read=read)

    return wrap if fn is None else wrap(fn)


def as_text(value: Any, who: str = "a tool") -> str:
    """Return a tool's value as the model reads it: a text as it is, everything else as JSON.

    Raises ``UsageError`` for a value that no model could read: that is the tool's fault, not the model's.
    """
    if isinstance(value, str):
        return value
    if (media := _media_in(value)) is not None:
        raise UsageError(
            f"{who} returned media that models do not get so ({type(media).__name__}): return an Image, or a "
            "list with texts and Images"
        )
    try:
        return encoded(value).decode()
    except TypeError as problem:
        raise UsageError(
            f"{who} returned what JSON cannot hold ({problem}): return a text, numbers, lists, "
            "dictionaries, or an Image"
        ) from None


def _media_in(value: Any) -> Media | None:
    """Return the first picture, sound or film in a plain value; None if there is none."""
    if isinstance(value, Media):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for item in items if (found := _media_in(item)) is not None), None)


def _from_types(
    fn: Callable[..., Any], name: str, described: Mapping[str, str]
) -> tuple[dict[str, Any], Read]:
    fields = [_field(argument, hint, described) for argument, hint in _arguments(fn, name)]
    try:
        struct = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
        document = msgspec.json.schema(struct)
    except TypeError as problem:
        why = str(problem).splitlines()[-1]
        raise UsageError(
            f"the tool {name}: no JSON schema can describe its arguments: {why}. Use texts, numbers, lists, "
            "Literal, dataclasses and the like"
        ) from None
    definitions = document["$defs"]
    schema: dict[str, Any] = definitions.pop(document["$ref"].rpartition("/")[2])
    del schema["title"]
    return schema | ({"$defs": definitions} if definitions else {}), partial(_read_typed, struct)


_NO_CLASSMETHOD = "a classmethod cannot be a tool: write a function, or a method with self"


def _arguments(fn: Callable[..., Any], name: str) -> list[tuple[inspect.Parameter, Any]]:
    """Return a function's arguments with their types, without a method's ``self``. Raises ``UsageError``."""
    arguments = list(inspect.signature(fn).parameters.values())
    if arguments and arguments[0].name == "self":
        del arguments[0]
    if arguments and arguments[0].name == "cls":
        raise UsageError(_NO_CLASSMETHOD)
    written = {argument.name: argument.annotation for argument in arguments}
    for argument in arguments:
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            raise UsageError(
                f"the tool {name}: {argument} cannot be given by name: write each argument out, without "
                "*, ** and /"
            )
        if argument.annotation is argument.empty:
            raise UsageError(
                f"the tool {name}: the argument {argument.name!r} has no type: write "
                f"{argument.name}: str, for example"
            )
    try:
        holder: Any = SimpleNamespace(__annotations__=written)  # without the type of the result
        hints = typing.get_type_hints(holder, fn.__globals__, include_extras=True)
    except (NameError, TypeError, SyntaxError) as problem:
        raise UsageError(
            f"the tool {name}: its types cannot be read: {problem}. Types must be importable "
            "where the file's functions are defined, not inside a function"
        ) from None
    return [(argument, hints[argument.name]) for argument in arguments]


def _field(argument: inspect.Parameter, hint: Any, described: Mapping[str, str]) -> Any:
    """Return an argument as a field of a struct. One with a default may be left out of a call."""
    kind, notes = (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())
    notes = tuple(Meta(description=note) if isinstance(note, str) else note for note in notes)
    text = described.get(argument.name)
    if text and not any(isinstance(note, Meta) and note.description for note in notes):
        notes = (*notes, Meta(description=text))
    optional = argument.default is not argument.empty
    if optional and isinstance(argument.default, str | int | float):
        notes = (*notes, Meta(extra_json_schema={"default": argument.default}))
    for note in notes:
        kind = Annotated[kind, note]
    return (argument.name, kind | UnsetType, UNSET) if optional else (argument.name, kind)


def _read_typed(struct: type[Struct], arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        values = msgspec.convert(_whole_numbers(arguments), struct)
    except msgspec.ValidationError as problem:
        raise BrokenArguments(str(problem)) from None
    given = {name: getattr(values, name) for name in struct.__struct_fields__}
    return {name: value for name, value in given.items() if value is not UNSET}


def _whole_numbers(value: Any) -> Any:
    """Return a value of JSON with 5 in place of 5.0, which JSON schema counts as an integer too."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _whole_numbers(inner) for name, inner in value.items()}
        case list():
            return [_whole_numbers(inner) for inner in value]
    return value


def _schema_reader(schema: dict[str, Any], name: str) -> Read:
    jsonschema = extras.load("jsonschema", f"the tool {name} with parameters=")
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as problem:
        raise UsageError(f"the tool {name}: parameters= is no JSON schema: {problem.message}") from None
    check = kind(schema)

    def read(arguments: dict[str, Any]) -> dict[str, Any]:
        if (problem := jsonschema.exceptions.best_match(check.iter_errors(arguments))) is not None:
            raise BrokenArguments(f"{problem.message} - at `{problem.json_path}`")
        return arguments

    return read


_HEADING = re.compile(
    r"^(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*$|^:\w+", re.M
)
_LISTED = re.compile(r"^ +(\w+)(?: *\([^)]*\))?: *(.+(?:\n {8,}.+)*)", re.M)
_FIELD = re.compile(r"^:param (?:\w+ )?(\w+): *(.+(?:\n +.+)*)", re.M)


def _docstring(fn: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of a function, and of its arguments (Google's form, Sphinx's form)."""
    text = inspect.getdoc(fn) or ""
    heading = _HEADING.search(text)
    own, rest = (text[: heading.start()], text[heading.start() :]) if heading else (text, "")
    listed = re.search(r"^(?:Args|Arguments|Parameters):\s*\n((?: +.*\n?|\n)*)", rest, re.M)
    pairs = [*_LISTED.findall(listed[1] if listed else ""), *_FIELD.findall(rest)]
    return own.strip(), {name: " ".join(words.split()) for name, words in pairs}
