"""absl flags out of dataclasses of settings, and dataclasses out of flags.

A field that is declared with `pifa_jax.settings.setting` has a flag of its name, with
its help, bounds and choices. Fields without are facts that a program finds out.
"""

from collections.abc import Callable
import dataclasses
from typing import Any, TypeVar

from absl import flags

from experiments.lib import path_flags
from pifa_jax import settings

_Config = TypeVar('_Config')

# Flags belong to the module that calls `define`.
flags.disclaim_key_flags()


def define(
  config: type, values: flags.FlagValues = flags.FLAGS, *, of_preset: bool = False
) -> None:
  """Defines a flag for every setting of a dataclass tree.

  Args:
    config: the dataclass at the root.
    values: where to define them.
    of_preset: the flags have no default of their own: unless one is given, the value
      is that of a preset.
  """
  kinds = settings.types_of(config)
  for name, branch in settings.parts_of(config).items():
    if branch.presets is not None:
      flags.DEFINE_enum(
        branch.flag,
        branch.default,
        sorted(branch.presets),
        branch.help,
        flag_values=values,
      )
    define(kinds[name], values, of_preset=branch.presets is not None)
  for name, setting in settings.settings_of(config).items():
    default = settings.default_of(config, name)
    if of_preset or default is settings.REQUIRED:
      default = None
    _define_one(name, kinds[name], default, setting, values)


def _define_one(name, kind, default, setting, values):
  if setting.choices is not None:
    flags.DEFINE_enum(name, default, setting.choices, setting.help, flag_values=values)
  elif kind in (int, float):
    make = flags.DEFINE_integer if kind is int else flags.DEFINE_float
    make(
      name,
      default,
      setting.help,
      lower_bound=setting.low,
      upper_bound=setting.high,
      flag_values=values,
    )
  elif kind is bool:
    flags.DEFINE_boolean(name, default, setting.help, flag_values=values)
  elif setting.is_path:
    if kind is not str:
      raise TypeError(f'{name}: {kind} cannot be a path; declare it as str.')
    path_flags.define_path(name, default, setting.help, flag_values=values)
  elif kind is str:
    flags.DEFINE_string(name, default, setting.help, flag_values=values)
  elif kind in _PARSERS:
    default = None if default is None else list(default)
    flags.DEFINE_list(name, default, setting.help, flag_values=values)
  else:
    raise TypeError(f'{name}: {kind} has no flag; add it to derived_flags.')


def read(
  config: type[_Config], values: flags.FlagValues, *, base: Any = None, **facts: Any
) -> _Config:
  """A dataclass tree as the flags ask for it.

  Args:
    config: the dataclass at the root.
    values: parsed flags, of `define`.
    base: the value of what no flag sets; None = the defaults of the fields.
    **facts: fields that have no flag.

  Returns:
    The tree.

  Raises:
    ValueError: if a value cannot be read, or is out of its bounds.
  """
  kinds = settings.types_of(config)
  changes = dict(facts)
  for name, branch in settings.parts_of(config).items():
    preset = None
    if branch.presets is not None:
      preset = branch.presets[str(values[branch.flag].value)]
    changes[name] = read(kinds[name], values, base=preset)
  for name, setting in settings.settings_of(config).items():
    value = values[name].value
    if value is not None:
      changes[name] = _parsed(name, kinds[name], value, setting)
  return config(**changes) if base is None else dataclasses.replace(base, **changes)


def _parsed(name, kind, value, setting):
  if kind not in _PARSERS:
    return value
  try:
    return tuple(_PARSERS[kind](item) for item in value)
  except ValueError:
    raise ValueError(
      f'--{name}={",".join(value)} cannot be read; wanted: {setting.help}'
    ) from None


def _pair(text):
  first, second = text.split(':')
  return float(first), float(second)


# One item of a comma-separated list.
_PARSERS: dict[Any, Callable[[str], Any]] = {
  tuple[str, ...]: str,
  tuple[float, ...]: float,
  tuple[int, ...]: int,
  tuple[tuple[float, float], ...]: _pair,
}
