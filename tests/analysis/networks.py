"""Small networks with numbers of their own in every parameter, and data for them."""

import torch

import bayes_sbn as sbn


def classifier(inputs=2, hidden=(2,), classes=2, *, rows=5, noise="logistic", seed=0):
    """A BinaryMLP, its x and labels."""
    generator = torch.Generator().manual_seed(seed)
    model = sbn.models.BinaryMLP(inputs, list(hidden), classes, num_data=rows, noise=noise)
    x, y = _numbers(model, inputs, rows, generator)
    return model, x, (y > 0).long() % classes if classes == 2 else _labels(y, classes)


def regressor(inputs=2, hidden=(2,), *, rows=5, noise="logistic", sigma=0.6, seed=0):
    """A BinaryRegressor, its x and targets."""
    generator = torch.Generator().manual_seed(seed)
    model = sbn.models.BinaryRegressor(
        inputs, list(hidden), num_data=rows, noise=noise, sigma=sigma
    )
    return model, *_numbers(model, inputs, rows, generator)


def _labels(y, classes):
    return (y.argsort().argsort() % classes).long()


def _numbers(model, inputs, rows, generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    with torch.no_grad():
        for layer in [*model.hidden, model.output]:
            layer.scale = layer.scale * torch.exp(0.3 * normal(layer.out_features))
            layer.bias = 0.4 * normal(layer.out_features)
    model.set_prior(
        {
            site: torch.sigmoid(0.8 * normal(*p.shape))
            for site, p in model.prior_probabilities().items()
        }
    )
    return normal(rows, inputs), normal(rows)


def guide_of(model, seed=1):
    """A mean-field guide at random probabilities."""
    return sbn.guides.AutoSignBernoulli(model, generator=torch.Generator().manual_seed(seed))
