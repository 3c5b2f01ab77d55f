"""Dataclasses whose fields carry their help, bounds and choices."""

import dataclasses

from absl.testing import absltest

from pifa_jax import settings


@dataclasses.dataclass(frozen=True)
class _Lens:
  focal: float = settings.setting(35.0, 'Focal length, mm.', low=8, high=800)
  mount: str = settings.setting('M', 'Mount.', choices=('M', 'F'))
  stops: tuple[tuple[float, float], ...] = ()
  serial: int | None = settings.setting(None, 'Serial number.', low=1)

  def __post_init__(self):
    settings.check(self)


@dataclasses.dataclass(frozen=True)
class _Camera:
  name: str
  lens: _Lens = settings.part()
  spare: _Lens | None = None


class CheckTest(absltest.TestCase):
  def test_bounds_are_inside(self):
    for focal in (8, 800):
      self.assertEqual(_Lens(focal=focal).focal, focal)

  def test_sentences(self):
    for change, said in (
      ({'focal': 7.9}, 'focal=7.9; it may be 8 to 800.'),
      ({'focal': float('nan')}, 'focal=nan; it may be 8 to 800.'),
      ({'mount': 'X'}, "mount='X'; use one of M, F."),
      ({'serial': 0}, 'serial=0; it may be 1 or more.'),
    ):
      with self.assertRaises(ValueError) as caught:
        _Lens(**change)
      self.assertEqual(str(caught.exception), said)
    self.assertEqual(settings.Setting('', high=2).problem(3), 'it may be 2 or less')

  def test_the_same_setting_in_another_class(self):
    @dataclasses.dataclass(frozen=True)
    class Other:
      mount: str = settings.same_setting(_Lens, 'mount')

    self.assertEqual(Other().mount, 'M')
    self.assertEqual(
      settings.settings_of(Other)['mount'], settings.settings_of(_Lens)['mount']
    )


class JsonTest(absltest.TestCase):
  def test_round_trip(self):
    camera = _Camera('a', lens=_Lens(50.0, stops=((0.5, 1.0),)), spare=_Lens(8.0))
    self.assertEqual(settings.from_json(_Camera, settings.to_json(camera)), camera)
    without = dataclasses.replace(camera, spare=None)
    self.assertEqual(settings.from_json(_Camera, settings.to_json(without)), without)

  def test_what_is_missing_has_its_default(self):
    found = settings.from_json(_Camera, {'name': 'a', 'lens': {'focal': 50.0}})
    self.assertEqual(found, _Camera('a', lens=_Lens(50.0)))

  def test_sentences(self):
    for data, said in (
      ({'name': 'a', 'lens': {}, 'flash': 1}, '_Camera has no field flash.'),
      ({'name': 'a', 'lens': {'zoom': 1}}, '_Lens has no field zoom.'),
      ({'name': 'a'}, '_Camera lacks lens.'),
      ({'name': 'a', 'lens': 3}, '_Lens is 3; it must be a JSON object.'),
      ({'name': 'a', 'lens': {'focal': 1}}, 'focal=1; it may be 8 to 800.'),
    ):
      with self.assertRaises(ValueError) as caught:
        settings.from_json(_Camera, data)
      self.assertEqual(str(caught.exception), said)


if __name__ == '__main__':
  absltest.main()
