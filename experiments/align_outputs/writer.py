"""Writes what --save asks for, photo by photo."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import functools
import pathlib
import types

import numpy as np

from experiments.align_outputs.contact_sheet import ContactSheet
from experiments.align_outputs.tables import CocoTable, CsvTable
from experiments.lib import cli, output_files
from pifa_jax.face_models import expression_actions
from pifa_jax.results import face_files, overlays, photo_maps
from pifa_jax.results.fitted_face import FittedFace

_OF_FACE = {
  'pts': '68 landmarks, 1-based',
  'npz': 'all arrays of a face',
  'mat': "300W-LP's variables",
  'obj': 'mesh over the photo, with its colours',
  'ply': 'the same, binary',
  'glb': 'mesh for viewers, with colours, y up',
  'uv': "position map of PRNet's kind, .npy",
  'v': 'the visualizations V of all blocks, .png',
}
_OF_PHOTO = {
  **overlays.OVERLAYS,
  'depth': 'depth of the faces, 16-bit .png',
  'normals': 'normals of the faces, .png',
  'pncc': "3DDFA's coordinate code, .png",
}
_OF_RUN = {
  'json': 'coco.json: COCO keypoints, v = 1 hidden, 2 visible',
  'csv': 'faces.csv: a row a face',
  'index': 'index.html: all faces on a page, with meshes that turn',
}
# What --save may name -> what it is.
KINDS: Mapping[str, str] = types.MappingProxyType(_OF_RUN | _OF_FACE | _OF_PHOTO)
DEFAULT_KINDS = ('overlay', 'index')


def parse_kinds(names: Iterable[str]) -> tuple[str, ...]:
  """What --save names, checked.

  Args:
    names: of the flag; 'all' stands for all kinds, 'none' for none.

  Returns:
    Different kinds, in the order of `KINDS`.

  Raises:
    UserError: if one is unknown.
  """
  wanted = {name.strip() for name in names if name.strip()}
  unknown = sorted(wanted - set(KINDS) - {'all', 'none'})
  if unknown:
    raise cli.UserError(
      f'--save={unknown[0]} is not a kind of file; use {", ".join(KINDS)}, all or none.'
    )
  if 'none' in wanted and len(wanted) > 1:
    raise cli.UserError('--save names none and other kinds; give one of the two.')
  return tuple(kind for kind in KINDS if kind in wanted or 'all' in wanted)


def help_text() -> str:
  """The help of --save: every kind and what it is."""
  kinds = '; '.join(f'{kind} = {what}' for kind, what in KINDS.items())
  return f'What to write beside results.jsonl, or all, or none: {kinds}.'


class Writer:
  """Writes the kinds of files that were asked for.

  Files of a photo are named <photo>_<kind>.png, those of a face
  <photo>_<number>.<suffix>, below the work folder, in folders like those of the input.
  Every file is written whole or not at all.

  Attributes:
    counts: kind -> files written.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    kinds: Sequence[str],
    *,
    units: Mapping[str, np.ndarray] | None = None,
  ):
    """Starts the files of the run.

    Args:
      workdir: an existing folder.
      kinds: of `parse_kinds`.
      units: of `load_expression_units`: the page and faces.csv then say how strong
        every action is.

    Raises:
      OSError: if a file cannot be made.
    """
    self._workdir, self._kinds = workdir, frozenset(kinds)
    self._units = units or {}
    self.counts = {kind: 0 for kind in KINDS if kind in self._kinds}
    self._coco = CocoTable(workdir) if 'json' in self._kinds else None
    self._sheet = ContactSheet(workdir) if 'index' in self._kinds else None
    names: tuple[str, ...] = ()
    if self._units:
      size = len(next(iter(self._units.values())))
      names = tuple(expression_actions(self._units, np.zeros(size)))
    self._csv = CsvTable(workdir, names) if 'csv' in self._kinds else None

  def needs_visualizations(self) -> bool:
    """Whether faces must come with the V of every block."""
    return 'v' in self._kinds

  def photo(
    self,
    name: str,
    photo: np.ndarray,
    faces: Sequence[FittedFace],
    numbers: Sequence[int],
  ) -> list[tuple[int | None, str]]:
    """Writes the files of a photo and of its faces.

    Args:
      name: of the photo, relative to the input folder, with forward slashes.
      photo: (H, W, 3) uint8 RGB.
      faces: that were found in it, with `photo` in each.
      numbers: of the faces in the photo, for the names of files.

    Returns:
      What could not be written: (number of the face or None, the reason).
    """
    problems: list[tuple[int | None, str]] = []
    written: dict[str, str] = {}
    for kind in _OF_PHOTO:
      if kind in self._kinds:
        draw = functools.partial(self._map, name, kind, photo, faces)
        if self._try(problems, None, kind, draw):
          written[kind] = f'{name}_{kind}.png'
    photo_id = None if self._coco is None else self._coco.add_photo(name, photo)
    for face, number in zip(faces, numbers, strict=True):
      files = []
      for kind in _OF_FACE:
        if kind in self._kinds:
          path = f'{name}_{number}{_suffix(kind)}'
          save = functools.partial(self._face_file, name, number, kind, face)
          if self._try(problems, number, kind, save):
            files.append((kind, path))
      files += [pair for pair in written.items() if pair[0] != 'overlay']
      actions: dict[str, float] = {}
      if self._csv is not None or self._sheet is not None:
        # As much time as all else of a face: only for who reads it.
        actions = expression_actions(self._units, np.asarray(face.params.expression))
      if self._coco is not None and photo_id is not None:
        self._coco.add(photo_id, number, face)
      if self._csv is not None:
        self._csv.add(name, number, face, actions)
      if self._sheet is not None:
        self._try(
          problems,
          number,
          'index',
          functools.partial(
            self._sheet.add,
            name,
            number,
            face,
            actions=actions,
            overlay=written.get('overlay'),
            files=files,
          ),
        )
    return problems

  def lost(self, name: str, reason: str, number: int | None = None) -> None:
    """Notes a photo, or a face of it, that could not be aligned, for the page.

    Args:
      name: of the photo.
      reason: why not.
      number: of the face; None = the photo as a whole.
    """
    if self._sheet is not None:
      self._sheet.add_lost(name, reason, number)

  def close(self) -> list[str]:
    """Writes the files of the run.

    Returns:
      Why some of them could not be written.
    """
    problems: list[tuple[int | None, str]] = []
    for kind, end in (
      ('json', self._coco and self._coco.close),
      ('csv', self._csv and self._csv.close),
      ('index', self._sheet and self._sheet.write),
    ):
      if end:
        self.counts[kind] = 0
        self._try(problems, None, kind, end)
    return [reason for _, reason in problems]

  def summary(self) -> str:
    """What was written, such as '3 .glb, index.html'; '' for nothing."""
    parts = []
    for kind, count in self.counts.items():
      if not count:
        continue
      if kind in _OF_RUN:
        parts.append(KINDS[kind].partition(':')[0])
      elif kind in _OF_FACE:
        parts.append(f'{count} {_suffix(kind)}')
      else:
        parts.append(f'{count} _{kind}.png')
    return ', '.join(parts)

  def _try(self, problems, number, kind, write: Callable[[], object]) -> bool:
    try:
      write()
    except (OSError, ValueError) as error:
      problems.append((number, f'no {kind} was written: {error}'))
      return False
    self.counts[kind] += 1
    return True

  def _map(self, name, kind, photo, faces):
    path = output_files.output_path(self._workdir, name, f'_{kind}.png')
    if kind in photo_maps.MAPS:
      photo_maps.save_map(path, kind, photo, faces)
    else:
      photo_maps.write_image(path, overlays.draw(photo, faces, kind))

  def _face_file(self, name, number, kind, face):
    path = output_files.output_path(self._workdir, name, f'_{number}{_suffix(kind)}')
    if kind == 'v':
      photo_maps.write_image(path, overlays.draw_visualizations(face))
    else:
      face_files.SAVERS[kind](path, face)


def _suffix(kind: str) -> str:
  """What follows the number of the face in a file's name."""
  return {'v': '_v.png', 'uv': '_uv.npy'}.get(kind, f'.{kind}')
