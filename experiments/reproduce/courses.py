"""The course of a training, and of several that follow each other as a cascade."""

import dataclasses

from experiments.reproduce.finished import Finished, Hole


@dataclasses.dataclass(frozen=True)
class Course:
  """The course of a training: the error by steps and by seconds.

  Attributes:
    steps: (n,) taken so far at every validation.
    seconds: (n,) of these steps.
    errors: (n,) NME of the validation faces, percent.
  """

  steps: tuple[float, ...]
  seconds: tuple[float, ...]
  errors: tuple[float, ...]

  def reaches(self, error: float) -> tuple[float, float]:
    """When the error was first as low as this.

    Args:
      error: percent.

    Returns:
      Steps and seconds; infinite if never.
    """
    for steps, seconds, found in zip(
      self.steps, self.seconds, self.errors, strict=True
    ):
      if found <= error:
        return steps, seconds
    return float('inf'), float('inf')


def course(stages: list[Finished], clock: str = 'seconds') -> Course:
  """Runs one after the other as one training: a cascade, or a single run.

  Args:
    stages: in their order.
    clock: 'seconds' by the clock or 'cpu_seconds' of the processor.

  Returns:
    The course of all.

  Raises:
    Hole: if a run was too short to be timed.
  """
  steps, seconds, errors = [], [], []
  steps_before = seconds_before = 0.0
  for stage in stages:
    each = getattr(stage, clock)
    if each is None:
      raise Hole(f'{stage.folder.name} took too few steps for its time to be known')
    for step, error in stage.curve:
      steps.append(steps_before + step)
      seconds.append(seconds_before + each * step)
      errors.append(error)
    steps_before += stage.steps
    seconds_before += each * stage.steps
  return Course(tuple(steps), tuple(seconds), tuple(errors))


def common_error(courses: list[Course]) -> float:
  """The lowest error that all of them reach at their ends.

  Args:
    courses: two or more.

  Returns:
    Percent: the worst of the last errors.
  """
  return max(found.errors[-1] for found in courses)
