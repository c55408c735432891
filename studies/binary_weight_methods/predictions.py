"""Log-probabilities of validation and test rows, and their mean over networks."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from studies.binary_weight_methods.data import Problem
from studies.binary_weight_methods.networks import Head, forward, recalibrated

Pair = tuple[Tensor, Tensor]
"""Log-probabilities, (rows, classes), of the validation and of the test rows, in float64."""


@torch.no_grad()
def predicted(problem: Problem, weights: Sequence[Tensor], head: Head) -> list[Pair]:
    """Of each network; normalisation has the statistics of all training rows."""
    members = len(weights[0]) // len(problem.splits)
    rows = problem.num_rows
    train = torch.stack([split.train.x[:rows] for split in problem.splits])
    statistics = recalibrated(train.repeat_interleave(members, 0), weights, head)
    found = []
    for part in ("validation", "test"):
        each = [getattr(split, part).x for split in problem.splits for _ in range(members)]
        logits = forward(pad_sequence(each, batch_first=True), weights, head, statistics=statistics)
        log_probs = logits.double().log_softmax(-1)
        found.append([own[: len(x)] for own, x in zip(log_probs, each, strict=True)])
    return list(zip(*found, strict=True))


def pooled(predictions: Sequence[Pair]) -> Pair:
    """The log of the mean probability of several networks."""
    number = math.log(len(predictions))
    validation, test = (
        torch.stack(list(each)).logsumexp(0) - number for each in zip(*predictions, strict=True)
    )
    return validation, test
