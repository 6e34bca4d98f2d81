"""The second entry point: Celery workers that score jobs. Imports service, never service.api."""

import models as models  # before ONNX Runtime: it switches that library's telemetry off
import service as service  # before structlog: it keeps that library from loading rich
