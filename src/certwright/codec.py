"""Frozen dataclasses ↔ attributes of an item.

Attributes equal to a field's default are left out: items stay small, and a field that is added later needs no migration
where it has a default.
"""

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from certwright.model import Problem
from certwright.table import Value

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Convert = Callable[[Any], Any]


def microseconds(moment: datetime) -> int:
    """A moment as whole microseconds since the epoch: exact, unlike a float timestamp."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """The inverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def pack(value: Any, *, leave_out: frozenset[str] = frozenset()) -> dict[str, Value]:
    """The attributes of a dataclass instance, without the fields named in `leave_out`."""
    attributes = {}
    for name, default, encode, _ in _fields(_any(type(value))):
        content = getattr(value, name)
        if content != default and name not in leave_out:
            attributes[name] = encode(content)
    return attributes


def unpack(cls: type[T], attributes: Mapping[str, Any], **others: Any) -> T:
    """An instance of `cls` from its attributes; `others` are fields that the attributes do not hold."""
    known = {name: decode(attributes[name]) for name, _, _, decode in _fields(_any(cls)) if name in attributes}
    return cls(**known, **others)


@functools.cache
def _fields(cls: Any) -> list[tuple[str, Any, _Convert, _Convert]]:
    hints = typing.get_type_hints(cls)
    return [(f.name, f.default, *_converters(hints[f.name])) for f in dataclasses.fields(cls)]


def _converters(hint: Any) -> tuple[_Convert, _Convert]:
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        encode, decode = _converters(next(a for a in arguments if a is not type(None)))
        return (lambda v: None if v is None else encode(v)), (lambda v: None if v is None else decode(v))
    if typing.get_origin(hint) is tuple:
        encode, decode = _converters(arguments[0])
        return (lambda v: [encode(x) for x in v]), (lambda v: tuple(decode(x) for x in v))
    if hint is datetime:
        return microseconds, moment
    if hint is Problem:
        # A server's document may hold floats, which attributes may not: it is kept as its text.
        return (lambda v: json.dumps(v.document, separators=(",", ":"))), (lambda v: Problem(json.loads(v)))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return (lambda v: v.value), hint
    if dataclasses.is_dataclass(hint):
        return pack, functools.partial(unpack, _any(hint))
    return _any, _any


def _any(value: Any) -> Any:
    """The value itself; for mypy without its type, as it holds classes to be unhashable."""
    return value
