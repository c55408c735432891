r"""What every lazy pre-activation is: terms with operands and rules, and a value computed once.

A pre-activation is a sum of terms, mostly of one (:mod:`bayes_sbn.affines.sum`); a term is an
affine function of an input and, separately, of a weight, ``a = s * W(x) + b``.  What ``W(x)`` is (a
dense product, a convolution, the identity) and how ``a`` changes under single flips is what the
kinds of terms differ in: :mod:`bayes_sbn.affines.dense`, :mod:`bayes_sbn.affines.convolution`,
:mod:`bayes_sbn.affines.identity`.

**Averages.**  Inputs that are averages of bits are flipped bit by bit
(:mod:`bayes_sbn.signs_average_pooled`): once with all bits +1 and once with all bits -1, with the
scale of a bit (:meth:`Term.sides`), where the pre-activation is what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from bayes_sbn.affines.flip_graph import Gradients, flips_of, states_with_path, zero_with_flips
from bayes_sbn.affines.function import MeanSign, UnitFunction
from bayes_sbn.affines.operand import Operand

if TYPE_CHECKING:
    from bayes_sbn.affines.sum import Sum

PreActivationT = TypeVar("PreActivationT", bound="PreActivation")
TermT = TypeVar("TermT", bound="Term")
ValueT = TypeVar("ValueT")


class PreActivation:
    """A lazy pre-activation, a sum of terms; ``+`` adds two.

    ``tensor`` is the pre-activation; ``through(h)`` is a function of it with the Jacobian that
    each operand's rule asks for.
    """

    event_dim: int
    """How many of the last dims are units."""

    def __init__(self, source: PreActivation | None = None) -> None:
        self._source = source  # None, not itself: a cycle would keep the tensors of a step alive
        self._tensors: dict[bool, Tensor] = {}  # by whether autograd recorded the evaluation
        self.share: tuple[Tensor, Tensor] | None = None
        """Of a head in an average over copies: the logs of a row's share in it, and of the rest."""

    @property
    def source(self) -> PreActivation:
        """The pre-activation that this one was expanded from, or itself: the same conditional."""
        return self if self._source is None else self._source

    @property
    def tensor(self) -> Tensor:
        """The pre-activation ``a``; no gradient flows here to operands that are to be flipped.

        Evaluated once; once more if the first time was under ``torch.no_grad`` and this is not.
        """
        is_recorded = torch.is_grad_enabled()
        for key in (True, is_recorded):
            if key in self._tensors:
                return self._tensors[key]
        self._tensors[is_recorded] = self._evaluate()
        return self._tensors[is_recorded]

    def _evaluate(self) -> Tensor:
        raise NotImplementedError

    @property
    def terms(self) -> tuple[Term, ...]:
        """What it is the sum of, each of its shape."""
        raise NotImplementedError

    @property
    def needs_flips(self) -> bool:
        """Whether any operand is differentiated by flips."""
        return any(term.inputs.by_flips or term.weight.by_flips for term in self.terms)

    @property
    def holds_moments(self) -> bool:
        """Whether an operand is the mean of a ±1 site, and ``tensor`` the mean of ``a``."""
        return any(term.inputs.is_mean or term.weight.is_mean for term in self.terms)

    @property
    def moment_sites(self) -> str:
        """The sites whose moments are held, in words."""
        operands = [o for term in self.terms for o in (term.inputs, term.weight)]
        return " and ".join(dict.fromkeys(f'"{o.site}"' for o in operands if o.is_mean))

    @property
    def shape(self) -> torch.Size:
        """The shape of the pre-activation, batch dims and then units."""
        return self.tensor.shape

    @property
    def batch_shape(self) -> torch.Size:
        """The shape without the units."""
        return self.shape[: len(self.shape) - self.event_dim]

    @property
    def unit_shape(self) -> torch.Size:
        """The shape of the units."""
        return self.shape[len(self.shape) - self.event_dim :]

    def through(self, h: UnitFunction) -> Tensor:
        """``h(a)``, differentiated in each operand by that operand's rule."""
        self.refuse_moments(type(h).__name__)
        return self.add_flips(h.value(self.tensor), h)

    def add_flips(self, value: Tensor, h: UnitFunction) -> Tensor:
        """A value of the units, with the gradient of the flips of ``h(a)`` added to its own."""
        if not self.needs_flips:
            return value
        return value + zero_with_flips(self, flips_of(h), self.shape)

    def refuse_moments(self, function: str) -> None:
        """Raise if operands are moments: a function of the mean is not the mean of the function."""
        if not self.holds_moments:
            return
        raise TypeError(
            f"{function} of a pre-activation that holds the moments of {self.moment_sites}: only "
            "NoisySign, AffineCategorical, AffineBernoulli and AffineNormal take moments. Give "
            'these sites infer={"estimator": "st"}.'
        )

    def with_path(self, states: Tensor, h: MeanSign) -> Tensor:
        """States of the units with the gradient of their means ``h(a)``, which are not computed."""
        return states_with_path(self, states, h)

    def expand(self: PreActivationT, batch_shape: torch.Size) -> PreActivationT:
        """The same pre-activation with its batch shape broadcast."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        if not broadcasts_to(self.batch_shape, batch_shape):
            raise ValueError(
                f"{type(self).__name__}.expand({tuple(batch_shape)}): the pre-activation has "
                f"batch shape {tuple(self.batch_shape)}, which does not broadcast to it."
            )
        return self._expanded(batch_shape)

    def _expanded(self: PreActivationT, batch_shape: torch.Size) -> PreActivationT:
        raise NotImplementedError

    def scaled(self: PreActivationT, factor: Tensor, offset: Tensor) -> PreActivationT:
        """``factor * a + offset``, each a number or one per unit of a vector, channel of a map."""
        raise NotImplementedError

    def __add__(self, other: PreActivation) -> Sum:
        from bayes_sbn.affines.sum import Sum  # made of what is defined here

        if not isinstance(other, PreActivation):
            raise TypeError(
                f"{self!r} + ...: received a {type(other).__name__}; pre-activations are added to "
                "each other. Write a constant as bias=..., and a draw h as bayes_sbn.identity(h)."
            )
        if self.unit_shape != other.unit_shape:
            raise ValueError(
                f"{self!r} + {other!r}: their units have shapes {tuple(self.unit_shape)} and "
                f"{tuple(other.unit_shape)}; they must be the same. A skip connection between maps "
                "of other sizes is a convolution with a kernel of size 1 and the stride of the "
                "other one, bayes_sbn.affine_conv2d(h, weight, stride=...)."
            )
        return Sum((*self.terms, *other.terms))

    __radd__ = __add__


class Term(PreActivation):
    """One affine function ``a = s * W(x) + b`` of an input and of a weight."""

    def __init__(
        self,
        inputs: Operand,
        weight: Operand,
        bias: Tensor | None,
        scale: Tensor | None,
        source: PreActivation | None = None,
    ) -> None:
        super().__init__(source)
        self.inputs = inputs
        self.weight = weight
        self.bias = bias
        self.scale = scale
        self._shared: dict[str, Any] | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """Itself."""
        return (self,)

    @property
    def unit_scale(self) -> Tensor:
        """The scale, a constant to the flips, broadcast against the units of ``a``."""
        raise NotImplementedError

    def flip_gradients(
        self, h: UnitFunction, g: Tensor, of_inputs: bool, of_weight: bool
    ) -> Gradients:
        """Half the exact differences of h times g, of the shapes of the operands' tensors."""
        raise NotImplementedError

    def scaled(self: TermT, factor: Tensor, offset: Tensor) -> TermT:
        """``factor * a + offset``, another scale and another bias."""
        if self.source is not self:
            return cast(TermT, self.source.scaled(factor, offset).expand(self.batch_shape))
        other = copy.copy(self)
        other._tensors = {}
        other.scale = factor if self.scale is None else self.scale * factor
        other.bias = offset if self.bias is None else self.bias * factor + offset
        return other

    def own_coefficient(self) -> Tensor | None:
        """What each unit j multiplies input j by, if inputs and units are arranged alike."""
        return None

    def beside(self, other: Term) -> Term | None:
        """This term, flipped jointly with another one of the same draw; None if it can not be."""
        del other
        return None

    def at(self: TermT, a: Tensor) -> TermT:
        """The same operands where the pre-activation has another value: in a sum, the total."""
        located = copy.copy(self)
        constant = a.detach()
        located._tensors = {True: constant, False: constant}
        return located

    def sides(self: TermT) -> tuple[TermT, TermT]:
        """One bit of each window that the inputs average, all of them +1, and all -1, as inputs.

        A bit moves the pre-activation by ``-2 s w x / cells``: the scale is that of a bit.  What
        flips of both are made of is computed once, so they are for one function and gradient.
        """
        assert self.inputs.pooled is not None
        scale = self.inputs.open.new_ones(()) if self.scale is None else self.scale
        up, down = copy.copy(self), copy.copy(self)
        up._shared = down._shared = {}
        for side, value in ((up, 1.0), (down, -1.0)):
            side.inputs = self.inputs.bits(value)
            side.scale = scale / self.inputs.pooled.cells
        return up, down

    def once(self, key: str, compute: Callable[[], ValueT]) -> ValueT:
        """What does not depend on the inputs: of one of two :meth:`sides` it is kept for both."""
        if self._shared is None:
            return compute()
        if key not in self._shared:
            self._shared[key] = compute()
        return cast(ValueT, self._shared[key])


def broadcasts_to(shape: torch.Size, wanted: torch.Size) -> bool:
    """Whether a tensor of a shape can be expanded to the wanted one."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return len(shape) <= len(wanted) and all(size in (1, other) for size, other in pairs)
