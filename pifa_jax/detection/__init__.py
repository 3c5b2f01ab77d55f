"""Finds the faces of a photo, in boxes as the network was trained on."""

from pifa_jax.detection.detections import Detections
from pifa_jax.detection.detector import (
  DETECTORS,
  DetectionSettings,
  Detector,
  DetectorMissing,
  make_detector,
)

__all__ = [
  'DETECTORS',
  'DetectionSettings',
  'Detections',
  'Detector',
  'DetectorMissing',
  'make_detector',
]
