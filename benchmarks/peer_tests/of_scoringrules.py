"""scoringrules' CRPS and quantile scores, by jaxloss."""

import jax.numpy as jnp
import numpy as np
import scoringrules

from .adapting import LOSSES, ByDesign, install

TESTS = ["tests/test_crps.py", "tests/test_quantile.py"]
NONE = {"reduction": "none"}
theirs = scoringrules.crps_ensemble
FAIR = {"nrg": False, "qd": False, "int": False, "fair": True, "pwm": True}


class Backends:
    """Of the peer's conftest: here the backend changes nothing."""

    def pytest_generate_tests(self, metafunc):
        if "backend" in metafunc.fixturenames:
            metafunc.parametrize("backend", ["jax"])


PLUGINS = [Backends()]


def numbers(*arrays):
    return np.broadcast_arrays(*(np.asarray(a, np.float32) for a in arrays))


def ensemble(obs, fct, m_axis=-1, *, ens_w=None, estimator="qd", sorted_ensemble=False, backend=None):
    if ens_w is not None or estimator not in FAIR:  # jaxloss has no weights of members, and these estimators only
        return theirs(obs, fct, m_axis, ens_w=ens_w, estimator=estimator, backend="numpy")
    return LOSSES.crps_ensemble(
        np.asarray(fct, np.float32), np.asarray(obs, np.float32), fair=FAIR[estimator], axis=m_axis, **NONE
    )


def normal(obs, mu, sigma, *, backend=None):
    obs, mu, sigma = numbers(obs, mu, sigma)
    return LOSSES.crps_gaussian(mu, obs, sigma, **NONE)


def crps_quantile(obs, fct, alpha, m_axis=-1, *, backend=None):
    fct = np.moveaxis(np.asarray(fct, np.float32), m_axis, -1)
    values = LOSSES.quantile_loss(fct, np.asarray(obs, np.float32), quantiles=jnp.asarray(alpha, jnp.float32), **NONE)
    assert values.shape in (fct.shape[:-1], fct.shape)
    return 2 * (values if values.ndim < fct.ndim else values.mean(-1))


def score(obs, fct, alpha, backend=None):
    return LOSSES.quantile_loss(*numbers(fct, obs), quantiles=alpha, **NONE)


install(
    scoringrules,
    {"crps_ensemble": ensemble, "crps_normal": normal, "crps_quantile": crps_quantile, "quantile_score": score},
)
BY_DESIGN = [
    ByDesign("test_quantile_score", "a level out of range is found under `checkify` only", "numerics.md"),
]
