"""Chest X-ray detector: COVID-19 or not, or normal, bacterial pneumonia, COVID-19, with saliency maps.

Research demonstration. Not for diagnosis.
"""

import os as _os

__version__ = "0.1.0"

# OpenCV reads its own limit once, when it is imported, and every module here is imported after this line:
# 50 megapixels, see detector.read.image_io. The header checks there come first; this is the second lock.
_os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(50_000_000))
# TensorFlow's notes about missing GPUs are of no use to a clinician.
_os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
