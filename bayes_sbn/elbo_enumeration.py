r"""The exact loss by enumeration: every joint state of the ±1 sites, weighed by its probability.

    loss = sum_c sum_s q(s) c(s),        q(s) = prod_i (1 + s_i mu_i(s)) / 2,

over the terms c of the loss (negative log-likelihoods, T times the KL of weights, log q - log p
of units with a conditional of their own) and the states s of all that c may depend on.  Automatic
differentiation of the sum gives the exact gradient: in the means of weights through ``mu_i``.

The weights of a mixture are independent given their component: its states are listed outermost,
each component's sum weighed by the component's probability.

Which sites have how many bits, and how rows share them: :mod:`bayes_sbn.elbo_enumeration_sites`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import kl_divergence

from bayes_sbn.distributions import ConditionalSign, SignBernoulli
from bayes_sbn.elbo_enumeration_sites import (
    bits_of,
    latent_laws,
    number_of_choices,
    shared_plates,
)
from bayes_sbn.elbo_joint import joint_sites
from bayes_sbn.elbo_run import Run
from bayes_sbn.elbo_sites import (
    data_plates,
    is_analytic,
    is_real_weight,
    latent_terms,
    need_model_site,
    real_divergence,
    register_parameters,
)
from bayes_sbn.estimators import Exact
from bayes_sbn.messenger import PARTICLE_PLATE
from bayes_sbn.messenger_states import StatesMessenger


class Enumeration:
    """The exact loss of a guide and a model, chunk by chunk.

    Args:
        estimator: how many bits, and how many states at once.
        model: as in Pyro's ELBOs.
        guide: as in Pyro's ELBOs.
        args: of both.
        kwargs: of both.
        max_plate_nesting: bound on nested plates, or infinity.
    """

    def __init__(
        self,
        estimator: Exact,
        model: Any,
        guide: Any,
        args: Any,
        kwargs: Any,
        max_plate_nesting: float,
    ) -> None:
        self.estimator, self.model, self.guide = estimator, model, guide
        self.args, self.kwargs = args, kwargs
        handler = StatesMessenger(estimator, {}, {})
        with torch.no_grad():
            self.first = Run(handler, model, guide, args, kwargs, max_plate_nesting)
        """The run that tells the sites: all states +1."""
        self.passes = 1
        """Network evaluations, each of a chunk of states."""
        self.rows = handler.subsamples
        self.choices = number_of_choices(self.first)
        self.laws = latent_laws(self.first)
        self.shared = shared_plates(self.first, set(self.laws))
        dims = [f.dim for site in self._sites() for f in site["cond_indep_stack"] if f.vectorized]
        found = -min(dims, default=0)
        self.nesting = found if math.isinf(max_plate_nesting) else int(max_plate_nesting)
        self.bits = {name: bits_of(site, self.shared) for name, site in self.laws.items()}
        self.number = sum(bits.shape.numel() for bits in self.bits.values())
        self._refuse_too_many()

    def _sites(self) -> list[Any]:
        nodes = [*self.first.guide_trace.nodes.values(), *self.first.model_trace.nodes.values()]
        return [site for site in nodes if site["type"] == "sample"]

    def _refuse_too_many(self) -> None:
        if self.number <= self.estimator.max_bits:
            return
        each = ", ".join(f'"{name}" {bits.shape.numel()}' for name, bits in self.bits.items())
        raise ValueError(
            f'TraceEstimator_ELBO("exact"): the ±1 sites have {self.number} bits ({each}; rows of '
            f"a plate count once), 2^{self.number} joint states; at most max_bits="
            f"{self.estimator.max_bits} are enumerated. Write TraceEstimator_ELBO("
            f"bayes_sbn.estimators.Exact(max_bits={self.number})) if that many states can be "
            'waited for, else estimate: "local" is unbiased, "psa" is cheap.'
        )

    def chunks(
        self, temperature: float | None, tell: Callable[[Run, int], None]
    ) -> Iterator[Tensor]:
        """The loss, in summands; each is a differentiable tensor of one batched run.

        Args:
            temperature: what one nat of the weights' KL costs; None leaves it out.
            tell: is called with each run whose gradients are wanted and its number of states.
        """
        total, size = 2**self.number, self.estimator.states_at_once
        for choice in range(self.choices):
            for start in range(0, total, size):
                index = torch.arange(start, min(start + size, total))
                yield self._chunk(index, choice, temperature, tell)

    def _chunk(
        self,
        index: Tensor,
        choice: int,
        temperature: float | None,
        tell: Callable[[Run, int], None],
    ) -> Tensor:
        handler = StatesMessenger(self.estimator, self._states(index), self.rows, choice)
        dim = -1 - self.nesting
        model, guide = (
            pyro.plate(PARTICLE_PLATE, len(index), dim=dim)(fn) for fn in (self.model, self.guide)
        )
        run = Run(handler, model, guide, self.args, self.kwargs, self.nesting + 1)
        run.temperature = self.first.temperature
        self.passes += run.passes
        self._check_batches(run, len(index))
        register_parameters(run.model_trace.nodes)
        register_parameters(run.guide_trace.nodes)
        if torch.is_grad_enabled():
            tell(run, len(index))
        laws = latent_laws(run)
        shares = {name: self._probability(name, site) for name, site in laws.items()}
        loss = None
        for site, term in _terms(run, temperature):
            names = {f.name for f in site["cond_indep_stack"]}
            number, weight = 0, torch.ones((), dtype=term.dtype, device=term.device)
            for name, share in shares.items():
                if self.bits[name].shared <= names:
                    number += self.bits[name].shape.numel()
                    weight = weight * share
            # the states of other sites repeat the term
            weight = weight * 0.5 ** (self.number - number)
            # a state that never occurs may cost infinity, or infinity less infinity; one with a
            # finite cost keeps it, as the derivative in the weight does not vanish
            possible = (weight > 0) | term.isfinite()
            part = (weight * torch.where(possible, term, 0.0)).sum()
            loss = part if loss is None else loss + part
        assert loss is not None
        for sites in joint_sites(run.model_trace, run.guide_trace):
            loss = loss * sites.law.probabilities()[choice]
        return loss

    def _check_batches(self, run: Run, number: int) -> None:
        """Raise if states that run side by side have met, by a dim that means something else."""
        for name, site in (*run.guide_trace.nodes.items(), *run.model_trace.nodes.items()):
            if site["type"] != "sample" or number == 1:
                continue
            first = self.first.model_trace.nodes.get(name) or self.first.guide_trace.nodes[name]
            alone = first["fn"].batch_shape
            wanted = (number, *(1,) * (self.nesting - len(alone)), *alone)
            if site["fn"].batch_shape != wanted:
                raise ValueError(
                    f'TraceEstimator_ELBO("exact"): with {number} states in one batched run, site '
                    f'"{name}" has the batch shape {tuple(site["fn"].batch_shape)} and not '
                    f"{wanted}. Count dims from the right and keep those of plates in what the "
                    "model computes, as in h.sum(-2, keepdim=True), or run the states one by one: "
                    "bayes_sbn.estimators.Exact(states_at_once=1)."
                )

    def _states(self, index: Tensor) -> dict[str, Tensor]:
        """±1 of every site for the joint states of these numbers, whose bits they are."""
        states, offset = {}, 0
        for name, bits in self.bits.items():
            number = bits.shape.numel()
            places = torch.arange(offset, offset + number)
            signs = (index[:, None] >> places & 1) * 2 - 1
            ones = (1,) * (self.nesting - len(self.laws[name]["fn"].batch_shape))
            states[name] = signs.reshape(len(index), *ones, *bits.shape)
            offset += number
        return states

    def _probability(self, name: str, site: Any) -> Tensor:
        """``q`` of a site's states: of each row where rows share them, else of all together."""
        fn = site["fn"]
        each = (1 + site["value"].detach() * fn.mean_path()) / 2
        probability: Tensor = each.reshape(*fn.batch_shape, -1).prod(-1)
        for dim in self.bits[name].joint_dims:
            probability = probability.prod(dim, keepdim=True)
        return probability


