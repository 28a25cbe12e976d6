"""One expiration's quotes: which are usable, the forward they imply, one volatility a strike;
compiled.

Owns the arithmetic; definitions are those of :mod:`common.quant.plain.chain`. Rows are contracts in
the order of strike and right, so the sides of a strike stand next to each other.
"""

from __future__ import annotations

from math import isnan, sqrt

from numba import njit

from common.machine.arguments import ROUNDS, inlined
from common.models import Status
from common.quant.compiled.elementary import NAN, exp, log_ratio
from common.quant.limits import LEAST_SPREAD, MAX_SPOT_GAP, NEAR_SIGMAS, NORMAL_MAD, OUTLIER

_OK, _NO_BID, _NO_ASK = int(Status.OK), int(Status.NO_BID), int(Status.NO_ASK)
_CROSSED, _WIDE, _STALE = int(Status.CROSSED), int(Status.WIDE), int(Status.STALE)
_EXPIRED, _BAD_INPUT = int(Status.EXPIRED), int(Status.BAD_INPUT)
_CALL, _PUT, _BOTH = ord("C"), ord("P"), ord("B")
INFINITY = float("inf")


@inlined
def _status(bid, ask, spot, K, T, age, board, rules):
    """The first reason why a quote cannot carry a volatility."""
    spread, mid = ask - bid, 0.5 * (bid + ask)
    found = _OK
    if age > rules[2]:
        found = _STALE
    if spread > rules[0] * mid and spread > rules[1]:
        found = _WIDE
    if ask <= bid:
        found = _CROSSED
    if not ask > 0.0:
        found = _NO_ASK
    if not bid > 0.0:
        found = _NO_BID
    if T <= 0.0:
        found = _EXPIRED
    if bid < 0.0 or ask < 0.0 or abs(bid) == INFINITY or abs(ask) == INFINITY:
        found = _BAD_INPUT
    if not (K > 0.0 and spot > 0.0 and spot < INFINITY):
        found = _BAD_INPUT
    return found if board else _STALE


