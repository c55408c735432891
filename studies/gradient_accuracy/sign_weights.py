r"""The same for ±1 weights: bias and deviation of every estimator, against enumeration.

    python -m studies.gradient_accuracy.sign_weights            writes sign_weights.json and .png
    python -m studies.gradient_accuracy.sign_weights --quick    before training only, writes nothing

A 2-2-2-2 network of ±1 weights on one of the paper's points has 12 weights and 4 units, so that the
weights' posterior and the units are 2^16 states together.  It is trained by SVI with the score
function's gradient on all 200 points, and audited before and after by ``sbn.audit``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pyro
import torch

import bayes_sbn as sbn
from studies.gradient_accuracy.figure import draw_signs
from studies.gradient_accuracy.network import make_data
from studies.gradient_accuracy.run import registered
from studies.speed.measure import last_line

HERE = Path(__file__).parent
CHECKPOINTS = (0, 1000)
"""Steps of SVI, on all points."""


def audited(hidden: list[int], steps: list[int], repeats: int, seed: int) -> dict[str, Any]:
    """The audits after some steps, by the number of steps."""
    data = make_data()
    x, y = torch.tensor(data.x), torch.tensor(data.y > 0).long()
    torch.manual_seed(seed)
    model = sbn.models.BinaryMLP(2, hidden, 2, num_data=len(x))
    model.double()
    guide = sbn.guides.AutoSignBernoulli(model, init_scale=0.5).double()
    optim = sbn.optim.MirrorDescent({"lr": 0.02, "real": ("Adam", {"lr": 0.01})})
    elbo = sbn.TraceEstimator_ELBO("score", temperature="auto")
    svi = pyro.infer.SVI(model, guide, optim, loss=elbo)
    found = {}
    for step in range(max(steps) + 1):
        if step in steps:
            chosen: dict[str, Any] = {name: name for name in registered()}
            chosen["psa"] = sbn.estimators.PathSampleAnalytic(real_inputs="exact")
            found[str(step)] = sbn.audit(
                model,
                guide,
                (x[:1], y[:1]),
                chosen,
                repeats=repeats,
                exact_bits=16,
                weight_kl=False,
                seed=seed,
            )
        svi.step(x, y)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2-2-1-2, before training only")
    parser.add_argument("--repeats", type=int, help="of what is not enumerated; 400")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    hidden = [2, 1] if options.quick else [2, 2]
    steps = [0] if options.quick else list(CHECKPOINTS)
    repeats = options.repeats or (100 if options.quick else 400)
    audits = audited(hidden, steps, repeats, options.seed)
    ratios = {}
    for step, audit in audits.items():
        print(f"after {step} steps\n{audit}\n")
        psa, st = audit["psa"].total, audit["st"].total
        ratios[f"bias of psa over that of st, {step} steps"] = psa.bias / st.bias
    if not options.quick:
        contents = {step: audit.to_dict() for step, audit in audits.items()}
        for audit in contents.values():
            del audit["cosines"]  # most of the file
            for each in audit["estimators"].values():
                del each["seconds"]  # of this machine, and not of the estimator
        text = json.dumps(contents, indent=1)
        rounded = json.loads(text, parse_float=lambda number: float(f"{float(number):.4g}"))
        (HERE / "sign_weights.json").write_text(json.dumps(rounded, indent=1) + "\n", "utf-8")
        draw_signs(contents).savefig(HERE / "sign_weights.png", dpi=80)
    print(last_line("gradient_accuracy/sign_weights", ratios, dict.fromkeys(ratios, 1.0)))


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    main()
