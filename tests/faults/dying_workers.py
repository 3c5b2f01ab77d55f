"""R14: a thread that reads or writes photos ends in the middle."""

import io
import threading
from unittest import mock

import numpy as np

from experiments.align import report
from experiments.align.progress import Progress
from experiments.align.session import Session
from pifa_jax.files import box_files
from pifa_jax.inference import Aligner
from pifa_jax.learning import network
from tests import miniatures
from tests.faults.tally import Scale, Tally
from tests.toy_model import TOY_CONFIG, make_toy_model

_PHOTOS = 6
_SECONDS = 30
_ERRORS = (MemoryError, RuntimeError, KeyError, SystemExit, RecursionError)


def workers(scale: Scale) -> Tally:
  """R14: five kinds of errors in the reading and in the writing thread.

  Args:
    scale: where the photos lie.

  Returns:
    The counts; clean = the error ended the run, and no thread was left.
  """
  tally, model = Tally(), make_toy_model()
  aligner = Aligner(model, TOY_CONFIG)
  net = network.PifaNetwork(TOY_CONFIG, model.num_params)
  geometry = network.network_geometry(model, TOY_CONFIG)
  variables = network.init_variables(net, geometry, seed=0)
  photos = {}
  for seed in range(_PHOTOS):
    path = scale.folder / f'{seed}.jpg'
    path.write_bytes(miniatures.image(seed))
    photos[path.name] = path

  def run(place, error):
    calls = []

    def maybe(result):
      calls.append(None)
      if len(calls) == _PHOTOS // 2:
        raise error('of the fault suite')
      return result

    box = np.array([[20.0, 20, 56, 56]])
    boxes = box_files.PhotoBoxes(np.arange(1), box, None, {})
    writer = mock.Mock()
    writer.photo = lambda *unused: maybe([]) if place == 'writing' else []
    Session(
      aligner=aligner,
      variables=variables,
      model=model,
      find_boxes=lambda *unused: maybe(boxes) if place == 'reading' else boxes,
      are_detected=False,
      passes=1,
      min_confidence=0.0,
      results=io.StringIO(),
      writer=writer,
      failures=report.Failures(),
      counts=report.Counts(),
    ).align(photos, Progress(_PHOTOS, io.StringIO()))

  for place in ('reading', 'writing'):
    for error in _ERRORS:
      _count(tally, f'{error.__name__} while {place}', error, run, place)
  return tally


def _count(tally, name, error, run, place):
  """Runs in a thread, so that a hang is seen."""
  raised: list[BaseException] = []

  def guarded():
    try:
      run(place, error)
    except BaseException as found:
      raised.append(found)

  before = threading.active_count()
  thread = threading.Thread(target=guarded, daemon=True)
  thread.start()
  thread.join(_SECONDS)
  if thread.is_alive():
    tally.add('other', f'{name}: it hangs')
  elif not raised:
    tally.add('silent', f'{name}: the run went on')
  elif type(raised[0]) is not error or threading.active_count() > before:
    tally.add('other', f'{name}: {raised[0]!r}, {threading.active_count()} threads')
  else:
    tally.add('clean')
