"""index.html: all faces of a run on one page that works from the file system.

The page holds its style, its script and the table; pictures and meshes lie beside it in
index_files/ under numbers, so that no name of a photo is ever part of their paths. It
loads nothing from a network: its security policy forbids it.
"""

import base64
from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import html
import io
import json
import math
import os
import pathlib
import re
from typing import Any
import urllib.parse

import numpy as np
from PIL import Image

from experiments.lib import terminal
from pifa_jax.files.formats import write_atomically
from pifa_jax.geometry import photo_mesh
from pifa_jax.results import overlays
from pifa_jax.results.face_files import SCHEME
from pifa_jax.results.fitted_face import FittedFace

_HERE = pathlib.Path(__file__).parent
_FOLDER = 'index_files'
_PICTURE_SIDE = 400
_AROUND = 1.7  # side of the picture over that of the landmarks
_FEWEST_ACTION = 0.05  # weaker actions are not listed
_GREY = 190


@dataclasses.dataclass
class ContactSheet:
  """Collects the faces of a run, and writes its page.

  Attributes:
    workdir: of the run.
    title: of the page.
    most_meshes: how many faces can be turned on the page, the first ones: a mesh of the
      built-in face is a quarter of a megabyte.
  """

  workdir: pathlib.Path
  title: str = 'Aligned faces'
  most_meshes: int = 200

  def __post_init__(self) -> None:
    self._faces: list[dict[str, Any]] = []
    self._number = 0
    self._has_triangles = False

  def add(
    self,
    name: str,
    number: int,
    face: FittedFace,
    *,
    actions: Mapping[str, float] | None = None,
    overlay: str | None = None,
    files: Sequence[tuple[str, str]] = (),
  ) -> None:
    """Adds a face, and writes its picture and its mesh.

    Args:
      name: of the photo, relative to the input folder.
      number: of the face in the photo.
      face: with its photo.
      actions: expression -> strength.
      overlay: path of a picture of the whole photo, relative to the work folder.
      files: (kind, path relative to the work folder) of its other files.

    Raises:
      ValueError: if the face has no photo.
      OSError: if a file cannot be written.
    """
    self._number += 1
    folder = self.workdir / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    picture = f'{_FOLDER}/{self._number}.jpg'
    write_atomically(self.workdir / picture, _picture(face))
    mesh = None
    if self._number <= self.most_meshes:
      mesh = f'{_FOLDER}/{self._number}.js'
      if not self._has_triangles:
        write_atomically(folder / 'triangles.js', _triangles_script(face))
        self._has_triangles = True
      write_atomically(self.workdir / mesh, _mesh_script(mesh, face))
    points = np.asarray(face.landmarks[SCHEME], np.float64)
    yaw, pitch, roll = face.angles
    confidence = None if face.confidence is None else float(face.confidence)
    self._faces.append(
      {
        'name': terminal.printable(name),
        'face': int(number),
        'picture': picture,
        'mesh': mesh,
        'overlay': None if overlay is None else _url(overlay),
        'files': [(kind, _url(path)) for kind, path in files],
        'confidence': _number(confidence),
        'doubtful': bool(face.doubtful),
        **{
          what: _number(angle)
          for what, angle in (('yaw', yaw), ('pitch', pitch), ('roll', roll))
        },
        'size': _number(np.sqrt(np.prod(np.ptp(points, axis=0)))),
        'hidden': int((~np.asarray(face.visible[SCHEME])).sum()),
        'actions': sorted(
          (
            (key, round(value, 3))
            for key, value in (actions or {}).items()
            if value >= _FEWEST_ACTION
          ),
          key=lambda pair: -pair[1],
        ),
      }
    )

  def add_lost(self, name: str, reason: str, number: int | None = None) -> None:
    """Adds a face, or a photo, that could not be aligned.

    Args:
      name: of the photo.
      reason: why not.
      number: of the face; None = the photo as a whole.
    """
    self._faces.append(
      {
        'name': terminal.printable(name),
        'face': number,
        'reason': terminal.printable(reason),
      }
    )

  def write(self) -> pathlib.Path:
    """Writes the page: lost faces first, then the least confident.

    Returns:
      Its path.
    """
    path = self.workdir / 'index.html'
    write_atomically(path, self.page().encode())
    return path

  def page(self) -> str:
    """The page as text."""
    faces = sorted(self._faces, key=_doubt)
    content = json.dumps(
      {
        'faces': faces,
        'triangles': f'{_FOLDER}/triangles.js',
        'meshes': min(self.most_meshes, self._number),
        'all': self._number,
      },
      allow_nan=False,
    )
    script = (_HERE / 'page.js').read_text(encoding='utf-8')
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
      # Of scripts: this one, and the meshes, which are files beside the page.
      'policy': (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src 'self' file:; "
        f"script-src 'sha256-{digest}' 'self' file:; base-uri 'none'; "
        "form-action 'none'"
      ),
      'title': html.escape(terminal.printable(self.title)),
      'style': (_HERE / 'page.css').read_text(encoding='utf-8'),
      'script': script,
      # No tag can begin in it.
      'data': content.replace('<', '\\u003c').replace('>', '\\u003e'),
    }
    template = (_HERE / 'page.html').read_text(encoding='utf-8')
    # In one pass: a name may look like a place to fill.
    return re.sub(r'\{\{(\w+)\}\}', lambda found: parts[found[1]], template)


