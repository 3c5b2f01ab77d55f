"""R10: NaN and infinity in what a training step reads and computes."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.learning import checkpoints, training
from tests.faults.tally import Scale, Tally
from tests.learning.training_test import make_rows, make_step

_PARTS = ('params', 'batch_stats', 'opt_state')


def _hashes(state):
  return [checkpoints.tree_hash(getattr(state, part)) for part in _PARTS]


def poisoned_step():
  """A step that takes two arguments more: which leaf of the gradient, and its value."""
  step, state, *rest = make_step()

  def poisoned(state, rows, ids, geometry, landmark_model, hit, value):
    def poison(tree, unused_axis):
      if len(tree) != 4:  # the sums of the weights
        return tree
      grads, *others = tree
      leaves, structure = jax.tree.flatten(grads)
      leaves = [
        jnp.where(hit == number, leaf.at[(0,) * leaf.ndim].set(value), leaf)
        for number, leaf in enumerate(leaves)
      ]
      return (jax.tree.unflatten(structure, leaves), *others)

    with mock.patch.object(training.parallel, 'sum_over_devices', poison):
      return step.__wrapped__(state, rows, ids, geometry, landmark_model)

  return jax.jit(poisoned), state, rest


def non_finite(scale: Scale) -> Tally:
  """R10: a step that meets a bad number changes nothing, and says where it was.

  Args:
    scale: one kind of bad number, or three.

  Returns:
    The counts; identical = skipped whole, with the right leaf or faces named.
  """
  tally = Tally()
  step, state, (geometry, landmark_model) = poisoned_step()
  ids = np.arange(8, dtype=np.int32)
  good = make_rows(8)
  good = dataclasses.replace(good, visible=np.ones((8, 68), bool))
  nowhere, zero = np.int32(-1), np.float32(0)
  state, _ = step(state, good, ids, geometry, landmark_model, nowhere, zero)
  before = _hashes(state)

  def judge(name, result, leaves=None, faces=None):
    after, out = result
    if _hashes(after) != before:
      tally.add('silent', f'{name}: the state changed')
    elif bool(out['finite']) or int(after.skipped) != 1:
      tally.add('silent', f'{name}: not counted as skipped')
    elif leaves is not None and leaves != np.flatnonzero(~out['finite_leaves']):
      tally.add('other', f'{name}: another leaf was named')
    elif faces is not None and faces != list(np.flatnonzero(~out['finite_faces'])):
      tally.add('other', f'{name}: other faces were named')
    else:
      tally.add('identical')

  values = (np.nan, np.inf, -np.inf)[: scale.count(1, 3)]
  for value in np.float32(values):
    for number in range(len(jax.tree.leaves(state.params))):
      found = step(
        state, good, ids, geometry, landmark_model, np.int32(number), np.float32(value)
      )
      judge(f'leaf {number} {value}', found, leaves=[number], faces=[])
    for field in ('landmarks', 'params', 'box'):
      bad = np.array(getattr(good, field))
      bad[3].flat[0] = value
      rows = dataclasses.replace(good, **{field: bad})
      found = step(state, rows, ids, geometry, landmark_model, nowhere, zero)
      judge(f'{field} {value}', found, faces=[3])
    for field in ('mean_shape', 'identity_basis', 'expression_basis'):
      bad = np.array(getattr(landmark_model, field))
      if not bad.size:
        continue
      bad.flat[0] = value
      model = dataclasses.replace(landmark_model, **{field: bad})
      found = step(state, good, ids, geometry, model, nowhere, zero)
      judge(f'{field} {value}', found)
  return tally
