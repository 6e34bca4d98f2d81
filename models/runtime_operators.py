"""Operators that ONNX Runtime has in ONNX's own domain beyond those that ONNX defines, described for onnx.checker.

ONNX Runtime writes them into graphs that it optimized, and the model builder of onnxruntime-genai into all of its graphs. The
checker refuses what it has no schema of in this domain. The schemas are those of ONNX Runtime's contrib_defs.cc (1.31).
"""

from typing import Any, Final

import onnx
from onnx.defs import OpSchema

_DOMAIN: Final = ""
_SINCE: Final = 1
_FLOATS: Final = ["tensor(float16)", "tensor(float)", "tensor(double)", "tensor(bfloat16)"]
_OPTIONAL: Final = OpSchema.FormalParameterOption.Optional


def describe_operators() -> None:
    """Add the schemas to those of this process, unless they are there."""
    for schema in (_normalization("SimplifiedLayerNormalization"), _normalization("LayerNormalization")):
        if not onnx.defs.has(schema.name, max_inclusive_version=_SINCE, domain=_DOMAIN):
            onnx.defs.register_schema(schema)


def _normalization(name: str) -> Any:
    """Of ONNX Runtime, LayerNormalization is in operator sets before 17, too, from which on ONNX has it."""
    bias = (
        [OpSchema.FormalParameter("B", "V", param_option=_OPTIONAL)] if name == "LayerNormalization" else []
    )
    further = ["mean", "inv_std_var"] if bias else ["inv_std_var"]
    return OpSchema(
        name, _DOMAIN, _SINCE,
        inputs=[OpSchema.FormalParameter("X", "T"), OpSchema.FormalParameter("scale", "V"), *bias],
        outputs=[
            OpSchema.FormalParameter("Y", "V"),
            *(OpSchema.FormalParameter(each, "U", param_option=_OPTIONAL) for each in further),
        ],
        type_constraints=[("T", _FLOATS, ""), ("V", _FLOATS, ""), ("U", _FLOATS, "")],
        attributes=[
            OpSchema.Attribute("axis", OpSchema.AttrType.INT, required=False),
            OpSchema.Attribute("epsilon", OpSchema.AttrType.FLOAT, required=False),
            OpSchema.Attribute("stash_type", OpSchema.AttrType.INT, required=False),
        ],
    )  # fmt: skip
