"""A page that runs the ONNX file in a browser: a photo in, landmarks out."""

import json
import os
import pathlib
import shutil

from experiments.lib import cli

# Of the npm package onnxruntime-web: the build for processors alone.
RUNTIME = (
  'ort.wasm.min.mjs',
  'ort-wasm-simd-threaded.mjs',
  'ort-wasm-simd-threaded.wasm',
)
_PAGE = pathlib.Path(__file__).parent / 'page'
_FILES = ('index.html', 'demo.js')


def check_runtime(folder: str | os.PathLike[str]) -> None:
  """Refuses a folder without the runtime's files, before any work.

  Args:
    folder: of --web_runtime.

  Raises:
    UserError: if a file is missing.
  """
  missing = [name for name in RUNTIME if not (pathlib.Path(folder) / name).is_file()]
  if missing:
    raise cli.UserError(
      f'--web_runtime={folder} has no {missing[0]}; run npm install '
      'onnxruntime-web and pass node_modules/onnxruntime-web/dist.'
    )


def write(
  folder: str | os.PathLike[str],
  runtime: str | os.PathLike[str],
  network_file: str,
  crop_size: int,
  crop_scale: float = 1.0,
  box_scale: float = 1.0,
) -> list[str]:
  """Writes the page and copies the runtime beside it.

  Browsers load no such files from a disk: serve the folder, for example with
  `python -m http.server --bind 127.0.0.1`.

  Args:
    folder: where the ONNX file is.
    runtime: the folder "dist" of onnxruntime-web.
    network_file: name of the ONNX file in `folder`.
    crop_size: S, pixels.
    crop_scale: side of the crop over that of the box.
    box_scale: side of the box of the second pass over that of the landmarks' box.

  Returns:
    The names of the files.
  """
  folder = pathlib.Path(folder)
  for name in _FILES:
    shutil.copyfile(_PAGE / name, folder / name)
  for name in RUNTIME:
    shutil.copyfile(pathlib.Path(runtime) / name, folder / name)
  facts = {
    'network': network_file,
    'crop_size': crop_size,
    'crop_scale': crop_scale,
    'box_scale': box_scale,
  }
  (folder / 'demo.json').write_text(json.dumps(facts) + '\n', encoding='utf-8')
  return [*_FILES, *RUNTIME, 'demo.json']
