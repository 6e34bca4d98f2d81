"""Writes a bundle to start from, given only an ONNX file: manifest, golden cases and card.

Guesses the pipeline from the shapes of inputs and outputs. What only a person can know is marked with FILL_IN, and a bundle
that contains FILL_IN is refused.
"""

import json
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import onnx

from models.bundle import CARD_NAME
from models.class_order import Classes, class_ids, column_classes
from models.column_ranges import RowsFile, with_ranges
from models.export_config import GENERATION
from models.golden_cases import FEWEST_CASES, GOLDEN_NAME
from models.graph import external_locations, node_fault, read_signature, repeated_fault
from models.image_guess import image_parameters
from models.manifest import FILL_IN, MANIFEST_NAME, BundleRefused, Fault, is_name
from models.manifest_words import NAME_RULE
from models.open_ranges import WHY
from models.regression import is_regression
from models.signature import CLASS_MAPS, Signature, Tensor
from models.table_guess import GuessedFeature, example_rows, guessed_features, is_table, mapped
from models.tensor_guess import guessed_tensors
from models.text_guess import TEXTS, TOKENIZER, WRITERS, TextTable, beside, text_table
from models.toml_text import quoted

MODEL_NAME: Final = "model.onnx"
TENSORS: Final = "tensor"  # the pipeline for all that no other knows
TABLE: Final = "tabular-classification"
REGRESSION: Final = "tabular-regression"
LARGEST_BYTES: Final = 2 * 1024**3  # protobuf's limit
FILL_RANGES: Final = (
    'give each number its range, as in { name = "age", title = "Age", unit = "a", minimum = 18.0, maximum = 110.0 }:\n'
    f"# without it, {WHY}"
)
# Where something remains to be done, and what.
Left = tuple[str, str]

_NUMBERS: Final = frozenset(("float32", "float64", "float16"))
_SECTIONS: Final = (
    ("Intended use", "who asks which question of it, and what they do with the answer"),
    ("Out of scope", "where it must not be used"),
    ("Data", "what it was trained and evaluated on, with origin, date and licence"),
    ("Figures", "how well it performs on data it was not tuned on, with intervals, compared with a baseline"),
    ("Limits", "where it fails"),
)


@dataclass(frozen=True)
class Skeleton:
    """What was written, and what remains to be done, in the order of the manifest."""

    folder: Path
    pipeline: str
    left: tuple[Left, ...]


@dataclass
class _Guess:
    """The parts of a manifest read from the graph. `parameters` are lines of its table, `left` is what to check by hand."""

    pipeline: str
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: list[str] = field(default_factory=list)
    examples: list[dict[str, object]] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    classes: Classes = ()  # of the graph, where they are not the ids of labels


def write_skeleton(model: Path, folder: Path, name: str, data: RowsFile | None = None) -> Skeleton:
    """Write a bundle for the ONNX file `model` into the new `folder`, for a table with the ranges of the rows in `data`.

    Raises BundleRefused or FileExistsError.
    """
    if not is_name(name):
        advice = f"no model can be called {name!r}: give another by --name: {NAME_RULE}"
        raise BundleRefused(Fault(f"{MANIFEST_NAME}: name", "manifest_invalid", advice))
    _require_readable(model)
    try:
        content = onnx.load(str(model), load_external_data=False)
        signature = read_signature(model)
    except Exception as error:  # protobuf raises what it likes
        raise BundleRefused(Fault(model.name, "onnx_invalid", "the file is not an ONNX model")) from error
    if cut := node_fault(content) or repeated_fault(content):
        raise BundleRefused(Fault(model.name, "onnx_invalid", cut))
    guess = _guessed(signature, content, model.parent, data)
    with _new_folder(folder):
        shutil.copyfile(model, folder / MODEL_NAME)
        for location in sorted(external_locations(content)):
            _copy_beside(model.parent, folder, location)
        if guess.pipeline in (TEXTS, WRITERS) and (tokenizer := beside(model)):
            shutil.copyfile(tokenizer, folder / TOKENIZER)
        (folder / MANIFEST_NAME).write_text(_manifest(name, guess), encoding="utf-8")
        (folder / GOLDEN_NAME).write_text(_golden(guess.examples), encoding="utf-8")
        (folder / CARD_NAME).write_text(_card(name, guess), encoding="utf-8")
    cases = (
        f"at least {FEWEST_CASES} real inputs that differ; `medqueue models seal --golden` adds the answers"
    )
    left = (
        (f"{MANIFEST_NAME}: title, summary, license", "what the model is, and who may use it"),
        *guess.left,
        (GOLDEN_NAME, cases),
        (CARD_NAME, "every section"),
    )
    return Skeleton(folder, guess.pipeline, left)