@inlined
def _sort(values, order, count):
    """The order of some values, stable, in place."""
    for i in range(count):
        j = i
        while j > 0 and values[int(order[j - 1])] > values[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i


@inlined
def _weighted_median(values, widths, order, count):
    """The value at which half of the weight, 1/width², lies on either side."""
    _sort(values, order, count)
    total = 0.0
    for i in range(count):
        width = widths[int(order[i])]
        total += 1.0 / (width * width)
    half, below, at = 0.5 * total, 0.0, 0
    while at < count:
        width = widths[int(order[at])]
        below += 1.0 / (width * width)
        if below >= half:
            break
        at += 1
    return values[int(order[min(at, count - 1)])]


@inlined
def _median(values, order, count):
    _sort(values, order, count)
    middle = count // 2
    upper = values[int(order[middle])]
    return upper if count % 2 else 0.5 * (values[int(order[middle - 1])] + upper)


@inlined
def _nearest(bids, asks, spots, K, D, put, board, statuses, carry, limit, found):
    """The usable pairs whose strikes are nearest to ``carry``, nearest first; how many."""
    distances, ratios, widths, mean_spots = found[0], found[1], found[2], found[3]
    count = 0
    for c in range(K.size - 1):
        p = c + 1
        if K[p] != K[c] or put[c] or not put[p]:
            continue
        if not (board[c] and board[p] and statuses[c] == _OK and statuses[p] == _OK):
            continue
        spot, discount = 0.5 * (spots[c] + spots[p]), sqrt(D[c] * D[p])
        ratio = (K[c] + (0.5 * (bids[c] + asks[c]) - 0.5 * (bids[p] + asks[p])) / discount) / spot
        width = 0.5 * ((asks[c] - bids[c]) + (asks[p] - bids[p])) / (discount * spot)
        apart = abs(spots[c] - spots[p]) > MAX_SPOT_GAP * spot
        if apart or not (ratio > 0.0 and ratio < INFINITY and width > 0.0):
            continue
        distance, at = abs(K[c] / spot - carry), count
        while at > 0 and distances[at - 1] > distance:
            at -= 1
        if at >= limit:
            continue
        count = min(count + 1, limit)
        for i in range(count - 1, at, -1):
            for row in range(4):
                found[row, i] = found[row, i - 1]
        distances[at], ratios[at], widths[at], mean_spots[at] = distance, ratio, width, spot
    return count


@inlined
def _forward(bids, asks, spots, K, T, D, put, board, statuses, rules, found, head):
    earliest = INFINITY
    for i in range(K.size):
        if statuses[i] != _BAD_INPUT and T[i] > 0.0 and board[i] and T[i] < earliest:
            earliest = T[i]
    head[0], head[1], head[2], head[3] = NAN, 0.0, NAN, 0.0
    if earliest == INFINITY:
        return
    carry = exp(min(max(rules[3] * earliest, -700.0), 700.0))
    limit, least = int(rules[4]), int(rules[5])
    count = _nearest(bids, asks, spots, K, D, put, board, statuses, carry, limit, found)
    ratios, widths, mean_spots = found[1], found[2], found[3]
    deviations, order = found[0], found[4]
    kept = 0
    if count >= least and count > 0:
        centre = _weighted_median(ratios, widths, order, count)
        for i in range(count):
            deviations[i] = abs(ratios[i] - centre)
        scale = NORMAL_MAD * _weighted_median(deviations, widths, order, count)
        bound = OUTLIER * max(scale, 0.25 * _median(widths, order, count))
        total, moment = 0.0, 0.0
        for i in range(count):
            if deviations[i] <= bound:
                weight = 1.0 / (widths[i] * widths[i])
                total += weight
                moment += weight * ratios[i]
                kept += 1
        if kept >= least:
            basis, squares = moment / total, 0.0
            for i in range(count):
                if deviations[i] <= bound:
                    gap = (ratios[i] - basis) * mean_spots[i]
                    squares += 1.0 / (widths[i] * widths[i]) * (gap * gap)
            head[0], head[1], head[2], head[3] = basis, 2.0, sqrt(squares / total), kept
            return
    else:
        kept = count
    head[3] = kept
    head[0], head[1] = carry, 1.0


@njit(**ROUNDS)
def quote_forward(bids, asks, spots, K, T, D, ages, put, board, rules, found, head, statuses):
    """Fill ``head`` with F/S, its source, residual and pairs, and ``statuses``."""
    for i in range(K.size):
        statuses[i] = _status(bids[i], asks[i], spots[i], K[i], T[i], ages[i], board[i], rules)
    _forward(bids, asks, spots, K, T, D, put, board, statuses, rules, found, head)


@inlined
def _weight(bid, ask, status):
    spread = max(ask - bid, LEAST_SPREAD)
    return 1.0 / (spread * spread) if status == _OK else 0.0


@inlined
def _deviations(F, K, T, sigma):
    """Standard deviations of a strike from the forward, NaN without a volatility."""
    return abs(log_ratio(F, K)) / (sigma * sqrt(T))


@inlined
def _strike(F, K, T, bids, asks, sigmas, own, call, put):
    """(sigma, status, side) of a strike from its call's row and its put's, -1 for none."""
    forward_c = F[call] if call >= 0 else NAN
    forward_p = F[put] if put >= 0 else NAN
    forward_c = forward_p if isnan(forward_c) else forward_c
    forward_p = forward_c if isnan(forward_p) else forward_p
    level = K[call] if call >= 0 else K[put]
    put_is_out = level < 0.5 * (forward_c + forward_p)
    out, inside = (put, call) if put_is_out else (call, put)
    sigma_out, far_out, weight_out, status = NAN, NAN, 0.0, _NO_BID
    if out >= 0:
        sigma_out, status = sigmas[out], own[out]
        far_out = _deviations(F[out], K[out], T[out], sigma_out)
        weight_out = _weight(bids[out], asks[out], status)
    sigma_in, far_in, weight_in = NAN, NAN, 0.0
    if inside >= 0:
        sigma_in = sigmas[inside]
        far_in = _deviations(F[inside], K[inside], T[inside], sigma_in)
        weight_in = _weight(bids[inside], asks[inside], own[inside])
    far = far_in if isnan(far_out) else far_out
    far = far_in if far_in < far else far
    nearness = 1.0 - far / NEAR_SIGMAS
    nearness = nearness if nearness > 0.0 else 0.0  # NaN too
    weight_in *= nearness
    total = weight_out + weight_in
    if not total > 0.0:
        return NAN, status, 0
    share = weight_in / total
    side = _BOTH
    if share == 0.0:
        sigma = sigma_out
    elif share == 1.0:
        sigma = sigma_in
    else:
        sigma = sigma_out * (1.0 - share) + sigma_in * share
    if not weight_in > 0.0:
        side = _PUT if put_is_out else _CALL
    elif not weight_out > 0.0:
        side = _CALL if put_is_out else _PUT
    return sigma, _OK, side


@njit(**ROUNDS)
def strike_vols(F, K, T, bids, asks, sigmas, put, board, own, iv, statuses, sides):
    """Fill the last three from the volatility and the status of each row."""
    first = 0
    while first < K.size:
        after, call, other = first, -1, -1
        while after < K.size and K[after] == K[first]:
            if board[after] and put[after]:
                other = after
            elif board[after]:
                call = after
            after += 1
        sigma, status, side = NAN, _NO_BID, 0
        if call >= 0 or other >= 0:
            sigma, status, side = _strike(F, K, T, bids, asks, sigmas, own, call, other)
        for i in range(first, after):
            final = own[i] == _BAD_INPUT or own[i] == _EXPIRED or not board[i]
            statuses[i] = own[i] if final else status
            solved = statuses[i] == _OK
            iv[i], sides[i] = (sigma, side) if solved else (NAN, 0)
        first = after
