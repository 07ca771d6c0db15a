"""Patients with type-1 diabetes, as the UVA/Padova simulator of 2008 (S2008) models them: where glucose and insulin go.

A meal leaves the stomach, crosses the gut and appears in the blood. Insulin seeps from under the skin into the blood, and much
later makes the liver release less glucose and the tissues take up more. Thirteen compartments hold all of it.

Sources: the meal model of Dalla Man, Rizza and Cobelli 2007 (IEEE Trans. Biomed. Eng. 54:1740), the simulator of Kovatchev et
al. 2009 (J. Diabetes Sci. Technol. 3:44) and Dalla Man et al. 2014 (8:26), whose symbols stand beside ours. Figures are from
jxx123/simglucose 0.2.11, against which this file is tested; docs/worlds/glucose.md sets its equations beside ours.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .batch import Array

BITE = 5.0  # g carbohydrate eaten in a minute
MG, PMOL = 1000.0, 6000.0  # mg in a gram; pmol of insulin in a unit
AVAILABLE = 0.9  # share of what the gut absorbs that appears in plasma (f)
BRAIN = 1.0  # mg/kg/min that brain and red blood cells take up whatever happens (F_cns)
RENAL_RATE, RENAL_THRESHOLD = 0.0005, 339.0  # 1/min, mg/kg: what the kidneys let pass (k_e1, k_e2)
EXTRACTION = 0.6  # share of the insulin in the liver that it keeps (HE_b)
DEGRADED = 0.4  # insulin that plasma loses for good, for each that goes to the liver (m_4 / m_2)
UNDER_SKIN = 12  # the compartment of subcutaneous glucose, where a sensor measures

STEP = 5  # min
DAY = 24 * 60 // STEP  # steps


@dataclass(frozen=True)
class Patient:
    """One patient's figures. Rates are per minute; a basal value is the one that the patient rests at."""

    weight: float  # kg (BW)
    height: float  # cm, and
    age: float  # years, only for the energy that the patient eats
    production: float  # mg/kg/min, basal, by the liver (EGP_b)
    glucose: float  # mg/dL, basal, in plasma (G_b)
    insulin: float  # pmol/L, basal, in plasma (I_b)
    glucose_volume: float  # dL/kg (V_G)
    insulin_volume: float  # L/kg (V_I)
    kmax: float  # the stomach empties at this rate when it is full or nearly empty,
    kmin: float  # and slows down to this one between: most where a share
    b: float  # of the meal is left, until
    d: float  # is left
    kabs: float  # the gut absorbs
    k1: float  # glucose from plasma to tissue
    k2: float  # and back
    vmx: float  # mg/kg/min more uptake for each pmol/L of insulin action (V_mx)
    km0: float  # mg/kg in tissue at which uptake is half of its most (K_m0)
    p2u: float  # insulin's action on uptake follows plasma
    kp2: float  # less production for each mg/kg of glucose
    kp3: float  # mg/kg/min less production for each pmol/L of delayed insulin
    ki: float  # that delay, twice over
    m1: float  # insulin from liver to plasma
    clearance: float  # L/min of insulin (CL)
    kd: float  # insulin under the skin, from its first compartment to its second,
    ka1: float  # from the first to plasma,
    ka2: float  # and from the second
    ksc: float  # subcutaneous glucose follows plasma
    daily_insulin: float  # U a day that this patient is treated with (TDI)

    @property
    def carbohydrate(self) -> float:
        """g a day: 45 % of 1.2 times the metabolic rate of Harris and Benedict 1918, at 4 kcal/g, as in MLD3/RL4BG."""
        return 1.2 * (66.5 + 13.75 * self.weight + 5.003 * self.height - 6.755 * self.age) * 0.45 / 4.0

    @cached_property
    def m2(self) -> float:
        """Insulin from plasma to liver, 1/min."""
        return self.clearance / (self.insulin_volume * self.weight)

    @property
    def basal(self) -> float:
        """U/min of insulin that keep the patient at rest (u_2ss in the patient's own units)."""
        return self.basal_infusion * self.weight / PMOL

    @cached_property
    def basal_infusion(self) -> float:
        """pmol/kg/min: at rest, what plasma and the liver take out of the blood."""
        return self.insulin * self.insulin_volume * self.m2 * (DEGRADED + EXTRACTION)

    @cached_property
    def rest(self) -> Array:
        """[13] the compartments in which nothing changes while the patient fasts on basal insulin."""
        plasma, insulin = self.glucose * self.glucose_volume, self.insulin * self.insulin_volume
        liver = insulin * self.m2 * (1.0 - EXTRACTION) / self.m1
        depot = self.basal_infusion / (self.ka1 + self.kd)
        tissue = (BRAIN - self.production + self.k1 * plasma) / self.k2
        hormones = [insulin, 0.0, self.insulin, self.insulin, liver, depot, self.kd * depot / self.ka2]
        return np.array([0.0, 0.0, 0.0, plasma, tissue, *hormones, plasma])

    @cached_property
    def kp1(self) -> float:
        """mg/kg/min that the liver would produce without any glucose or insulin."""
        return self.production + self.kp2 * self.glucose * self.glucose_volume + self.kp3 * self.insulin

    @cached_property
    def vm0(self) -> float:
        """mg/kg/min, the most that tissue takes up at basal insulin (V_m0): at rest, what is produced is used up."""
        return (self.production - BRAIN) * (self.km0 + self.rest[4]) / self.rest[4]

    @cached_property
    def losses(self) -> Array:
        """[13, 1] 1/min: the share of itself that each compartment loses; the stomach's liquid at a rate that changes."""
        glucose = [self.kmax, 0.0, self.kabs, self.k1, self.k2]
        action = [self.p2u, self.ki, self.ki]
        insulin = [self.m1 / (1.0 - EXTRACTION), self.ka1 + self.kd, self.ka2]
        return np.array([*glucose, (1.0 + DEGRADED) * self.m2, *action, *insulin, self.ksc])[:, None]

    @cached_property
    def bends(self) -> tuple[Array, Array]:
        """[2, 1] each: the shares of a meal at which the stomach slows down and speeds up again, and how sharply."""
        return np.array([[self.b], [self.d]]), 2.5 / np.array([[1.0 - self.b], [self.d]])

    def flow(self, body: Array, infusion: Array, eaten: Array, meal: Array) -> Array:
        """How the compartments `body` [13, B] change per minute, [13, B].

        `infusion` [B] pmol/kg/min of insulin, `eaten` [B] mg/min, `meal` [B] mg eaten so far and already there when it began.
        """
        solid, liquid, _, plasma, tissue, insulin, action, _, delayed, *_ = body
        shares, sharpness = self.bends
        slow, fast = np.tanh(sharpness * ((solid + liquid) / np.maximum(meal, 1.0) - shares))
        emptying = (self.kmax + 0.5 * (self.kmax - self.kmin) * (slow - fast)) * liquid
        produced = np.maximum(self.kp1 - self.kp2 * plasma - self.kp3 * delayed, 0.0)
        passed = RENAL_RATE * np.maximum(plasma - RENAL_THRESHOLD, 0.0)
        used = (self.vm0 + self.vmx * action) * tissue / (self.km0 + tissue)
        level = insulin / self.insulin_volume  # pmol/L
        lost = self.losses * body
        change = -lost
        change[0] += eaten
        change[1] += lost[0] - emptying
        change[2] += emptying
        change[3] += produced + AVAILABLE / self.weight * lost[2] - BRAIN - passed + lost[4]
        change[4] += lost[3] - used
        change[5] += (1.0 - EXTRACTION) * lost[9] + self.ka1 / (self.ka1 + self.kd) * lost[10] + lost[11]
        change[6] += self.p2u * (level - self.insulin)
        change[7] += self.ki * level
        change[8] += lost[7]
        change[9] += self.m2 * insulin
        change[10] += infusion
        change[11] += self.kd / (self.ka1 + self.kd) * lost[10]
        change[12] += self.ksc * plasma
        return change

    def minute(self, body: Array, infusion: Array, eaten: Array, meal: Array) -> Array:
        """The compartments [13, B] a minute later, by one step of Runge and Kutta's fourth-order method."""
        first = self.flow(body, infusion, eaten, meal)
        second = self.flow(body + 0.5 * first, infusion, eaten, meal)
        third = self.flow(body + 0.5 * second, infusion, eaten, meal)
        fourth = self.flow(body + third, infusion, eaten, meal)
        return body + (first + 2.0 * (second + third) + fourth) / 6.0

    def live(self, body: Array, plate: Array, meal: Array, insulin: Array) -> tuple[Array, Array, Array, Array]:
        """Five minutes of eating from the `plate` [B] g, and of `insulin` [B] U/min.

        Returns the compartments [B, 13], the plate, the meal so far [B] mg, and the mean glucose under the skin [B] mg/dL.
        """
        body, infusion, total = np.ascontiguousarray(body.T), insulin * PMOL / self.weight, np.zeros(len(plate))
        for _ in range(STEP):
            eaten = np.minimum(plate, BITE)
            plate, meal = plate - eaten, meal + MG * eaten
            body = self.minute(body, infusion, MG * eaten, meal)
            np.maximum(body[3:5], 0.0, out=body[3:5])  # the brain's demand would empty plasma below nothing
            total += body[UNDER_SKIN]
        return np.ascontiguousarray(body.T), plate, meal, total / (STEP * self.glucose_volume)


