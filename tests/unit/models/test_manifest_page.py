"""docs/models.md against the models that read a manifest: every key stands there with its default, and no other."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from models.golden_cases import GoldenCase
from models.manifest import GraphTable, ManifestTable, ModelManifest, RuntimeLimits
from models.pipelines.advice import AdviceParameters
from models.pipelines.advice_catalogue import (
    AgainstTable,
    CatalogueTable,
    FlagTable,
    GroupTable,
    ItemTable,
    SourceTable,
    Words,
)
from models.pipelines.beat_classification import BeatParameters
from models.pipelines.classification_parameters import (
    AbstainBand,
    ClassificationParameters,
    LabelParameters,
    Novelty,
    Threshold,
)
from models.pipelines.context_fields import CategoryField, CodesField, ContextField, NumberField
from models.pipelines.decoder_graphs import CacheParameters, DecoderParameters
from models.pipelines.detection_types import DetectionLabel, DetectionParameters
from models.pipelines.drug_safety_rule import DrugSafetyRule
from models.pipelines.ecg_input import EcgParameters
from models.pipelines.exchanged_words import ExchangeParameters
from models.pipelines.features import BooleanFeature, CategoryFeature, Feature, IntegerFeature, TextFeature
from models.pipelines.features.numbers import MeasuredFeature
from models.pipelines.features.table import FeatureTable
from models.pipelines.generation_types import Confidence, GenerationParameters
from models.pipelines.image_classification import ImageParameters
from models.pipelines.image_feed import ImageFeedParameters
from models.pipelines.image_generation import ImageGenerationParameters
from models.pipelines.image_intake import ImageFileParameters, ProportionParameters, WindowParameters
from models.pipelines.molecule_alerts import StructuralAlert
from models.pipelines.molecule_tasks import (
    Classification,
    MoleculeDomain,
    MoleculeFeatures,
    MoleculeParameters,
    Regression,
)
from models.pipelines.one_text import OneTextParameters
from models.pipelines.place_search import PlaceSearch, PlaceWeights
from models.pipelines.plan_parameters import AdviceSection, DrugSection, Origin, PlanParameters, Section
from models.pipelines.recommendation import RecommendationParameters
from models.pipelines.recording_quality import RecordingQuality
from models.pipelines.segmentation_types import InstanceParameters, SegmentationParameters
from models.pipelines.semantic_search import Relevance, SearchParameters
from models.pipelines.sequence_classification import SequenceParameters
from models.pipelines.table_input import TableParameters
from models.pipelines.tabular_classification import TabularParameters
from models.pipelines.tabular_regression import Interval, RegressionParameters, ValueRange
from models.pipelines.tensor import TensorParameters, TensorTable
from models.pipelines.text_classification import ReadingClassifierParameters, TextClassificationParameters
from models.pipelines.text_pair_classification import TextPairParameters
from models.pipelines.text_vectors import EncoderParameters
from models.pipelines.texts import ScriptParameters, TextParameters
from models.pipelines.timeseries_classification import SeriesParameters
from models.pipelines.timeseries_completeness import Completeness, MeasureGroup
from models.pipelines.timeseries_measures import Measure, SuspectUnit
from models.pipelines.token_classification import TokenClassificationParameters

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
TABLES: dict[str, type[ManifestTable]] = {
    "Top level": ModelManifest,
    "`[runtime]`": RuntimeLimits,
    "`[graph]`": GraphTable,
    "`[parameters]` of every classification": ClassificationParameters,
    "`[parameters]` of every table": TableParameters,
    "`[parameters]` of `tabular-classification`": TabularParameters,
    "`[parameters]` of `tabular-regression`": RegressionParameters,
    "`[parameters]` of every pipeline of images": ImageFileParameters,
    "`[parameters.window]`": WindowParameters,
    "`[parameters.proportions]`": ProportionParameters,
    "`[parameters]` of every graph that takes an image": ImageFeedParameters,
    "`[parameters]` of `image-classification`": ImageParameters,
    "`[parameters]` of `image-generation`": ImageGenerationParameters,
    "`[parameters]` of `image-segmentation`": SegmentationParameters,
    "`[parameters.instances]`": InstanceParameters,
    "`[parameters]` of `object-detection`": DetectionParameters,
    "A class of things": DetectionLabel,
    "`[parameters]` of `molecule-property`": MoleculeParameters,
    "`[parameters.features]`": MoleculeFeatures,
    "`[parameters.domain]`": MoleculeDomain,
    "`[[parameters.alerts]]`": StructuralAlert,
    "A regression of molecules": Regression,
    "A classification of molecules": Classification,
    "`[parameters]` of `sequence-classification`": SequenceParameters,
    "Texts": TextParameters,
    "`[parameters.script]`": ScriptParameters,
    "`[parameters]` of `text-classification`": TextClassificationParameters,
    "`[parameters]` of `text-embedding`": EncoderParameters,
    "`[parameters]` of `text-generation`": GenerationParameters,
    "`[parameters.cache]`": CacheParameters,
    "`[parameters.confidence]`": Confidence,
    "`[parameters]` of `text-pair-classification`": TextPairParameters,
    "`[parameters.exchange]`": ExchangeParameters,
    "`[parameters]` of `token-classification`": TokenClassificationParameters,
    "`[parameters]` of `semantic-search`": SearchParameters,
    "`[parameters.relevance]`": Relevance,
    "`[parameters]` of `recommendation`": RecommendationParameters,
    "`[parameters.rule]`": DrugSafetyRule,
    "`[parameters.places]`": PlaceSearch,
    "`[parameters.places.weights]`": PlaceWeights,
    "A field of a recommender": ContextField,
    "A number of a recommender": NumberField,
    "A category of a recommender": CategoryField,
    "Codes of a recommender": CodesField,
    "`[parameters]` of `advice`": AdviceParameters,
    "A catalogue of advice": CatalogueTable,
    "A source": SourceTable,
    "A group of conditions": GroupTable,
    "A red flag": FlagTable,
    "A piece of advice": ItemTable,
    "A contraindication": AgainstTable,
    "`[parameters]` of `beat-classification`": BeatParameters,
    "`[parameters.quality]`": RecordingQuality,
    "`[parameters]` of `tensor`": TensorParameters,
    "A tensor": TensorTable,
    "`[parameters]` of `timeseries-classification`": SeriesParameters,
    "A measure": Measure,
    "`[parameters]` of `treatment-plan`": PlanParameters,
    "A section of a plan": Section,
    "Drugs in a plan": DrugSection,
    "Advice in a plan": AdviceSection,
    "The origin of a section": Origin,
    "`[parameters.completeness]`": Completeness,
    "A group of measures": MeasureGroup,
    "A suspect unit": SuspectUnit,
    "A feature": FeatureTable,
    "A number": Feature,
    "A whole number": IntegerFeature,
    "True or false": BooleanFeature,
    "A category": CategoryFeature,
    "A text": TextFeature,
    "A label": LabelParameters,
    "`[parameters.threshold]`": Threshold,
    "`[parameters.abstain]`": AbstainBand,
    "`[parameters.novelty]`": Novelty,
    "`[parameters.interval]`": Interval,
    "`[parameters.range]`": ValueRange,
    "`golden.json`": GoldenCase,
}
BASES = {
    DecoderParameters,
    EcgParameters,
    ManifestTable,
    MeasuredFeature,
    OneTextParameters,
    ReadingClassifierParameters,
    Words,
}
SHARED = (
    ClassificationParameters,
    ContextField,
    TableParameters,
    FeatureTable,
    ImageFileParameters,
    ImageFeedParameters,
    LabelParameters,
    Section,
    TextParameters,
    EncoderParameters,
)
IN_WORDS = {"none", "its defaults", "float32's"}


def keys_of(heading: str) -> dict[str, str]:
    """Key -> default, as the table under a heading has them."""
    section = re.split(r"^##+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", section, re.MULTILINE))


def keys_owned(table: type[ManifestTable]) -> dict[str, Any]:
    """The fields of a table by their keys, without those that it shares with others, which have a table of their own."""
    shared = {
        name for each in SHARED if issubclass(table, each) and table is not each for name in each.model_fields
    }
    return {field.alias or name: field for name, field in table.model_fields.items() if name not in shared}


@pytest.mark.parametrize(("heading", "table"), TABLES.items())
def test_the_page_has_every_key_with_its_default_and_no_other(
    heading: str, table: type[ManifestTable]
) -> None:
    told, owned = keys_of(heading), keys_owned(table)
    assert told.keys() == owned.keys()
    for key, field in owned.items():
        if field.is_required():
            assert told[key] == "", key
        elif told[key] not in IN_WORDS:
            assert told[key] == f"`{json.dumps(field.default)}`", key
        else:
            assert field.default is None or field.default_factory or abs(field.default) > 1e38, key


def test_the_page_has_every_table_that_a_manifest_may_hold() -> None:
    def tables(base: type[ManifestTable]) -> set[type[ManifestTable]]:
        return {base}.union(*(tables(each) for each in base.__subclasses__()))

    own = {table for table in tables(ManifestTable) if table.__module__.startswith("models.")}
    assert {table for table in own if not table.__name__.startswith("_")} == {*BASES, *TABLES.values()}