def _require_readable(model: Path) -> None:
    """Raises BundleRefused for a file that may be endless, such as a pipe or device, or that cannot be an ONNX file."""
    found = model.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BundleRefused(
            Fault(model.name, "onnx_invalid", "it is not a regular file: name the ONNX file itself")
        )
    if not found.st_size:
        raise BundleRefused(Fault(model.name, "onnx_invalid", "the file is empty: export the model again"))
    if found.st_size > LARGEST_BYTES:
        advice = "an ONNX file holds at most 2 GiB: export the graph with its weights in separate files"
        raise BundleRefused(Fault(model.name, "onnx_invalid", advice))


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make `folder`; if what follows fails, remove it, and the folders above it that were made with it."""
    above = [each for each in folder.parents if not each.exists()]
    folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(above[-1] if above else folder)
        raise


def _copy_beside(source: Path, folder: Path, location: str) -> None:
    """Copy a file of weights. Raises BundleRefused if it is missing or outside of the model's folder."""
    path = (source / location).resolve()
    if not path.is_relative_to(source.resolve()) or not path.is_file():
        raise BundleRefused(
            Fault(
                location,
                "external_data_missing",
                "the graph's weights are in this file: put it next to the graph",
            )
        )
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / location)


def _guessed(signature: Signature, content: Any, folder: Path, data: RowsFile | None) -> _Guess:
    """The pipeline that the shapes suggest. Raises BundleRefused if there is none, or if `data` does not fit it."""
    inputs = signature.inputs
    if table := text_table(signature, content.graph, folder):
        guess = _of_text(table)
    elif is_regression(signature, content.graph):
        guess = _of_regression(signature, content.graph, data)
    elif is_table(inputs):
        guess = _of_table(inputs, content.graph, data)
    elif len(inputs) == 1 and (parameters := image_parameters(inputs[0])):
        guess = _of_image(inputs[0], parameters)
    else:
        guess = _of_tensors(signature, content.graph)
    if guess.pipeline not in (TENSORS, REGRESSION, WRITERS):
        _add_output(guess, signature, content)
    if any(tensor.shape[:1] == (1,) for tensor in inputs):
        advice = "the graph takes one row at a time, so batches gain nothing: say so, or export it with a dynamic first axis"
        guess.left.append((CARD_NAME, advice))
    if data is not None and guess.pipeline not in (TABLE, REGRESSION):
        reason = f"the graph takes no table but is one of {guess.pipeline}: leave the file out"
        raise BundleRefused(Fault(data.name, "data_unusable", reason))
    return guess


def _of_table(inputs: Sequence[Tensor], graph: Any, data: RowsFile | None) -> _Guess:
    features = guessed_features(inputs, graph)
    features = features if data is None else with_ranges(features, data)
    guess = _Guess(TABLE, mapped(features, inputs))
    guess.examples = example_rows(features, FEWEST_CASES)
    lines = ",\n".join(f"  {feature}" for feature in features)
    plain = all(feature.open and feature.title == feature.name for feature in features)
    guess.parameters += _on_ranges(features, data)
    guess.parameters.append(
        f"features = [{', '.join(map(str, features))}]" if plain else f"features = [\n{lines},\n]"
    )
    place = f"{MANIFEST_NAME}: parameters.features"
    advice = (
        "check the names and their order; give titles and units, and each number its minimum and maximum"
        if features
        else "the graph does not specify its columns: name each"
    )
    guess.left.append((place, advice))
    if any(feature.type == "integer" for feature in features):
        advice = 'if whole numbers are codes of categories, give `type = "category"`, the values and `as = "index"`'
        guess.left.append((place, advice))
    if words := [feature for feature in features if feature.type == "category"]:
        open_ones = ", ".join(feature.name for feature in words if not feature.values)
        advice = (
            f'give the values that the graph was trained with, or `type = "text"` without values, for {open_ones}'
            if open_ones
            else "check whether all values, which were read from the graph, are to be accepted"
        )
        guess.left.append((place, advice))
    return guess


