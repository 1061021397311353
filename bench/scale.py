"""`python -m bench.scale [--only PART,PART] [--to FILE]`: the marks of many machines."""

from __future__ import annotations

from bench import many, scale_simulated, scale_torchrun, scale_trials
from bench.measuring import Part, measure, parser

PARTS: dict[str, Part] = {
    "simulated": scale_simulated.marks,
    "trials": scale_trials.marks,
    "torchrun": scale_torchrun.marks,
    "images": many.marks,
}

if __name__ == "__main__":
    asked = parser("python -m bench.scale").parse_args()
    measure(PARTS, asked.only, asked.to, "Scaling marks", "make bench-scale")