def _terms(run: Run, temperature: float | None) -> Iterator[tuple[Any, Tensor]]:
    """The terms of the loss, each with the site whose plates it lies in."""
    model_nodes = run.model_trace.nodes
    plates = data_plates(model_nodes)
    for name in run.observed:
        yield model_nodes[name], -model_nodes[name]["log_prob"]
    for name, guide_site in run.guide_trace.nodes.items():
        if guide_site["type"] != "sample":
            continue
        model_site = need_model_site(name, model_nodes)
        q, p = guide_site["fn"], model_site["fn"]
        if isinstance(q, SignBernoulli) and isinstance(p, SignBernoulli):
            if temperature is not None and not isinstance(q, ConditionalSign):
                kl = scale_and_mask(kl_divergence(q, p), guide_site["scale"], guide_site["mask"])
                yield guide_site, temperature * kl
        elif is_real_weight(guide_site, plates):
            kl = real_divergence(model_site, guide_site)
            assert kl is not None  # of a point, the only real law that has states
            yield guide_site, run.temperature * kl
        elif not is_analytic(model_site, guide_site):
            log_p, log_q, _ = latent_terms(model_site, guide_site)
            yield guide_site, log_q - log_p
    for sites in joint_sites(run.model_trace, run.guide_trace):
        if temperature is not None:
            # in every state of the auxiliary variable, whose probabilities add up to 1
            yield next(iter(sites.guide_sites.values())), temperature * sites.divergence()