def _on_ranges(features: Sequence[GuessedFeature], data: RowsFile | None) -> Iterator[str]:
    """Comments for the manifest: where ranges are from, and what lacks one."""
    if data is not None:
        yield f"# minimum and maximum are those of {data.name}: widen them to what is plausible"
    if any(feature.open for feature in features):
        yield f"# {FILL_RANGES}"


def _of_regression(signature: Signature, graph: Any, data: RowsFile | None) -> _Guess:
    """A graph of numbers that are no scores: of one number a row of a table, or any. Raises BundleRefused."""
    given = [tensor for tensor in signature.outputs if tensor.element in _NUMBERS]
    place = f"{MANIFEST_NAME}: parameters"
    if is_table(signature.inputs) and len(given) == 1 and given[0].shape[1:] in ((), (1,)):
        guess = _of_table(signature.inputs, graph, data)
        guess.pipeline, guess.outputs = REGRESSION, {"value": given[0].name}
        guess.parameters.insert(0, f'title = "{FILL_IN}"')
        guess.left.append(
            (f"{place}.title", "say what the graph's number is, and its unit; it gives no scores of classes")
        )
        guess.left.append(
            (f"{place}.interval", "add an interval, of cases that the model was not fitted to, if you can")
        )
        return guess
    guess = _of_tensors(signature, graph)
    advice = "the graph gives no scores of classes but numbers, as a regression does: say what they are, and their unit"
    guess.left.append((f"{place}.outputs", advice))
    return guess


def _of_tensors(signature: Signature, graph: Any) -> _Guess:
    """Any graph of tensors, where nothing is known of their meaning. Raises BundleRefused."""
    found = guessed_tensors(signature, graph, FEWEST_CASES)
    if found is None:
        given = ", ".join(
            f"{tensor.name} {tensor.element}{list(tensor.shape)}"
            for tensor in (*signature.inputs, *signature.outputs)
        )
        reason = f"no pipeline fits the graph ({given or 'nothing'}): its tensors must have the rows as their first axis"
        raise BundleRefused(Fault(MODEL_NAME, "pipeline_unknown", reason))
    guess = _Guess(
        TENSORS, dict(found.inputs), dict(found.outputs), list(found.parameters), list(found.examples)
    )
    place = f"{MANIFEST_NAME}: parameters"
    advice = "give each tensor a title, and its unit and range if you can; callers send nested lists"
    guess.left.append((place, advice))
    if found.unbounded:
        advice = (
            f"give minimum and maximum of {', '.join(found.unbounded)}: of whole numbers that are places in a table of the "
            "graph, one outside of it is answered wrongly or fails"
        )
        guess.left.append((f"{place}.inputs", advice))
    if found.unlisted:
        advice = (
            f"list the `values` of {', '.join(found.unlisted)} if only some are known: any other string is answered as "
            "if nothing had been given"
        )
        guess.left.append((f"{place}.inputs", advice))
    if any("-1" in line for line in found.parameters):
        advice = "an axis of any length may be up to 4096 long: say so if the graph takes fewer or more"
        guess.left.append((f"{place}.longest", advice))
    return guess


def _of_image(first: Tensor, parameters: Sequence[str]) -> _Guess:
    guess = _Guess("image-classification", {"image": first.name})
    guess.examples = [{"data": FILL_IN}] * FEWEST_CASES
    guess.parameters += parameters
    advice = "values from 0 to 1 are fed, of the centre of an image: give mean, std and fit if it learned from others"
    guess.left.append((f"{MANIFEST_NAME}: parameters.mean, std, fit", advice))
    return guess


def _of_text(table: TextTable) -> _Guess:
    guess = _Guess(table.pipeline, examples=[{"text": FILL_IN}] * FEWEST_CASES, parameters=[*table.lines])
    guess.left.append((TOKENIZER, "the model's own; it is copied if it is beside the ONNX file"))
    guess.left += [(f"{MANIFEST_NAME}: parameters.{keys}", advice) for keys, advice in table.left]
    if table.unfollowed:
        settings = ", ".join(table.unfollowed)
        guess.left.append(
            (GENERATION, f"it sets {settings}, which no key is for: texts may differ from the exporter's")
        )
    return guess


