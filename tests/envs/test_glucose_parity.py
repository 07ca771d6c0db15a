"""The patients against simglucose 0.2.11: the same meals and insulin give the same glucose, live and as recorded.

Inputs are drawn anew in every test of the package itself; the recording was made by `record`, from the command line.
"""

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from proxygap.envs.batch import Draws
from proxygap.envs.core import advance
from proxygap.envs.glucose import Glucose
from proxygap.envs.glucose_meals import menu
from proxygap.envs.glucose_patient import DAY, PATIENTS, STEP

RECORDING = Path(__file__).parents[1] / "parity" / "simglucose" / "day.json.gz"
CLOSE = 0.05  # mg/dL, where glucose goes from below 70 to above 400


def inputs(patient, days, seed):
    """Meals [steps] g, and insulin [steps] U/min that changes every three hours, from none to two and a half times basal."""
    served, serving = menu(1, days, PATIENTS[patient], 1.0, 0.3, Draws.seeded(np.array([seed])))
    meals = np.zeros(days * DAY)
    meals[served[0]] = serving[0]
    shares = np.random.default_rng(seed).uniform(0.0, 2.5, days * 8)
    return meals, np.repeat(np.round(shares * PATIENTS[patient].basal, 5), 3 * 60 // STEP)


def ours(patient, meals, insulin):
    """Glucose [steps] mg/dL in our world, as the mean of each step."""
    env, rng = Glucose(patient=patient), Draws.seeded(np.zeros(1, int))
    served = np.flatnonzero(meals)[None]
    state = replace(env.initial(1, rng), served=served, serving=meals[served])
    glucose = []
    for rate in insulin:
        state = advance(env, state, np.array([[rate / env.strongest]]), rng).next_state
        glucose.append(state.glucose[0])
    return np.array(glucose)


def theirs(patient, meals, insulin):
    """Glucose [steps] mg/dL in the package, minute by minute, as the mean of each step."""
    module = pytest.importorskip("simglucose.patient.t1dpatient", exc_type=ImportError)
    body, glucose = module.T1DPatient.withName(patient), []
    for grams, rate in zip(meals, insulin, strict=True):
        minutes = []
        for minute in range(STEP):
            body.step(module.Action(CHO=0.0 if minute else grams, insulin=rate))
            minutes.append(body.observation.Gsub)
        glucose.append(np.mean(minutes))
    return np.array(glucose)


def record():
    """A day of every patient in the package, as the recording."""
    traces = {}
    for seed, patient in enumerate(PATIENTS):
        meals, insulin = inputs(patient, 1, seed)
        traces[patient] = {"meals": meals.tolist(), "insulin": insulin.tolist()}
        traces[patient]["glucose"] = np.round(theirs(patient, meals, insulin), 5).tolist()
    return traces


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_recorded_day_is_replayed(patient):
    trace = {name: np.array(values) for name, values in json.loads(gzip.decompress(RECORDING.read_bytes()))[patient].items()}
    assert len(trace["glucose"]) == DAY
    assert np.abs(ours(patient, trace["meals"], trace["insulin"]) - trace["glucose"]).max() < CLOSE


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("patient", PATIENTS)
def test_two_days_are_as_in_the_package(patient):
    pytest.importorskip("simglucose", exc_type=ImportError)
    meals, insulin = inputs(patient, 2, seed=100)
    assert np.abs(ours(patient, meals, insulin) - theirs(patient, meals, insulin)).max() < CLOSE


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(gzip.compress(json.dumps(record()).encode(), mtime=0))
