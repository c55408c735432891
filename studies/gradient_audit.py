r"""How long an audit of 100 repeats takes on a network for 28 x 28 images.

    python -m studies.gradient_audit
    python -m studies.gradient_audit --quick    (within 50 s on two cores)

The default estimators of ``sbn.audit`` on 784-256-10, 100 rows of noise, one thread.  The time is
that of the whole call.  The last line is one JSON object.
"""

import argparse
import json
import platform
import time

import torch

import bayes_sbn as sbn

TARGET = 60.0
"""Seconds."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run in place of the best of 3")
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(options.inputs, [options.width], 10, num_data=10 * options.rows)
    guide = sbn.guides.AutoSignBernoulli(model)
    batch = torch.randn(options.rows, options.inputs), torch.randint(10, (options.rows,))
    seconds = []
    for _ in range(1 if options.quick else 3):
        started = time.perf_counter()
        found = sbn.audit(model, guide, batch, repeats=options.repeats)
        seconds.append(time.perf_counter() - started)
    print(found)
    result = {
        "study": "gradient_audit",
        "metric": "seconds",
        "value": round(min(seconds), 2),
        "target": TARGET,
        "machine": {"processor": platform.machine(), "threads": 1, "torch": torch.__version__},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
