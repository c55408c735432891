r"""The exact law of a gradient estimate, by walking every joint state of the latent bits.

With bits x, weights and activations of the batch together, and the estimate g(x) of one step,

    E[g] = sum_x P(x) g(x),   Var[g] = sum_x P(x) |g(x) - E[g]|^2,   P(x) = prod_sites q(x_site),

for estimators whose gradient is a function of the states alone.  Each site is given a uniform that
draws the wanted state: the one at a share t of the interval of such uniforms.  Whether a gradient
depends on more than the states is found out by moving the uniforms within their intervals.

The exact gradient is the expectation of the score function's, which is unbiased for any loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.elbo_sites import base_law
from bayes_sbn.gradient_audit_moments import Moments

STATES_AT_ONCE = 64
"""States of one run, as vectorised particles."""

NUM_PROBES = 8
"""Random paths on which an estimator is asked whether it needs more than the states."""

Step = Callable[[], list[Tensor]]
"""One estimate: the gradient of each block; with states side by side, (states, ...) each."""


class PathMessenger(Messenger):
    """Gives every latent ±1 site its next bits, by uniforms inside the interval that draws them.

    Args:
        bits: ±1, (states, latent bits), in the order in which sites are drawn; more than one state
            for as many vectorised particles.
        share: where in its interval each uniform lies, in (0, 1); one number or one a bit.
    """

    def __init__(self, bits: Tensor, share: float | Tensor = 0.5) -> None:
        super().__init__()
        self.bits = bits
        self.share = torch.as_tensor(share, dtype=bits.dtype).expand(bits.shape)
        self.used = 0
        self.log_prob = torch.zeros(len(bits), dtype=torch.float64)
        """``log P(bits)`` of each state, of the sites that were drawn."""
        self.is_obeyed = True
        """Whether every estimator drew the states it was given."""

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if msg["is_observed"] or msg["value"] is not None or not isinstance(fn, SignDistribution):
            return
        shape, number = fn.shape(), len(self.bits)
        chosen = slice(self.used, self.used + shape.numel() // number)
        self.used = chosen.stop
        like = fn.parameter
        wanted = self.bits[:, chosen].reshape(shape).to(like)
        share = self.share[:, chosen].reshape(shape).to(like)
        with torch.no_grad():
            p = fn.probs.expand(shape)
            log_prob = fn.state_log_prob(wanted).expand(shape).reshape(number, -1)
            self.log_prob += log_prob.double().sum(1).cpu()
            # no uniform in [0, 1] draws a state of probability 0: the other one is drawn, for which
            # log_prob stays -inf
            wanted = torch.where(p <= 0, -1.0, torch.where(p >= 1, 1.0, wanted))
            uniform = torch.where(wanted > 0, p * share, p + (1 - p) * share)
        value = fn.draw(uniform) if fn.rule is None else fn.rule(fn, uniform)
        self.is_obeyed = self.is_obeyed and bool((value.detach() == wanted).all())
        msg["value"] = value


class CountMessenger(Messenger):
    """Counts the latent bits of a run and its nested plates, and notes what else is random."""

    def __init__(self) -> None:
        super().__init__()
        self.bits = 0
        self.plate_nesting = 0
        self.seen: set[str] = set()  # a guide's sites come again in the model
        self.others: list[str] = []

    def _pyro_post_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        dims = [-frame.dim for frame in msg["cond_indep_stack"] if frame.vectorized]
        self.plate_nesting = max([self.plate_nesting, *dims])
        if msg["is_observed"] or msg["name"] in self.seen:
            return
        self.seen.add(msg["name"])
        if isinstance(fn, SignDistribution):
            self.bits += fn.shape().numel()
        elif not site_is_subsample(msg):
            law = base_law(fn)
            if not isinstance(law, Delta):  # a point is not random
                self.others.append(f'site "{msg["name"]}" is a {type(law).__name__}')
        elif fn.subsample_size is not None and fn.subsample_size < fn.size:
            self.others.append(f'plate "{msg["name"]}" draws its rows')

    def _pyro_post_auxiliary(self, msg: Any) -> None:
        if msg["name"] not in self.seen:
            self.seen.add(msg["name"])
            self.others.append(f"{msg['name']} is drawn by the guide")


def depends_on_states_alone(step: Step, num_bits: int, generator: torch.Generator) -> bool:
    """Whether an estimate stays the same while uniforms move, but no state does.

    An estimator that does not draw the states it is given, or that remembers earlier steps, is
    found out as well.
    """
    for _ in range(NUM_PROBES):
        draws = torch.rand(3, 1, num_bits, generator=generator, dtype=torch.float64)
        bits = torch.where(draws[0] < 0.5, -1.0, 1.0).double()
        gradients = []
        for share in draws[1:]:
            with PathMessenger(bits, share.clamp(0.001, 0.999)) as path:
                gradients.append(step())
            if not path.is_obeyed:
                return False
        if not _is_same(*gradients):
            return False
    return True


def runs_side_by_side(step: Step, step_of_many: Step, num_bits: int) -> bool:
    """Whether vectorised particles give each state the gradient that it has by itself.

    A model may not be written for them: it then raises, or mixes states.
    """
    if num_bits == 0:
        return False
    bits = next(_states(num_bits))
    try:
        with PathMessenger(bits):
            together = step_of_many()
    except (RuntimeError, ValueError, IndexError):
        return False
    for number in (0, len(bits) // 2, len(bits) - 1):
        with PathMessenger(bits[number : number + 1]):
            alone = step()
        if not _is_same([block[number] for block in together], alone):
            return False
    return True


def enumerated_moments(
    step: Step, num_bits: int, at_once: int, tick: Callable[[int], object] = lambda _: None
) -> Moments:
    """Mean and variance of an estimate over all states of positive probability.

    Args:
        step: a function of the states alone, of so many at a time.
        num_bits: latent bits of one state.
        at_once: 1, or :func:`states_at_once` for a step of vectorised particles.
        tick: called with the number of states that were done, for a progress bar.
    """
    total = 0.0
    means: list[Tensor] = []
    scatter: list[float] = []
    for bits in _states(num_bits, at_once):
        with PathMessenger(bits) as path:
            gradient = step()
        tick(len(bits))
        possible = path.log_prob > -math.inf
        if not bool(possible.any()):
            continue
        weights = path.log_prob[possible].exp()
        blocks = [b.detach().reshape(len(bits), -1).double().cpu()[possible] for b in gradient]
        if not means:
            means = [torch.zeros_like(block[0]) for block in blocks]
            scatter = [0.0] * len(blocks)
        weight = float(weights.sum())
        for k, block in enumerate(blocks):
            mean = weights @ block / weight
            within = float(weights @ ((block - mean) ** 2).sum(1))
            change = mean - means[k]
            means[k] += change * (weight / (total + weight))
            between = float((change * change).sum()) * total * weight / (total + weight)
            scatter[k] += within + between
        total += weight
    if not math.isclose(total, 1.0, rel_tol=1e-4):
        raise RuntimeError(
            f"audit: the probabilities of all {2**num_bits} states add up to {total:.6g} and not "
            "to 1, so the sites of the model differ from run to run. Write audit(..., "
            "exact_bits=0) to sample instead."
        )
    return Moments.exact(means, [value / total for value in scatter])


def states_at_once(num_bits: int) -> int:
    """How many states one run holds."""
    return STATES_AT_ONCE if 2**num_bits > STATES_AT_ONCE else 2**num_bits


def _states(num_bits: int, at_once: int | None = None) -> Iterator[Tensor]:
    """All ±1 vectors of a length, so many at a time, (states, num_bits)."""
    places = torch.arange(num_bits)
    size = states_at_once(num_bits) if at_once is None else at_once
    for numbers in torch.arange(2**num_bits).split(size):
        yield (numbers[:, None] >> places & 1).double() * 2 - 1


def _is_same(first: list[Tensor], second: list[Tensor]) -> bool:
    """Equality of all blocks up to rounding."""
    largest = max(float(block.abs().max()) for block in first)
    slack = math.sqrt(torch.finfo(first[0].dtype).eps) * largest
    return all(
        bool(((one - other).abs() <= slack).all()) for one, other in zip(first, second, strict=True)
    )
