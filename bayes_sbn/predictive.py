r"""PackedPredictive: ``pyro.infer.Predictive`` by packed networks.

A drop-in for :class:`pyro.infer.Predictive` with the same call and the same dict of samples,

    w_s ~ q(w),   h_s ~ p(h | x, w_s),   y_s ~ p(y | h_s, w_s),      s = 1 ... num_samples,

that draws the networks with the kernels instead of running the model num_samples times.  Every
random bit is a function of (seed, draw, layer, unit, row), as everywhere below a
:class:`bayes_sbn.Posterior`.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from pyro.infer import Predictive
from torch import Tensor

from bayes_sbn.bits import PackedBits
from bayes_sbn.ensemble import Ensemble
from bayes_sbn.ensemble_blocks import NOISE_MODES
from bayes_sbn.ensemble_networks import MAX_MEMORY
from bayes_sbn.kernels.packing import unpack
from bayes_sbn.kernels.streams import BACKENDS
from bayes_sbn.philox import fold_stream
from bayes_sbn.predictive_export import (
    STOCK,
    Exported,
    KeptPosterior,
    check_exportable,
    check_range,
)
from bayes_sbn.predictive_sites import (
    ACTIVATIONS,
    LABELS,
    RETURN,
    WEIGHTS,
    PredictedSite,
    PredictedSites,
    sites_of_network,
)


class PackedPredictive(Predictive):
    """Samples of a model's sites under its guide, by packed networks; a drop-in for ``Predictive``.

    Called with the model's arguments, it returns what ``pyro.infer.Predictive(model, guide=guide,
    ...)`` does: a dict of tensors with the same keys, shapes and dtypes, and the same law.  The
    model is run once, on two rows of ones, to learn its sites, and again when a parameter has
    changed; a function is run on two rows of ±1 at each call.  No trace is kept.  Rows are rounded
    to the 16-bit grid of the posterior.

    Args:
        model: a network that :meth:`bayes_sbn.Posterior.from_guide` takes, such as
            :class:`bayes_sbn.models.BinaryMLP`; or a function that samples a chain of dense layers
            (``affine``, ``NoisySign``) with class labels at the end (``AffineCategorical``).
        guide: its guide.
        num_samples: how many networks to draw.
        return_sites: names of sites to return, and ``"_RETURN"`` for what the model returns; by
            default all sites.
        parallel: accepted for ``Predictive``'s sake: draws never run one after the other, and the
            result is the same.
        seed: of every random bit, in ``[0, 2**64)``: each call draws the same networks.  By default
            each call takes a seed of torch's global generator, which ``pyro.set_rng_seed`` sets.
        noise: ``"independent"``, as in ``Predictive``: the activations of each row have a noise of
            their own; or ``"shared"``, the faster one: all rows of a draw see the same noise, so
            that each row has the same law as before, and rows of a draw are not independent given
            its weights.
        backend: of the labels, one of those of :meth:`bayes_sbn.Ensemble.predict`; the bits are the
            same.
        input_range: the largest magnitude an input may have; by default a multiple of the largest
            one that the model was fitted to.  A function needs it.
        calibrate: rows of the training data, by which each draw measures the statistics of a
            ``"recalibrated"`` network.
        progress: whether to show a progress bar; by default only on a terminal.
        max_memory: bound in bytes on the working memory beside the result.

    Raises:
        TypeError: the model or the guide cannot be exported, or an argument is of another type.
        ValueError: an option is not allowed.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=100)
        >>> guide = sbn.guides.AutoSignBernoulli(model)
        >>> predictive = sbn.PackedPredictive(model, guide, num_samples=200, seed=0)
        >>> samples = predictive(torch.zeros(5, 4))
        >>> list(samples)
        ['hidden.0.weight', 'output.weight', 'x1', 'y']
        >>> samples["hidden.0.weight"].shape, samples["y"].shape
        (torch.Size([200, 1, 8, 4]), torch.Size([200, 5]))
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        num_samples: int,
        return_sites: Collection[str] | None = (),
        parallel: bool = False,
        *,
        seed: int | None = None,
        noise: str = "independent",
        backend: str = "auto",
        input_range: float | None = None,
        calibrate: ArrayLike | Tensor | None = None,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> None:
        check_exportable(model, guide, input_range)
        if operator.index(num_samples) < 1:
            raise ValueError(
                f"PackedPredictive(num_samples={num_samples}): at least one network is drawn. "
                "Write num_samples=200."
            )
        if return_sites is not None and not isinstance(return_sites, list | tuple | set):
            raise TypeError(
                f"PackedPredictive(return_sites={return_sites!r}): they are a list, tuple or set "
                'of names. Write return_sites=("y",), or leave it out for all sites.'
            )
        for name, value, known in (("noise", noise, NOISE_MODES), ("backend", backend, BACKENDS)):
            if value not in known:
                raise ValueError(
                    f"PackedPredictive({name}={value!r}): it is one of "
                    f"{', '.join(map(repr, known))}. The law of the noise is the model's."
                )
        if seed is not None:
            fold_stream(seed)  # raises unless it is one
        super().__init__(
            model,
            guide=guide,
            num_samples=operator.index(num_samples),
            return_sites=return_sites,
            parallel=parallel,
        )
        self.seed = seed
        self.noise = noise
        self.backend = backend
        self.calibrate = calibrate
        self.progress = progress
        self.max_memory = max_memory
        self._export = KeptPosterior(input_range, is_calibrated=calibrate is not None)
        self._sites: dict[object, PredictedSites] = {}

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Samples of the sites, num_samples along the first axis.

        Args:
            args: arguments of the model: rows, and labels where they are observed.
            kwargs: the same by name.

        Raises:
            TypeError: the rows are no tensor of the model's dtype.
            ValueError: rows or labels do not fit, or a site is none that packed networks have.
        """
        x, y = self._arguments(args, kwargs)
        exported, is_new = self._export(self.model, self.guide, x)
        if is_new:
            self._sites.clear()
        posterior = exported.posterior
        sites = self._sites_for(x, exported)
        wanted = self._wanted(sites)
        check_range(x, posterior)
        seed = self.seed
        if seed is None:
            seed = int(torch.empty((), dtype=torch.int64).random_())
        ensemble = posterior.draw(self.num_samples, seed=seed, calibrate=self.calibrate)
        return self._samples(ensemble, sites, wanted, x, y)

    def _samples(
        self,
        ensemble: Ensemble,
        sites: PredictedSites,
        wanted: list[str],
        x: Tensor,
        y: Tensor | None,
    ) -> dict[str, Tensor]:
        """The values of the sites that are wanted, in the order of a run."""
        options: dict[str, Any] = {
            "noise": self.noise,
            "progress": self.progress,
            "max_memory": self.max_memory,
        }
        values: dict[str, Tensor] = {}
        roles = {sites.by_name[name].role for name in wanted if name != RETURN}
        if ACTIVATIONS in roles:
            activations = [torch.from_numpy(h) for h in ensemble.activations(x, **options)]
        if LABELS in roles or RETURN in wanted:
            if y is None:
                labels = torch.from_numpy(ensemble.labels(x, backend=self.backend, **options))
            else:
                labels = y.detach().expand(len(ensemble), *y.shape)
        for name in wanted:
            site = sites.labels if name == RETURN else sites.by_name[name]
            if site.role == WEIGHTS:
                value = _weights(ensemble, site)
            elif site.role == ACTIVATIONS:
                value = activations[site.layer].to(site.device, site.dtype)
            else:
                value = (labels if y is not None else labels.to(site.device)).clone()
            values[name] = value.reshape(len(ensemble), *(1,) * site.num_ones, *value.shape[1:])
        return values

    def _wanted(self, sites: PredictedSites) -> list[str]:
        """Names of the sites to return, in the order of a run."""
        if not self.return_sites:
            return list(sites.by_name)
        known = {*sites.by_name, RETURN}
        unknown = [name for name in self.return_sites if name not in known]
        if unknown:
            raise ValueError(
                f"PackedPredictive(return_sites=...): the model has no site {unknown[0]!r}. Its "
                f"sites are {', '.join(map(repr, sites.by_name))}, and {RETURN!r} is what it "
                "returns."
            )
        if RETURN in self.return_sites and not sites.returns_labels:
            raise ValueError(
                f"PackedPredictive(return_sites=...): the model returns something else than its "
                f"labels, which packed networks do not compute. Leave {RETURN!r} out, or write "
                f"{STOCK}."
            )
        names = [name for name in sites.by_name if name in self.return_sites]
        return [*names, RETURN] if RETURN in self.return_sites else names

    def _arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """Rows and labels among the model's arguments."""
        run = self.model.forward if isinstance(self.model, torch.nn.Module) else self.model
        bound = inspect.signature(run).bind(*args, **kwargs)
        given = [(name, value) for name, value in bound.arguments.items() if value is not None]
        if not given or len(given) > 2:
            raise TypeError(
                f"PackedPredictive: the call has arguments {', '.join(n for n, _ in given) or '-'}"
                "; a packed network takes rows, and their labels where they are observed. Write "
                f"{STOCK} for a model with other arguments."
            )
        (name, x), *rest = given
        if not isinstance(x, Tensor) or x.dim() != 2:
            came = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(
                f"PackedPredictive: {name} is a tensor of shape (rows, inputs): received {came}. "
                "Write torch.as_tensor(x, dtype=torch.get_default_dtype()).reshape(len(x), -1)."
            )
        if not rest:
            return x, None
        [(label, y)] = rest
        if not isinstance(y, Tensor) or y.shape != x.shape[:1]:
            came = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"PackedPredictive: {label} has one label for each of {len(x)} rows, shape "
                f"({len(x)},): received {came}. Leave it out to have labels drawn."
            )
        return x, y

    def _sites_for(self, x: Tensor, exported: Exported) -> PredictedSites:
        """The sites of the model, as they are for such rows."""
        key = x.dtype, x.device, x.shape[1:]
        if key not in self._sites:
            layers = exported.posterior.components[0].layers
            sizes = [(layer.num_units, layer.num_inputs) for layer in layers]
            self._sites[key] = sites_of_network(self.model, exported.weight_sites, sizes, x)
        return self._sites[key]


def _weights(ensemble: Ensemble, site: PredictedSite) -> Tensor:
    """The weights of a layer as numbers, (draws, out, in)."""
    held = ensemble.weights[site.layer]
    if isinstance(held, PackedBits):
        return unpack(held, site.dtype).to(site.device)
    # real weights are integers in steps, of each network its own, which are its scales
    steps = [float(network.layers[site.layer].scale[0]) for network in ensemble.mixture.networks]
    of_draws = torch.tensor(np.array(steps)[ensemble.components], dtype=site.dtype)
    values = torch.from_numpy(np.array(held)).to(site.dtype) * of_draws[:, None, None]
    return values.to(site.device)
