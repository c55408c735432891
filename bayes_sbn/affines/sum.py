r"""A sum of pre-activations, ``a = a_1 + a_2 + ...``, as a skip connection makes it.

A flip of an operand of one term moves a by the step that it has in that term, from the value that a
has; the other terms are then a bias of that term.  The flips of a sum are therefore those of its
terms, each evaluated at the total (:meth:`Term.at`).  That needs each draw to be in one term only:
a draw in two terms would move both.  The exception is an identity beside a layer of the same draw
(:mod:`bayes_sbn.affines.identity`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.affines.pre_activation import PreActivation, Term


class Sum(PreActivation):
    """The sum of several terms of the same units; made by ``+``."""

    def __init__(self, terms: tuple[Term, ...], source: PreActivation | None = None) -> None:
        super().__init__(source)
        self.event_dim = terms[0].event_dim
        shapes = [term.batch_shape for term in terms]
        try:
            batch = torch.broadcast_shapes(*shapes)
        except RuntimeError:
            raise ValueError(
                f"{' + '.join(map(repr, terms))}: the batch shapes "
                f"{', '.join(str(tuple(shape)) for shape in shapes)} do not broadcast; each term "
                "has the rows of the plate, or one row for all."
            ) from None
        self._terms = _joined(tuple(term.expand(batch) for term in terms))

    @property
    def terms(self) -> tuple[Term, ...]:
        """What it is the sum of, each of its shape."""
        return self._terms

    @property
    def shape(self) -> torch.Size:
        """The shape of the pre-activation, batch dims and then units."""
        return self._terms[0].shape

    def _evaluate(self) -> Tensor:
        if self.source is not self:
            return self.source.tensor.expand(self.shape)
        total = self._terms[0].tensor
        for term in self._terms[1:]:
            total = total + term.tensor
        return total

    def scaled(self, factor: Tensor, offset: Tensor) -> Sum:
        """``factor * a + offset``, term by term."""
        first, *others = self._terms
        nothing = torch.zeros_like(offset)
        return Sum(
            (first.scaled(factor, offset), *(term.scaled(factor, nothing) for term in others))
        )

    def _expanded(self, batch_shape: torch.Size) -> Sum:
        return Sum(tuple(term.expand(batch_shape) for term in self._terms), source=self.source)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self._terms))


def _joined(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms, if no draw is in two of them but a pair whose joint flips are known."""
    sites = [{o.site for o in (t.inputs, t.weight) if o.by_flips} for t in terms]
    joined = list(terms)
    for site in sorted(set().union(*sites)):
        places = [k for k, here in enumerate(sites) if site in here]
        if len(places) == 1:
            continue
        pairs = [places, places[::-1]] if len(places) == 2 else []
        found = [(k, pair) for k, other in pairs if (pair := terms[k].beside(terms[other]))]
        if not found:
            raise ValueError(
                f'{" + ".join(map(repr, terms))}: the draw of site "{site}" is in {len(places)} of '
                "the terms; its flips would move all of them. Make them one term (two dense layers "
                "of the same draw are one, with the sum of their weights), skip from an earlier "
                'layer, or give the site infer={"estimator": "st"}, whose derivatives add.'
            )
        k, pair = found[0]
        joined[k] = pair
    return tuple(joined)