FIGURES = """
patient         adult#001    adult#002  adolescent#001  adolescent#002      child#001      child#002
weight             102.32        111.1          68.706          51.046    34.55648182    28.53257352
height                177          177           175.7           163.8          138.4            128
age                    45           45              18              14             10              8
production         2.2758       2.2639          3.3924          2.4905    2.556787173    3.579170179
glucose            138.56       136.45          149.02          152.41    141.2046604    143.3925294
insulin            100.25       107.07          97.554          119.18    110.3648078    104.3351578
glucose_volume     1.9152       1.6764          1.6818          1.8387    1.919425692    1.843653308
insulin_volume   0.054906      0.03957        0.048153        0.050506    0.067013558    0.037434077
kmax             0.046122     0.046859        0.015865        0.034573    0.068714386    0.020390384
kmin            0.0037927    0.0065141       0.0083338        0.006983    0.007997018    0.011239842
b                 0.70391      0.62708         0.83072         0.76876    0.754915658     0.83267505
d                 0.21057      0.20388         0.32294         0.18887    0.089529251    0.168209241
kabs              0.08906     0.021419        0.091043         0.12473    0.127494918    0.547271474
k1               0.058138     0.054895        0.057252        0.036957    0.070852519    0.107264417
k2               0.087114      0.10712        0.067738         0.28643    0.128243663    0.067069068
vmx              0.031319     0.041095        0.074667        0.038897    0.152308243    0.062822379
km0                253.52       223.52          260.89          223.01    185.8820726    225.7855513
p2u              0.027802     0.023888        0.021344        0.017681    0.042802541    0.067564011
kp2               0.00469     0.006551        0.023318       0.0026879    0.002522654    0.008198363
kp3               0.01208     0.010539        0.023253       0.0079949    0.008379266    0.023930547
ki              0.0046374    0.0029398       0.0088838       0.0084603    0.010902381    0.006425442
m1                0.15446      0.16433         0.15221         0.14477    0.314270832    0.203322432
clearance          1.2642       1.2791          0.8571         0.77023     0.35763698    0.378674876
kd                 0.0152       0.0152          0.0185          0.0163         0.0131         0.0168
ka1                0.0019       0.0037          0.0025          0.0068         0.0041         0.0033
ka2                0.0078       0.0186          0.0115          0.0269         0.0243          0.012
ksc                0.0766       0.1043           0.056          0.1314         0.0684         0.0617
daily_insulin   50.416652  57.86877688   36.7339146827    62.031042736  17.4729287744  18.1778368801
"""


def _read(figures: str) -> dict[str, Patient]:
    """A table with a column for every patient, as patients by name."""
    (_, *names), *rows = (line.split() for line in figures.strip().split("\n"))
    return {name: Patient(**{row[0]: float(row[column]) for row in rows}) for column, name in enumerate(names, 1)}


PATIENTS = _read(FIGURES)
