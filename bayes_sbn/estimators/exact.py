r"""The exact ELBO and its exact gradient, by listing every joint state.

    E_q[cost] = sum_s q(s) cost(s),     q(s) = prod_i (1 + s_i mu_i) / 2,

differentiated as it stands.  Rows of a plate are independent given what is outside it, so the sum
runs over the weights and over the activations of *one* row; all rows share it.  The sum itself is
in ``bayes_sbn.elbo_enumeration``, as it needs guide and model: it is a choice for a whole ELBO.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Site, register_estimator


@register_estimator("exact")
class Exact(Estimator):
    """Every joint state of all ±1 sites, weighed by its probability; for a whole ELBO only.

    Unbiased: always, and without variance: loss and gradient are the expectations themselves.
    Costs: 2^bits passes, in batches; bits of all weights and of the activations of one row.

    Args:
        max_bits: how many bits are summed over at most; more are an error that counts them.
        states_at_once: how many joint states one batched run evaluates.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = "2^bits"
    scope: ClassVar[str] = "elbo"
    reference: ClassVar[str] = "by definition"

    def __init__(self, *, max_bits: int = 16, states_at_once: int = 4096) -> None:
        for name, number, least in (
            ("max_bits", max_bits, 0),
            ("states_at_once", states_at_once, 1),
        ):
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise ValueError(
                    f"Exact({name}={number!r}): it is a whole number of at least {least}."
                )
        self.max_bits = max_bits
        self.states_at_once = states_at_once

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """An error: one site alone cannot be enumerated."""
        del uniform
        raise ValueError(
            f'estimator "exact", site "{site.name}": it lists the states of all sites together, so '
            'it is for a whole ELBO: TraceEstimator_ELBO("exact"). For an unbiased estimator of '
            'one site write infer={"estimator": "local"}.'
        )

    def __repr__(self) -> str:
        return f"Exact(max_bits={self.max_bits}, states_at_once={self.states_at_once})"
