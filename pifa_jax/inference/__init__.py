"""Fits faces in boxes of photos: landmarks, visibility, pose and P in image pixels."""

from pifa_jax.inference.align_photo import Face, align, draw_faces
from pifa_jax.inference.aligner import AlignedFaces, Aligner
from pifa_jax.inference.confidence import Confidence

__all__ = ['AlignedFaces', 'Aligner', 'Confidence', 'Face', 'align', 'draw_faces']
