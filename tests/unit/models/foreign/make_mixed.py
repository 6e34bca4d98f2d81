"""Makes the ONNX files of tables with words beside it, and `predicted.json`: what scikit-learn itself says of some rows.

    pip install scikit-learn==1.9.1 skl2onnx==1.20.0 pandas
    python make_mixed.py

The patients are made up. ZipMap stays on where ONNX Runtime takes it: of float64 it does not.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

FOLDER = Path(__file__).parent
COUNT = 400
predicted = {}


def save(name, model, columns, shares):
    """`shares` are what scikit-learn predicts of the first of the patients."""
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    rows = shown[columns].astype(object).to_numpy().tolist()
    predicted[name] = [
        {"input": dict(zip(columns, row, strict=True)), "probabilities": each}
        for row, each in zip(rows, shares.tolist(), strict=True)
    ]


chance = np.random.default_rng(0)
patients = pd.DataFrame(
    {
        "age": chance.uniform(18, 95, COUNT),
        "visits": chance.integers(0, 9, COUNT),
        "smoker": chance.random(COUNT) < 0.3,
        "sex": chance.choice(["female", "male"], COUNT),
        "site": chance.choice(["Arm", "Rücken", "leg, lower"], COUNT),
        "stage": chance.integers(0, 3, COUNT),
        "note": [
            f"{kind} pain {since}"
            for kind, since in zip(
                chance.choice(["chest", "abdominal"], COUNT),
                chance.choice(["since yesterday", "for weeks"], COUNT),
                strict=True,
            )
        ],
    }
)
risk = (
    0.05 * patients.age + (patients.sex == "male") + 1.5 * (patients.site == "Rücken") + 0.3 * patients.visits
)
risk += 2 * patients.smoker + patients.stage + 2 * patients.note.str.startswith("chest")
classes = (risk + chance.normal(0, 1, COUNT) > risk.median()).astype(int).to_numpy()
shown = patients[:12]

columns = ["age", "visits", "sex", "site"]
encoded = make_column_transformer((StandardScaler(), ["age", "visits"]), (OneHotEncoder(), ["sex", "site"]))
linear = make_pipeline(encoded, LogisticRegression()).fit(patients[columns], classes)
model = to_onnx(linear, patients[columns][:1], options={"zipmap": False})
save("sklearn-columns", model, columns, linear.predict_proba(shown[columns]))

words = ["sex", "site"]
names = np.array(["low", "high"])[classes]
forest = make_pipeline(OrdinalEncoder(), RandomForestClassifier(5, max_depth=3, random_state=0))
forest.fit(patients[words].to_numpy(), names)
matrix = [("X", StringTensorType([None, 2]))]
model = convert_sklearn(forest, initial_types=matrix)
save("sklearn-ordinal", model, words, forest.predict_proba(shown[words].to_numpy()))

columns = ["age", "smoker", "stage"]
encoded = make_column_transformer(
    (StandardScaler(), ["age"]), ("passthrough", ["smoker"]), (OneHotEncoder(), ["stage"])
)
linear = make_pipeline(encoded, LogisticRegression()).fit(patients[columns], classes)
types = [FloatTensorType, BooleanTensorType, Int64TensorType]
given = [(name, each([None, 1])) for name, each in zip(columns, types, strict=True)]
model = convert_sklearn(linear, initial_types=given, options={"zipmap": False})
save("sklearn-codes", model, columns, linear.predict_proba(shown[columns]))

# The default locale, en_US.UTF-8, is one that ONNX Runtime does not find on every machine.
words = TfidfVectorizer()
linear = make_pipeline(words, LogisticRegression()).fit(patients.note, classes)
options = {id(linear): {"zipmap": False}, id(words): {"locale": "C"}}
given = [("text_in", StringTensorType([None, 1]))]
model = convert_sklearn(linear, initial_types=given, options=options)
save("sklearn-text", model, ["note"], linear.predict_proba(shown.note))

(FOLDER / "predicted.json").write_text(json.dumps(predicted, indent=1, ensure_ascii=False) + "\n")
