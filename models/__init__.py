"""Machine-learning models only: bundles, their manifests, and the pipelines around an ONNX graph.

Imports nothing from `service` or `workers`. Mapped classes of the database are service/orm.
"""

import os

# Wheels of ONNX Runtime from 1.29 on send usage figures to their vendor unless told otherwise before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
