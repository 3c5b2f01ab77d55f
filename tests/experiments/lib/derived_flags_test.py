"""Flags out of dataclasses, and dataclasses out of flags."""

import dataclasses
import os

from absl import flags
from absl.testing import absltest

from experiments.lib import derived_flags
from pifa_jax import settings
from pifa_jax.settings import part, setting


@dataclasses.dataclass(frozen=True)
class _Net:
  depth: int = setting(2, 'Layers.', low=1)
  sizes: tuple[float, ...] | None = setting(None, 'Comma-separated sizes.')
  bias: bool = setting(True, 'Whether there is a bias.')
  hidden: int = 7


@dataclasses.dataclass(frozen=True)
class _Loss:
  kind: str = setting('l2', 'Which.', choices=('l1', 'l2'))
  drops: tuple[tuple[float, float], ...] = setting((), 'at:value pairs.')
  names: tuple[str, ...] = setting((), 'Comma-separated names.')
  table: str | None = setting(None, 'A file.', is_path=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
  net: _Net = part(
    {'small': _Net(), 'large': _Net(depth=9, hidden=70)},
    flag='preset',
    default='small',
    help='Which net.',
  )
  loss: _Loss = part()
  rate: float = setting(0.5, 'Rate.', low=0.0, high=1.0)
  seed: int


def _define(config=_Run):
  values = flags.FlagValues()
  derived_flags.define(config, values)
  return values


def _read(*arguments, config=_Run):
  values = _define(config)
  values(['program', *arguments])
  return derived_flags.read(config, values, seed=3)


class DerivedFlagsTest(absltest.TestCase):
  def test_defaults(self):
    self.assertEqual(_read(), _Run(net=_Net(), loss=_Loss(), seed=3))

  def test_one_flag_for_every_setting(self):
    self.assertCountEqual(
      list(_define()),
      ['preset', 'depth', 'sizes', 'bias', 'kind', 'drops', 'names', 'table', 'rate'],
    )

  def test_values_of_every_type(self):
    found = _read(
      '--depth=4', '--nobias', '--sizes=1,2.5', '--kind=l1', '--drops=0.5:1,0.75:2e-1',
      '--names=a,b', '--rate=1',
    )  # fmt: skip
    self.assertEqual(found.net, _Net(4, (1.0, 2.5), False))
    self.assertEqual(found.loss, _Loss('l1', ((0.5, 1.0), (0.75, 0.2)), ('a', 'b')))
    self.assertEqual(found.rate, 1.0)

  def test_the_home_folder_in_a_path(self):
    home = os.path.expanduser('~')
    self.assertEqual(_read('--table=~/a.npz').loss.table, os.path.join(home, 'a.npz'))
    for name in ('builtin', 'auto', './~', 'runs/a'):
      self.assertEqual(_read(f'--table={name}').loss.table, name)

  def test_a_preset_gives_what_no_flag_does(self):
    self.assertEqual(_read('--preset=large').net, _Net(depth=9, hidden=70))
    found = _read('--preset=large', '--depth=3').net
    self.assertEqual(found, _Net(depth=3, hidden=70))

  def test_flags_that_are_refused(self):
    for flag in ('--depth=0', '--rate=1.5', '--kind=l3', '--preset=huge', '--bias=2'):
      with self.assertRaises(flags.IllegalFlagValueError):
        _read(flag)
    for flag, said in (
      ('--drops=0.5', '--drops=0.5 cannot be read; wanted: at:value pairs.'),
      ('--drops=1:2:3', '--drops=1:2:3 cannot be read; wanted: at:value pairs.'),
      ('--sizes=1,x', '--sizes=1,x cannot be read; wanted: Comma-separated sizes.'),
    ):
      with self.assertRaises(ValueError) as caught:
        _read(flag)
      self.assertEqual(str(caught.exception), said)

  def test_a_type_without_a_flag_is_refused(self):
    @dataclasses.dataclass(frozen=True)
    class Odd:
      table: dict = setting(None, 'A table.')

    with self.assertRaisesRegex(TypeError, 'table: .*dict.* has no flag'):
      _define(Odd)


class OneLineTest(absltest.TestCase):
  def test_a_new_setting_is_one_line_in_one_place(self):
    # The line, in a part deep in the tree:
    @dataclasses.dataclass(frozen=True)
    class Loss(_Loss):
      sharpness: float = setting(4.0, 'How sharp.', low=1.0, high=8.0)

      def __post_init__(self):
        settings.check(self)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Run(_Run):
      loss: Loss = part()

    # Its flag, help and bounds.
    values = _define(Run)
    flag = values['sharpness']
    self.assertEqual((flag.default, flag.help), (4.0, 'How sharp.'))
    self.assertEqual((flag.parser.lower_bound, flag.parser.upper_bound), (1.0, 8.0))
    # Its value, and its bounds in code.
    self.assertEqual(_read('--sharpness=2', config=Run).loss.sharpness, 2.0)
    with self.assertRaisesRegex(ValueError, 'sharpness=9; it may be 1 to 8'):
      Loss(sharpness=9)
    # Its place in the JSON, and its default for a JSON from before it was there.
    config = _read('--sharpness=2', config=Run)
    record = settings.to_json(config)
    self.assertEqual(record['loss']['sharpness'], 2.0)
    self.assertEqual(settings.from_json(Run, record), config)
    del record['loss']['sharpness']
    self.assertEqual(settings.from_json(Run, record).loss.sharpness, 4.0)


if __name__ == '__main__':
  absltest.main()
