"""Makes the ONNX files beside it, as the usual exporters write them; they are committed, and nothing else is kept of them.

    pip install torch==2.13.0 onnxscript scikit-learn==1.9.1 skl2onnx==1.20.0 onnxmltools lightgbm xgboost onnxruntime
    python make.py

Each takes four numbers: of the breast cancer data, or of the irises, that come with scikit-learn.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from lightgbm import LGBMClassifier
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloat
from onnxruntime.quantization import quantize_dynamic
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

FOLDER = Path(__file__).parent


def save(name, model):
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())


rows, classes = load_breast_cancer(return_X_y=True)
rows = rows[:, :4].astype(np.float32)
linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, classes)
save("sklearn-zipmap", convert_sklearn(linear, initial_types=[("float_input", FloatTensorType([None, 4]))]))
save("sklearn-tensor", to_onnx(linear, rows[:1], options={"zipmap": False}))
doubles = [("X", DoubleTensorType([None, 4]))]
save("sklearn-double", convert_sklearn(linear, initial_types=doubles, options={"zipmap": False}))

flowers, kinds = load_iris(return_X_y=True)
names = np.array(["setosa", "versicolor", "virginica"])[kinds]
forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(flowers.astype(np.float32), names)
save("sklearn-strings", convert_sklearn(forest, initial_types=[("X", FloatTensorType([None, 4]))]))

# Classes that are no ids of labels.
columns = [("X", FloatTensorType([None, 4]))]
signed = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, 2 * classes - 1)
save("sklearn-signed", convert_sklearn(signed, initial_types=columns))
for name, others in {"sklearn-gaps": [1, 2, 4], "sklearn-digits": ["0", "1", "2"]}.items():
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    forest.fit(flowers.astype(np.float32), np.array(others)[kinds])
    save(name, convert_sklearn(forest, initial_types=columns))

given = [("input", ToolsFloat([None, 4]))]
trees = LGBMClassifier(n_estimators=10, num_leaves=7, verbose=-1).fit(rows, classes)
save("lightgbm", convert_lightgbm(trees, initial_types=given, target_opset=15))
boosted = XGBClassifier(n_estimators=10, max_depth=3).fit(rows, classes)
save("xgboost", convert_xgboost(boosted, initial_types=given, target_opset=15))

network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
named = {"input_names": ["x"], "output_names": ["logits"]}
axes = {"x": {0: "batch"}, "logits": {0: "batch"}}
legacy = FOLDER / "torch-legacy.onnx"
torch.onnx.export(network, (torch.zeros(2, 4),), str(legacy), dynamic_axes=axes, dynamo=False, **named)
batch = ({0: torch.export.Dim("batch")},)
torch.onnx.export(
    network,
    (torch.zeros(2, 4),),
    str(FOLDER / "torch-dynamo.onnx"),
    dynamic_shapes=batch,
    dynamo=True,
    **named,
)
torch.onnx.export(network, (torch.zeros(1, 4),), str(FOLDER / "torch-fixed.onnx"), dynamo=False)
quantize_dynamic(legacy, FOLDER / "torch-int8.onnx")

contrib = onnx.load(legacy)
for node in contrib.graph.node:
    if node.op_type == "Relu":
        node.op_type, node.domain = "Gelu", "com.microsoft"
contrib.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
save("contrib", contrib)
