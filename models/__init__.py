"""Machine-learning models only: bundles, their manifests, and the pipelines around an ONNX graph.

Imports nothing from `service` or `workers`. Mapped classes of the database are service/orm.
"""

import os

# Wheels of ONNX Runtime since 1.29 send usage figures to their vendor unless this is disabled before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
