"""Machine-learning models only: bundles, their manifests, and the pipelines around an ONNX graph.

Imports nothing from `service` or `workers`. Mapped classes of the database are service/orm.
"""
