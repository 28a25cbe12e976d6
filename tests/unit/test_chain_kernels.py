"""A chain solved by the compiled kernels and by plain numpy: the same statuses and numbers."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_chain import EXPIRY, PARAMETERS, chain

from common.chain import Solution, solve
from common.clock import SECOND
from common.models import FLAG_WITHDRAWN, Rows, Status
from common.quant import kernels
from common.settings import QuantParameters


def both(rows: Rows, parameters: QuantParameters = PARAMETERS) -> tuple[Solution, Solution]:
    """(compiled, plain)"""
    kernels.use("plain")
    plain = solve(quotes=rows, expiry=EXPIRY, parameters=parameters)
    kernels.use("compiled")
    return solve(quotes=rows, expiry=EXPIRY, parameters=parameters), plain


def spoilt(seed: int) -> Rows:
    """A chain with the faults of a feed, more of them from seed to seed."""
    random, rows = np.random.default_rng(seed), chain()
    share = 0.02 * (seed % 10)
    rows = rows[random.random(len(rows)) >= share]  # contracts that are not there

    def some() -> np.ndarray:
        return np.flatnonzero(random.random(len(rows)) < share)

    for name in ("bid", "ask", "spot"):
        for value in (np.nan, 0.0, -1.0, np.inf, -np.inf):
            rows[name][some()[:1]] = value
    crossed = some()
    rows["bid"][crossed], rows["ask"][crossed] = rows["ask"][crossed], rows["bid"][crossed]
    rows["ask"][some()] *= 3.0
    rows["bid"][some()] *= 1.5
    rows["flags"][some()] = FLAG_WITHDRAWN
    rows["spot"][some()] *= 1.001
    rows["time"][some()] -= 2000 * SECOND
    rows["time"][some()] += 400 * 86_400 * SECOND * (seed % 3 == 0)
    noise = 0.02 * random.random(len(rows))
    rows["bid"] -= noise * (seed % 2)
    return rows


def check(rows: Rows, parameters: QuantParameters = PARAMETERS) -> Solution:
    """Both agree; what they say."""
    compiled, plain = both(rows, parameters)
    assert compiled.status.tolist() == plain.status.tolist()
    assert compiled.side.tolist() == plain.side.tolist()
    assert (compiled.forward_source, compiled.parity_pairs) == (
        plain.forward_source,
        plain.parity_pairs,
    )
    np.testing.assert_allclose(compiled.basis, plain.basis, rtol=1e-14)
    np.testing.assert_allclose(compiled.forward_residual, plain.forward_residual, atol=1e-11)
    solved = compiled.status == Status.OK
    for name in ("iv", "delta", "gamma"):
        np.testing.assert_allclose(
            getattr(compiled, name)[solved], getattr(plain, name)[solved], rtol=1e-8, atol=1e-13
        )
        assert np.isnan(compiled.iv[~solved]).all()
    return compiled


@pytest.mark.parametrize("seed", range(60))
def test_a_spoilt_chain(seed: int) -> None:
    check(spoilt(seed))


def test_the_seeds_meet_every_reason_and_every_source() -> None:
    found = [both(spoilt(seed))[0] for seed in range(60)]
    reasons = {Status(code) for solution in found for code in solution.status.tolist()}
    assert reasons >= {
        *(Status.OK, Status.NO_BID, Status.NO_ASK, Status.CROSSED, Status.WIDE),
        *(Status.BAD_INPUT, Status.STALE, Status.BELOW_INTRINSIC, Status.EXPIRED),
    }
    sides = {side for solution in found for side in solution.side.tolist()}
    assert sides == {b"", b"C", b"P", b"B"}


@pytest.mark.parametrize("least", [1, 3, 50])
@pytest.mark.parametrize("pairs", [1, 2, 9, 100])
def test_any_number_of_pairs(pairs: int, least: int) -> None:
    parameters = PARAMETERS.model_copy(update={"parity_pairs": pairs, "min_parity_pairs": least})
    found = check(spoilt(1), parameters)
    assert found.forward_source == ("parity" if least <= min(pairs, 20) else "carry")


@pytest.mark.parametrize("size", [0, 1, 2])
def test_hardly_anything(size: int) -> None:
    assert check(chain()[:size]).forward_source in ("carry", "none")


def test_after_the_settlement_there_is_no_forward() -> None:
    rows = chain()
    rows["time"] += 10 * 86_400 * SECOND
    assert check(rows).forward_source == "none"
