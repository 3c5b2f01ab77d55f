"""Settings: fields of frozen dataclasses that carry their help, bounds and choices.

A configuration is a tree of frozen dataclasses. A field that a user may set is
declared with `setting`, a branch of the tree with `part`:

  @dataclasses.dataclass(frozen=True)
  class LossConfig:
    hidden_weight: float = setting(0.0, 'Weight of hidden landmarks.', low=0, high=1)

That line is all there is to a setting. Programs derive its flag from it, `check` its
bounds, and `to_json` and `from_json` its place in the record of a run.
"""

from collections.abc import Mapping
import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

REQUIRED = dataclasses.MISSING
_SETTING, _PART = 'setting', 'part'
_Config = TypeVar('_Config')


@dataclasses.dataclass(frozen=True)
class Setting:
  """What a user is told about a field, and what the field may hold.

  Attributes:
    help: a sentence or two.
    low: least value of a number; None = no bound.
    high: greatest value of a number; None = no bound.
    choices: values of a string; None = any.
    is_path: whether a string names a file or a folder, or a name stands for one:
      programs expand `~` in it.
  """

  help: str
  low: float | None = None
  high: float | None = None
  choices: tuple[str, ...] | None = None
  is_path: bool = False

  def problem(self, value: Any) -> str | None:
    """What is wrong with a value.

    Args:
      value: of the field; None is always right.

    Returns:
      A phrase that names what is wanted; None if the value is right.
    """
    if value is None:
      return None
    if self.choices is not None and value not in self.choices:
      return f'use one of {", ".join(self.choices)}'
    too_low = self.low is not None and not value >= self.low
    too_high = self.high is not None and not value <= self.high
    if not (too_low or too_high):
      return None
    if self.high is None:
      return f'it may be {self.low:g} or more'
    if self.low is None:
      return f'it may be {self.high:g} or less'
    return f'it may be {self.low:g} to {self.high:g}'


@dataclasses.dataclass(frozen=True)
class Part:
  """A branch of the tree, and the presets that it may start from.

  Attributes:
    presets: name -> value of the branch; None = its defaults.
    flag: name of the setting that chooses among the presets.
    default: name of the usual preset.
    help: of that setting.
  """

  presets: Mapping[str, Any] | None = None
  flag: str = ''
  default: str = ''
  help: str = ''


def setting(
  default: Any,
  help: str,
  *,
  low: float | None = None,
  high: float | None = None,
  choices: typing.Iterable[str] | None = None,
  is_path: bool = False,
) -> Any:
  """A dataclass field that a user may set.

  Args:
    default: its value; REQUIRED = none.
    help: a sentence or two for the user.
    low: least value of a number.
    high: greatest value of a number.
    choices: values of a string.
    is_path: see `Setting`.

  Returns:
    What stands to the right of the field's type.
  """
  found = Setting(help, low, high, None if choices is None else tuple(choices), is_path)
  return dataclasses.field(default=default, metadata={_SETTING: found})


def same_setting(config: type, name: str) -> Any:
  """A field like that of another dataclass: default, help, bounds and choices.

  Args:
    config: the other dataclass.
    name: of its field.

  Returns:
    What stands to the right of the field's type.
  """
  other = _fields(config)[name]
  return dataclasses.field(default=other.default, metadata=other.metadata)


def part(
  presets: Mapping[str, Any] | None = None,
  *,
  flag: str = '',
  default: str = '',
  help: str = '',
) -> Any:
  """A dataclass field that is a dataclass of settings itself.

  Args:
    presets: see `Part`, as the others.
    flag: name of the setting that chooses among them.
    default: the usual one.
    help: of that setting.

  Returns:
    What stands to the right of the field's type. The field has no default.
  """
  return dataclasses.field(
    kw_only=True, metadata={_PART: Part(presets, flag, default, help)}
  )


def settings_of(config: type) -> dict[str, Setting]:
  """The settings among the fields of a dataclass, by name.

  Args:
    config: a dataclass.

  Returns:
    Field name -> setting, in the order of the fields.
  """
  return {
    field.name: field.metadata[_SETTING]
    for field in dataclasses.fields(config)
    if _SETTING in field.metadata
  }


def parts_of(config: type) -> dict[str, Part]:
  """The branches among the fields of a dataclass, by name.

  Args:
    config: a dataclass.

  Returns:
    Field name -> branch, in the order of the fields.
  """
  return {
    field.name: field.metadata[_PART]
    for field in dataclasses.fields(config)
    if _PART in field.metadata
  }


def default_of(config: type, name: str) -> Any:
  """The default of a field of a dataclass.

  Args:
    config: a dataclass.
    name: of one of its fields.

  Returns:
    The value; `REQUIRED` if there is none.
  """
  return _fields(config)[name].default


def _fields(config):
  return {field.name: field for field in dataclasses.fields(config)}


def types_of(config: type) -> dict[str, Any]:
  """The types of the fields of a dataclass, by name: X for `X | None`.

  Args:
    config: a dataclass.

  Returns:
    Field name -> type.
  """
  return {
    name: _without_none(kind)
    for name, kind in typing.get_type_hints(config).items()
    if name in _fields(config)
  }


def _without_none(kind):
  if typing.get_origin(kind) in (types.UnionType, typing.Union):
    kinds = [item for item in typing.get_args(kind) if item is not types.NoneType]
    return kinds[0] if len(kinds) == 1 else kind
  return kind


def check(config: Any) -> None:
  """Refuses values that are out of their bounds or not among their choices.

  Args:
    config: a dataclass with settings, whose `__post_init__` calls this.

  Raises:
    ValueError: names the field, its value and what is wanted.
  """
  for name, found in settings_of(type(config)).items():
    value = getattr(config, name)
    problem = found.problem(value)
    if problem is not None:
      raise ValueError(f'{name}={value!r}; {problem}.')


def to_json(config: Any) -> dict[str, Any]:
  """A dataclass tree as a JSON object, the same for equal trees.

  Args:
    config: the dataclass at the root.

  Returns:
    The JSON object; tuples have become lists.
  """
  return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(config: type[_Config], data: Any) -> _Config:
  """The inverse of `to_json`.

  Args:
    config: the dataclass at the root.
    data: the JSON object; a field that it lacks has its default.

  Returns:
    The tree.

  Raises:
    ValueError: if a name is not that of a field, a field without a default is
      missing, or a value is out of its bounds.
  """
  if not isinstance(data, dict):
    raise ValueError(
      f'{config.__name__} is {str(data)[:60]}; it must be a JSON object.'
    )
  kinds = types_of(config)
  unknown = sorted(set(data) - set(kinds))
  if unknown:
    raise ValueError(f'{config.__name__} has no field {", ".join(unknown)}.')
  values = {}
  for name, value in data.items():
    branch = dataclasses.is_dataclass(kinds[name]) and value is not None
    values[name] = from_json(kinds[name], value) if branch else _tuples(value)
  try:
    return config(**values)
  except TypeError as error:
    missing = [
      field.name
      for field in _fields(config).values()
      if field.default is REQUIRED and field.name not in values
    ]
    raise ValueError(
      f'{config.__name__} lacks {", ".join(missing)}.' if missing else str(error)
    ) from error


def _tuples(value):
  """JSON lists back to tuples, at any depth."""
  if isinstance(value, list):
    return tuple(_tuples(item) for item in value)
  return value