def _add_output(guess: _Guess, signature: Signature, content: Any) -> None:
    """Add the output with the scores, and the classes. Raises BundleRefused."""
    scores = [tensor for tensor in signature.outputs if tensor.element in {CLASS_MAPS, *_NUMBERS}]
    if not scores:
        raise BundleRefused(Fault(MODEL_NAME, "output_differs", "no output holds scores of classes"))
    chosen = next((tensor for tensor in scores if "prob" in tensor.name.lower()), scores[-1])
    classes = _classes(content) or column_classes(content.graph, chosen.name)
    names = class_ids(classes or tuple(range(chosen.shape[-1] or 2 if chosen.shape[1:] else 2)))
    if chosen.element == CLASS_MAPS and classes not in (tuple(names), tuple(range(len(names)))):
        guess.classes = classes
    single = chosen.shape[1:] == (1,)
    kind = "probability" if single else "probabilities"
    if "logit" in chosen.name.lower():
        kind = "logit" if single else "logits"
    labels = names if not single else ["absent", "present"]
    guess.outputs[kind] = chosen.name
    guess.parameters += [f"labels = {json.dumps(labels)}", f'output = "{kind}"']
    place = f"{MANIFEST_NAME}: parameters"
    advice = "check the ids and their order; add display, system and code if you can"
    guess.left.append((f"{place}.labels", advice))
    if single:
        guess.parameters += ['positive = "present"', f"threshold = {_inline(_THRESHOLD)}"]
        guess.left.append((f"{place}.threshold", "give your threshold, and its performance on which rows"))
    advice = f"check {kind}, guessed from the output's name; if you change it, rename `outputs.{kind}` in [graph] as well"
    guess.left.append((f"{place}.output", advice))


_THRESHOLD: Final[Mapping[str, float | str]] = {
    "value": 0.5, "sensitivity": 0.0, "specificity": 0.0, "ppv": 0.0, "prevalence": 0.0, "source": FILL_IN,
}  # fmt: skip


def _classes(content: Any) -> Classes:
    """The classes that a graph names, mostly in scikit-learn's ZipMap; empty if it names none."""
    for node in content.graph.node:
        for attribute in node.attribute:
            if attribute.name == "classlabels_strings" and attribute.strings:
                return tuple(text.decode(errors="replace") for text in attribute.strings)
            if node.op_type == "ZipMap" and attribute.name == "classlabels_int64s" and attribute.ints:
                return tuple(attribute.ints)
    return ()


def _manifest(name: str, guess: _Guess) -> str:
    lines = [
        f'name = "{name}"',
        'version = "1.0.0"',
        f'kind = "{"generation" if guess.pipeline == WRITERS else "diagnosis"}"',
        f'pipeline = "{guess.pipeline}"',
        *(f'{key} = "{FILL_IN}"' for key in ("title", "summary", "license")),
        "",
        "[graph]",
        *_renamed("inputs", guess.inputs),
        *_renamed("outputs", guess.outputs),
        *([f"classes = {json.dumps(guess.classes, ensure_ascii=False)}"] if guess.classes else []),
        "",
        "[parameters]",
        *guess.parameters,
    ]
    return "\n".join(lines) + "\n"


def _renamed(side: str, names: Mapping[str, str]) -> Iterator[str]:
    for name, tensor in names.items():
        yield f"{side}.{quoted(name)} = {json.dumps(tensor, ensure_ascii=False)}"


def _golden(examples: Sequence[object]) -> str:
    cases = [{"input": example, "expected": {}} for example in examples]
    return json.dumps({"cases": cases}, indent=1, ensure_ascii=False) + "\n"


def _card(name: str, guess: _Guess) -> str:
    sections = "".join(f"## {title}\n\n{FILL_IN}: {what}.\n\n" for title, what in _SECTIONS)
    return f"# {name}\n\nA model of the pipeline `{guess.pipeline}`.\n\n{sections}".rstrip() + "\n"


def _inline(table: Mapping[str, float | str]) -> str:
    """A table on one line of TOML, for values that TOML and JSON write in the same way."""
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items()) + " }"
