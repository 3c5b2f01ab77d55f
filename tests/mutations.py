"""Deliberate faults in the core, each of which at least one test must notice.

`python -m tests.mutations` copies the package and its tests to a temporary folder,
puts in one fault after the other as a replacement of text, and runs the few test files
that should fail. It prints a table, fault -> tests that failed, and exits with 1 if a
fault survives or its text is no longer in the code. `python -m tests.mutations NAME
...` tries these faults alone. It is not a part of the suite: every fault is a run of
its own, and all of them take some minutes.
"""

import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

_ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Fault:
  """One wrong line.

  Attributes:
    path: of the module, from the root of the repository.
    right: a text that the module holds once.
    wrong: what takes its place.
    tests: files or tests, as pytest names them, that should notice.
  """

  path: str
  right: str
  wrong: str
  tests: tuple[str, ...]


FAULTS = {
  'sign of depth': Fault(
    'pifa_jax/geometry/projection.py',
    'return viewing_direction(camera, xp=xp) * scale',
    'return -viewing_direction(camera, xp=xp) * scale',
    ('tests/geometry/projection_test.py', 'tests/geometry/rendering_test.py'),
  ),
  'y axis': Fault(
    'pifa_jax/geometry/projection.py',
    'rows = jnp.stack([scale * rotation[0], -scale * rotation[1]])',
    'rows = jnp.stack([scale * rotation[0], scale * rotation[1]])',
    ('tests/geometry/projection_test.py', 'tests/geometry/rendering_test.py'),
  ),
  'half pixel of points': Fault(
    'pifa_jax/geometry/boxes.py',
    'return (points - box[:2]) * (crop_size / box[2:]) - 0.5',
    'return (points - box[:2]) * (crop_size / box[2:])',
    ('tests/geometry/boxes_test.py',),
  ),
  'half pixel of images': Fault(
    'pifa_jax/geometry/cropping.py',
    'source = start + (xp.arange(crop_size) + 0.5) * step',
    'source = start + xp.arange(crop_size) * step',
    ('tests/geometry/boxes_test.py',),
  ),
  'tie rule of the winner': Fault(
    'pifa_jax/geometry/visualization.py',
    """    index = jnp.arange(cell.shape[0], dtype=jnp.int32)
    return depth_keys.winning_index(
      depth_keys.scatter_nearest(depth_keys.empty(num_cells), cell, order, index)
    )
""",
    # Equal depths go to the highest index.
    """    index = jnp.arange(cell.shape[0], dtype=jnp.int32)[::-1]
    found = depth_keys.winning_index(
      depth_keys.scatter_nearest(depth_keys.empty(num_cells), cell, order, index)
    )
    return jnp.where(found < 0, found, cell.shape[0] - 1 - found)
""",
    ('tests/geometry/visualization_test.py::Figure5Test',),
  ),
  'normalisation of the mask': Fault(
    'pifa_jax/geometry/masks.py',
    'return (raw - jnp.mean(rendered)) / jnp.std(rendered)',
    'return raw - jnp.mean(rendered)',
    ('tests/geometry/masks_test.py',),
  ),
  'block weight': Fault(
    'pifa_jax/learning/training.py',
    'jnp.arange(1, num_blocks + 1, dtype=jnp.float32)',
    'jnp.ones(num_blocks, jnp.float32)',
    ('tests/learning/training_test.py::LossLayoutTest',),
  ),
  'W of Eq. (6)': Fault(
    'pifa_jax/learning/losses.py',
    'return 1.0 / scales**2',
    'return 1.0 / scales',
    ('tests/learning/losses_test.py',),
  ),
  'jitter that ignores the labels': Fault(
    'pifa_jax/learning/batching.py',
    'landmarks=boxes.crop_points(row.landmarks, box, crop_size)',
    'landmarks=boxes.crop_points(row.landmarks, square, crop_size)',
    (
      'tests/learning/training_test.py::MakeBatchTest',
      'tests/learning/training_test.py::EvaluateRowsTest',
    ),
  ),
  'jitter that ignores P': Fault(
    'pifa_jax/learning/batching.py',
    'face = boxes.crop_params('
    'unflatten_params(row.params, num_identity), box, crop_size)',
    'face = boxes.crop_params(\n'
    '      unflatten_params(row.params, num_identity), square, crop_size\n'
    '    )',
    ('tests/learning/training_test.py::MakeBatchTest',),
  ),
  'mirror without index swap': Fault(
    'pifa_jax/learning/batching.py',
    'points = row.landmarks[mirror_map.landmarks]',
    'points = row.landmarks',
    (
      'tests/learning/training_test.py::StepTest::'
      'test_a_flipped_sample_is_the_sample_of_the_flipped_photo',
    ),
  ),
  'BN statistics per device': Fault(
    'pifa_jax/learning/network.py',
    'axis_name=self.axis_name,\n        momentum',
    'axis_name=None,\n        momentum',
    ('tests/learning/training_test.py::StepTest::test_one_and_four_devices_agree',),
  ),
}


def failed_tests(fault: Fault, folder: pathlib.Path) -> list[str]:
  """Runs the tests of a fault in a copy of the repository that has it.

  Args:
    fault: what to change. The module is as before afterwards.
    folder: a copy of package and tests.

  Returns:
    Names of the tests that fail, without their paths.

  Raises:
    ValueError: if the module does not hold the text once, or no test could run.
  """
  module = folder / fault.path
  text = module.read_text()
  if text.count(fault.right) != 1:
    raise ValueError(
      f'{fault.path} holds {fault.right!r} {text.count(fault.right)} times, not once; '
      'give the fault in tests/mutations.py the text as it is now.'
    )
  module.write_text(text.replace(fault.right, fault.wrong))
  try:
    done = subprocess.run(
      [sys.executable, '-m', 'pytest', '-n', '0', '-p', 'no:cacheprovider', '-rf', '-q']
      + ['--tb=no', *fault.tests],
      cwd=folder,
      text=True,
      capture_output=True,
      check=False,
    )
  finally:
    module.write_text(text)
  if done.returncode not in (0, 1):  # passed, or some failed
    raise ValueError(f'The tests of {fault.path} did not run:\n{done.stdout}')
  found = re.findall(r'^FAILED \S+::(\S+)', done.stdout, re.MULTILINE)
  return [name.split('::')[-1] for name in found]


def main(names: list[str]) -> int:
  """Tries faults and prints the table.

  Args:
    names: of `FAULTS`; none = all.

  Returns:
    The exit code: 0 if every fault is noticed, else 1.
  """
  unknown = sorted(set(names) - set(FAULTS))
  if unknown:
    print(f'There is no fault {unknown[0]!r}; there are: {", ".join(FAULTS)}.')
    return 1
  survived = []
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary) / 'copy'
    folder.mkdir()
    for name in ('pifa_jax', 'experiments', 'tests'):
      shutil.copytree(
        _ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__')
      )
    shutil.copy(_ROOT / 'setup.cfg', folder)
    for name in names or FAULTS:
      failed = failed_tests(FAULTS[name], folder)
      if not failed:
        survived.append(name)
      print(f'{name:<31} -> {", ".join(failed) or "SURVIVED"}', flush=True)
  if survived:
    print(f'{len(survived)} faults survived: write a test for each.')
  return 1 if survived else 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
