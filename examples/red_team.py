"""A filter for rammings: learned, attacked, hardened, attacked again (docs/red_team.md). Run: python examples/red_team.py"""

from pathlib import Path

import numpy as np
from proxygap.experiments.red_team_bench import Sizes, bench
from proxygap.experiments.red_team_tasks import task_for
from proxygap.experiments.report.finds import film
from proxygap.reward_models.hardening import Hardening, harden, mixed

here = bench(task_for("lagoon"), Sizes(training=4000, calibrating=2000, known=60, scenes=100), seed=0)
print(f"{here.data.label.sum()} of {len(here.data)} labelled options are a ramming, or nearly one.")

attack = mixed([here.finder("mutation"), here.finder("substitution")])
for found in harden(here.model(), here.data, here.harmless, attack, Hardening(rounds=2, labels=60)):
    filtered = here.in_distribution(found.model)
    print(f"\n{found}")
    print(f"  nobody attacks: {filtered['failure']:.4f} of options are rammings, {filtered['unfiltered']:.4f} without a filter")
    for name in ("mutation", "substitution", "gradient"):
        print(f"  {name}: {here.attacked(found.model, name)}")

worst = here.attacked(found.model, "mutation", aim="severity")
if worst.found.any():
    row = int(np.where(worst.found, worst.options.severity, 0).argmax())
    Path("ramming.webp").write_bytes(film(here.task.environment, worst.cases[[row]], found.model))
    print(f"\nThe worst that passes, of severity {worst.options.severity[row]:.1f}: ramming.webp")
