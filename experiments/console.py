"""The console scripts: pifa-align is `python -m experiments.align`, and so on."""

import os
import re
import runpy
import sys


def main() -> None:
  """Runs the program that the script is named after, as `python -m` does.

  So that help, messages and the names in run.json are the same either way.
  """
  name = module_name(sys.argv[0])
  runpy.run_module(name, run_name='__main__', alter_sys=True)


def module_name(script: str) -> str:
  """The program behind a console script.

  Args:
    script: its path, such as /usr/bin/pifa-export-weights or pifa-align.exe.

  Returns:
    Such as experiments.export_weights.
  """
  name = re.sub(r'(-script\.pyw?|\.exe)$', '', os.path.basename(script))
  return f'experiments.{name.removeprefix("pifa-").replace("-", "_")}'
