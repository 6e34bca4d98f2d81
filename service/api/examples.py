"""Examples in the OpenAPI document: real cases, public data."""

from typing import Any

BREAST_CANCER: dict[str, Any] = {}
SUBMIT: dict[str, Any] = {}
BULK: dict[str, Any] = {}
