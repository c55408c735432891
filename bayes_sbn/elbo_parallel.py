r"""The ELBO over several processes: each runs its rows of a batch, and gradients are added up.

Of a batch of B rows, rank r runs b_r, with the loss ``L_r`` that they have by themselves, in which
they stand for all N rows of the data.  With ``w_r = b_r / B``

    sum_r w_r L_r  =  - sum_r b_r/B N/b_r sum_(n of r) log p(y_n | .)  +  sum_r w_r T KL  =  L,

the loss of the whole batch, the KL of the weights counted once; so too for gradients.  Ranks draw
the same weights, and for activations the uniforms that their rows have in the batch
(:mod:`bayes_sbn.messenger_rows`): together they follow the trajectory of one process, up to the
rounding of sums.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from pyro import poutine
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from bayes_sbn.elbo import TraceEstimator_ELBO
from bayes_sbn.elbo_buffers import Buffers
from bayes_sbn.elbo_ranks import Ranks, checksum, checksum_of_generators
from bayes_sbn.elbo_row_arguments import CALL, num_rows, of_rows, shapes_of, tensors
from bayes_sbn.elbo_run import Run
from bayes_sbn.estimators import Estimator, Exact
from bayes_sbn.messenger_rows import RowsMessenger

SAME_START = (
    "Seed every process alike before anything is made, torch.manual_seed(0), and give every rank "
    "the same data: a rank takes its rows itself."
)


class DataParallel_ELBO(TraceEstimator_ELBO):
    """:class:`bayes_sbn.TraceEstimator_ELBO` of a batch whose rows are split over processes.

    Every rank of ``torch.distributed`` makes the same calls with the same, whole batch, as in
    ``svi.step(x, y)`` or :func:`bayes_sbn.fit`; the arguments that are tensors hold one row of data
    in each entry of their first dim.  Without several processes it is the ELBO itself.

    Args:
        estimator: as of :class:`bayes_sbn.TraceEstimator_ELBO`; one without state.
        group: of ``torch.distributed``; default all processes.
        independent_draws: whether each rank draws weights and activations of its own.  The mean of
            the gradient is the same; its variance is smaller, as of one draw of weights a rank.
        **options: of :class:`bayes_sbn.TraceEstimator_ELBO`.

    Example:
        >>> import bayes_sbn as sbn
        >>> elbo = sbn.DataParallel_ELBO("psa", temperature="auto")
    """

    def __init__(
        self,
        estimator: str | Estimator = "psa",
        *,
        group: Any = None,
        independent_draws: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(estimator, **options)
        if isinstance(self.estimator, Exact):
            raise ValueError(
                f'{CALL}("exact"): it is for networks of a few bits, whose states one process '
                'lists. Write TraceEstimator_ELBO("exact"), or another estimator.'
            )
        self.ranks = Ranks(group)
        """The processes."""
        self.independent_draws = independent_draws
        self._met: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._rows, self._total = (0, 0), 0
        self._other_plates: dict[str, int] = {}

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """An estimate of the loss of the whole batch, the same on all ranks."""
        if self.ranks.size == 1:
            return super().loss(model, guide, *args, **kwargs)
        loss, _ = self._together(model, guide, args, kwargs, gradients=False)
        return loss

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss of the whole batch, after its gradients were added to the parameters' ``grad``.

        The same bits on all ranks.
        """
        if self.ranks.size == 1:
            return super().loss_and_grads(model, guide, *args, **kwargs)
        loss, gradients = self._together(model, guide, args, kwargs, gradients=True)
        for parameter, gradient in gradients:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return loss

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """As of the class above, in one process; gradients of several are not added up by it."""
        self._need_one_process("differentiable_loss")
        return super().differentiable_loss(model, guide, *args, **kwargs)

    def particle_losses(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """As of the class above, in one process."""
        self._need_one_process("particle_losses")
        return super().particle_losses(model, guide, *args, **kwargs)

    def _need_one_process(self, name: str) -> None:
        if self.ranks.size > 1:
            raise RuntimeError(
                f"{CALL}.{name}: it has the rows of one process alone, and there are "
                f"{self.ranks.size}. Use loss_and_grads, as pyro.infer.SVI(model, guide, optim, "
                "loss=elbo).step does."
            )

    def _together(
        self, model: Any, guide: Any, args: Any, kwargs: Any, *, gradients: bool
    ) -> tuple[float, list[tuple[Tensor, Tensor]]]:
        """The loss of the batch, and the gradient of each parameter."""
        generators = checksum_of_generators()
        buffers = Buffers(model, guide)
        error: Exception | None = None
        loss, shapes = 0.0, 0
        met: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}
        try:
            shapes = shapes_of(args, kwargs)
            self._prepare(model, guide, args, kwargs)
            loss, met, found = self._of_own_rows(model, guide, args, kwargs, gradients)
        except Exception as caught:
            error = caught
        is_new = any(p not in self._met for p in met.values())
        layout = [(n, tuple(met[n].shape), str(met[n].dtype), n in found) for n in sorted(met)]
        states = self.ranks.gather(
            [
                error is not None,
                is_new,
                shapes,
                zlib.crc32(repr(layout).encode()),
                generators,
                buffers.checksum_of_changed(),
            ]
        )
        self.ranks.raise_of_any([bool(state[0]) for state in states], error)
        if any(state[1] for state in states):
            self._meet(met, args, kwargs)
        self._need_same(states)
        self.ranks.take_largest(buffers.maxima())
        gradient_of = [(met[name], found[name]) for name in sorted(found)]
        number = torch.tensor([loss], dtype=torch.float64, device=self.ranks.device)
        self.ranks.add_up([number, *(gradient for _, gradient in gradient_of)])
        return float(number), gradient_of

    def _prepare(self, model: Any, guide: Any, args: Any, kwargs: Any) -> None:
        """What one process does at its first step, with all rows."""
        _refuse_coupled_rows(model, guide)
        if not getattr(guide, "is_set_up", True):
            guide.prepare(args, kwargs)
        if self.vectorize_particles and math.isinf(self.max_plate_nesting):
            self._guess_max_plate_nesting(model, guide, args, kwargs)

    def _of_own_rows(
        self, model: Any, guide: Any, args: Any, kwargs: Any, gradients: bool
    ) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
        """This rank's part of the loss and of the gradients, and the parameters that were met."""
        total = num_rows(args, kwargs)
        first, last = self.ranks.rows(total)
        share = (last - first) / total
        if first == last:  # no row is left: one runs along, and counts nothing
            first, last = min(first, total - 1), min(first, total - 1) + 1
        self._rows, self._total = (first, last), total
        own_args, own_kwargs = of_rows(args, first, last), of_rows(kwargs, first, last)
        self._other_plates = {}
        try:
            with poutine.trace(param_only=True) as capture:
                if not gradients:
                    return share * super().loss(model, guide, *own_args, **own_kwargs), {}, {}
                loss = super().differentiable_loss(model, guide, *own_args, **own_kwargs)
        except Exception as error:
            self._explain(error)
            raise
        self._refuse_state()
        met = {
            name: site["value"].unconstrained()
            for name, site in capture.trace.nodes.items()
            if site["type"] == "param"
        }
        names = [name for name in sorted(met) if met[name].requires_grad]
        found: dict[str, Tensor] = {}
        if loss.requires_grad and names:
            parts = torch.autograd.grad(loss * share, [met[n] for n in names], allow_unused=True)
            # a tensor of its own for each: the sums over ranks are written into it
            found = {n: g.clone() for n, g in zip(names, parts, strict=True) if g is not None}
        return share * float(loss.detach()), met, found

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Run:
        if self.ranks.size == 1:
            return super()._get_trace(model, guide, args, kwargs)
        handler = RowsMessenger(
            self.estimators,
            self._rows,
            self._total,
            own=self.ranks.rank if self.independent_draws else None,
            copies=self.num_importance,
        )
        self._other_plates = handler.other_plates
        run = Run(handler, model, guide, args, kwargs, self.max_plate_nesting)
        run.temperature = self.resolve_temperature(run)
        for name in run.observed:
            stack = run.model_trace.nodes[name]["cond_indep_stack"]
            if not any(f.vectorized and f.name in handler.row_plates for f in stack):
                raise ValueError(
                    f'{CALL}: the observed site "{name}" is in no plate that was given the rows, '
                    "so that the rows of one rank cannot stand for all. Put it inside "
                    'pyro.plate("data", num_data, subsample=x, dim=-1).'
                )
        return run

    def _refuse_state(self) -> None:
        for estimator in self.estimators.modules():
            if isinstance(estimator, Estimator) and estimator.state_dict():
                raise ValueError(
                    f'{CALL}: estimator "{estimator.name}" learns from the costs of the rows that '
                    "it sees, so that it would differ from rank to rank. Use one without state: "
                    '"psa", "st", "zgr", "disarm", "loo", "score" without a baseline.'
                )

    def _explain(self, error: Exception) -> None:
        """Raise what is likely behind an error of a run on some of the rows."""
        if isinstance(error, (RuntimeError, ValueError)) and CALL not in str(error):
            for name, size in self._other_plates.items():
                if size == self._total:
                    raise ValueError(
                        f'{CALL}: the plate "{name}" has all {size} rows of a batch, of which a '
                        f'rank runs some ({error}). Write pyro.plate("{name}", {size}, '
                        "subsample=x), x the rows that the model is given."
                    ) from error

    def _meet(self, met: dict[str, Tensor], args: Any, kwargs: Any) -> None:
        """Look, once for each parameter, whether ranks start alike."""
        values: dict[str, Any] = {
            f'parameter "{name}"': [tuple(p.shape), str(p.dtype), checksum(p)]
            for name, p in met.items()
        }
        for place, tensor in tensors(args, kwargs):
            values[place] = [tuple(tensor.shape), str(tensor.dtype), checksum(tensor)]
        for option in ("temperature", "weight_kl", "num_particles", "num_importance"):
            values[option] = getattr(self, option)
        values["estimator"] = repr(self.estimator)
        values["independent_draws"] = self.independent_draws
        self.ranks.need_same(CALL, values, SAME_START)
        for parameter in met.values():
            self._met[parameter] = True

    def _need_same(self, states: list[list[int]]) -> None:
        """Raise on all ranks if they are not at the same place."""
        what = (
            "the shapes of the arguments",
            "which parameters they met and which have a gradient",
            "the states of torch's global generators",
            "the buffers of model and guide that the step changed",
        )
        for place, name in enumerate(what, 2):
            rank = next((r for r, s in enumerate(states) if s[place] != states[0][place]), None)
            if rank is None:
                continue
            remedy = SAME_START
            if "buffers" in name:
                remedy = (
                    "Statistics of a batch are those of a rank's rows: use constant ones "
                    "(fold_normalisation); for the largest value so far, name the buffer in the "
                    'module\'s running_maxima = ("...",).'
                )
            elif "generators" in name:
                remedy += " Draw nothing on one rank alone."
            raise ValueError(f"{CALL}: ranks 0 and {rank} do not agree in {name}. {remedy}")


def _refuse_coupled_rows(*modules: Any) -> None:
    """Raise if a module says that what it makes of a row depends on the rows beside it."""
    for module in modules:
        if not isinstance(module, torch.nn.Module):
            continue
        for name, part in module.named_modules():
            if getattr(part, "couples_rows", False):
                raise ValueError(
                    f'{CALL}: layer "{name}" is normalised by statistics of the rows of a batch, '
                    "of which a rank has its own only. Use constant ones: BinaryMLP(..., "
                    'normalisation="frozen") and model.calibrate(guide, x) before the first step.'
                )
