"""Names that are nearly a field's are found, and names that are others are let through."""

import time

import pytest

from models.pipelines.names import are_near, near_names


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Age", "age"),
        ("AGE", "age"),
        ("age ", "age"),
        ("\ufeffage", "age"),
        ("âge", "age"),
        ("aeg", "age"),
        ("mean radius", "mean_radius"),
        ("Mean-Radius", "mean_radius"),
        ("MeanRadius", "mean_radius"),
        ("radius_mean", "mean_radius"),
        ("mean_raduis", "mean_radius"),
        ("meanradiu", "mean_radius"),
        ("maen_raduis", "mean_radius"),
        ("worst_fractal_dimenson", "worst_fractal_dimension"),
        ("mean_left_upper_lobe_volmue", "mean_left_upper_lobe_volume"),
        ("wrost_fractal_dimenson", "worst_fractal_dimension"),
        ("markr", "marker"),
        ("lab 01", "lab_1"),
        ("Gro\u0308ße", "größe"),
        ("mean_radius_mm", "mean_radius"),
        ("Mean radius (mm)", "mean_radius"),
        ("Radius (mm), mean", "mean_radius"),
        ("mean_radius[1]", "mean_radius"),
        ("mean_radius.1", "mean_radius"),
        ("meanRadiusMm", "mean_radius"),
        ("radius_mean_mm", "mean_radius"),
        ("mean_raduis_mm", "mean_radius"),
        ("creatinine [mg/dL]", "creatinine"),
        ("Creatinine, mg/dL", "creatinine"),
        ("Age (years)", "age"),
        ("AgeYears", "age"),
        ("age_at_diagnosis", "age"),
        ("patient age", "age"),
        ("bmi_kg_m2", "bmi"),
        ("serum_sodium", "sodium"),
        ("serum sodum", "sodium"),
        ("patient_id (hospital)", "patient_id"),
        ("agee", "age"),
        ("cas", "ca"),
        ("CAA", "ca"),
        ("cca", "ca"),
        ("ac", "ca"),
        ("aage", "age"),
        ("ages", "age"),
        ("dosse", "dose"),
        ("sodiun", "sodium"),
        ("sadium", "sodium"),
        ("hypertensoin", "hypertension"),
        ("leucocytes", "leukocytes"),
        ("radius", "mean_radius"),
        ("weight", "weight_kg"),
        ("sodium", "serum_sodium"),
        ("s_sodium", "serum_sodium"),
        ("Weight", "body_weight_kg"),
        ("temp", "temperature"),
        ("temp_max", "temperature_max"),
        ("thallium", "thal"),
        ("Thallium stress test", "thal"),
        ("serum_cholesterol", "chol"),
        ("hba1", "hba1c"),
        ("hbalc", "hba1c"),
        ("hba1\u0441", "hba1c"),
        ("\u0430ge", "age"),
        ("lab_l", "lab_1"),
        ("X" * 200, "x" * 200),
    ],
)
def test_what_was_meant_is_found(name: str, field: str) -> None:
    assert are_near(name, field)
    assert near_names([field], {name, "something else"}) == {field: name}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("page", "age"),
        ("maen_fractla_dimenson", "mean_fractal_dimension"),
        ("rate", "date"),
        ("weight", "height"),
        ("weight_kg", "height"),
        ("hypertension", "hypotension"),
        ("hyperglycemia", "hypoglycemia"),
        ("history_of_hypertension", "hypotension"),
        ("hip_abduction", "hip_adduction"),
        ("afferent", "efferent"),
        ("ratio", "radio"),
        ("systolic_bp", "diastolic_bp"),
        ("preoperative_hb", "postoperative_hb"),
        ("prenatal", "perinatal"),
        ("preoperative", "perioperative"),
        ("microcytic", "macrocytic"),
        ("intracranial", "intercranial"),
        ("creatine", "creatinine"),
        ("nitrate", "nitrite"),
        ("lactate", "lactase"),
        ("dysphagia", "dysphasia"),
        ("infection", "injection"),
        ("mch", "mchc"),
        ("pco2", "po2"),
        ("alt", "ast"),
        ("inhaled", "exhaled"),
        ("cas_number", "ca"),
        ("cat", "ca"),
        ("ks", "k"),
        ("sodium_date", "sodium"),
        ("SodiumUnit", "sodium"),
        ("stage", "age"),
        ("u_sodium", "serum_sodium"),
        ("urine_sodium", "serum_sodium"),
        ("sodium", "sodium_date"),
        ("patient", "patient_id"),
        ("kg", "weight_kg"),
        ("at", "age_at_diagnosis"),
        ("tem", "temperature"),
        ("temperature", "tem"),
        ("thallium_date", "thal"),
        ("lab12", "lab1"),
        ("left_xray", "left_x"),
        ("t_x", "temperature_x"),
        ("b12", "b2"),
        ("hba2", "hba1c"),
        ("lab_2", "lab_1"),
        ("t12", "t21"),
        ("left_y", "left_x"),
        ("min_radius", "mean_radius"),
        ("minimum_age", "maximum_age"),
        ("mean_radius_sd", "mean_radius"),
        ("patient_id", "patient"),
        ("worst_area", "mean_area"),
        ("remark", "marker"),
        ("", "age"),
        ("---", "age"),
        ("x" * 5000, "x" * 64),
        ("X" * 201, "x" * 201),
    ],
)
def test_another_name_is_left_alone(name: str, field: str) -> None:
    assert not are_near(name, field)
    assert not near_names([field], {name})


def test_a_longer_word_that_is_nearer_to_another_name_is_left_to_that() -> None:
    assert near_names(["heart", "heartrate"], ["Heartrate"]) == {"heartrate": "Heartrate"}
    assert near_names(["heartrate", "heart"], ["Heartrate"]) == {"heartrate": "Heartrate"}
    assert near_names(["thal", "age"], ["thallium", "Age"]) == {"thal": "thallium", "age": "Age"}


def test_the_work_for_files_of_many_columns_grows_with_their_number_and_not_with_its_square() -> None:
    """Wherever a pair may not be looked at, being too many, none is: 25 times the pairs take about five times as long."""

    def cpu_s(names: int) -> float:
        wanted = [
            f"measurement_{number}_of_{letter}" for number in range(names // 8) for letter in "abcdefgh"
        ]
        given = {f"some_column_{number}" for number in range(names)} | {"Measurement 7 of A"}
        began = time.process_time()
        assert near_names(wanted, given) == {"measurement_7_of_a": "Measurement 7 of A"}
        return time.process_time() - began

    assert min(cpu_s(5000) for _ in range(2)) < 15 * min(cpu_s(1000) for _ in range(3))