def _doubt(face):
  """The key by which the faces are sorted first."""
  if 'reason' in face:
    return (0, 0.0, face['name'])
  confidence = face['confidence']
  return (1, 1.0 if confidence is None else confidence, face['name'])


def _number(value):
  """A number for JSON, which has no NaN."""
  return None if value is None or not math.isfinite(value) else round(float(value), 3)


def _url(path):
  """A relative path as a link; './' keeps what stands before a colon from being one."""
  return './' + urllib.parse.quote(os.fsencode(path))


def _picture(face):
  """The surroundings of a face with its landmarks, a JPEG."""
  if face.photo is None:
    raise ValueError('a contact sheet needs the photo')
  points = np.asarray(face.landmarks[SCHEME], np.float64)
  low, high = points.min(axis=0), points.max(axis=0)
  middle, half = (low + high) / 2, _AROUND * max(*(high - low), 2.0) / 2
  height, width = face.photo.shape[:2]
  # A face that was lost may lie outside its photo, or be as large as a planet.
  first = np.clip(np.floor(middle - half), 0, [width - 1, height - 1]).astype(int)
  last = np.clip(np.ceil(middle + half), first + 1, [width, height]).astype(int)
  part = Image.fromarray(face.photo[first[1] : last[1], first[0] : last[0]])
  scale = _PICTURE_SIDE / max(part.size)
  size = [max(1, round(side * scale)) for side in part.size]
  part = part.resize((size[0], size[1]), Image.Resampling.BICUBIC)
  pictured = overlays.draw_landmarks(
    np.asarray(part),
    [(points - first + 0.5) * scale - 0.5],
    [face.visible[SCHEME]],
    enlarge=False,
  )
  stream = io.BytesIO()
  pictured.save(stream, format='JPEG', quality=88)
  return stream.getvalue()


def _base64(array):
  return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _triangles_script(face):
  triangles = np.asarray(face.model.triangles, '<u4')
  return f'pifaTriangles("{_base64(triangles)}");\n'.encode()


def _mesh_script(path, face):
  """The mesh in the frame of `photo_mesh.viewer_vertices`, 16 bits a coordinate."""
  vertices = photo_mesh.viewer_vertices(face.vertices)
  largest = float(np.max(np.linalg.norm(vertices, axis=1)))
  places = np.round(32767 * vertices / max(largest, 1e-12)).astype('<i2')
  colors = face.colors
  if colors is None:
    colors = np.full(places.shape, _GREY)
  return (
    f'pifaMesh("{path}", "{_base64(places)}", "{_base64(np.uint8(colors))}");\n'
  ).encode()
