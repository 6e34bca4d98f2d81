"""Values that the examples in the OpenAPI document share."""

MODEL = "breast-cancer-wisconsin"
ID = "01a20178-34e2-71dd-924c-9e5807b634d9"
AT = "2026-11-22T04:16:24.802169Z"
DIGEST = "sha256:" + "b0" * 32
