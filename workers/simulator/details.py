"""What TradeStation tells of a symbol beside its price: its kind, its contract, its units.

Owns those descriptions; must not know prices.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from common.clock import previous_trading_day
from common.feeds.roots import INDEXES
from common.feeds.tradestation.symbols import parse_option_symbol
from common.models import JsonDict
from common.selection import is_third_friday
from workers.simulator.quotes import Quoted
from workers.simulator.rows import number_text


def expiration_type(day: date) -> Literal["Weekly", "Monthly", "EOM"]:
    """Monthly for a third Friday or the trading day before it, EOM for a month's last."""
    if is_third_friday(day):
        return "Monthly"
    following = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    return "EOM" if day == previous_trading_day(following) else "Weekly"


def symbol_details(found: Quoted) -> JsonDict:
    """The details of an underlying or a contract."""
    symbol = found.desk.contracts.symbol
    is_index = symbol in INDEXES
    contract = parse_option_symbol(found.name)
    details: JsonDict = {
        "AssetType": "INDEX" if is_index else "STOCK",
        "Country": "United States",
        "Currency": "USD",
        "Description": symbol,
        "Exchange": "SIM",
        "Symbol": found.name,
        "Root": symbol,
        "Underlying": "",
    }
    if contract is not None:
        root, expiry, strike, right = contract
        side = "Call" if right == "C" else "Put"
        details |= {
            "AssetType": "INDEXOPTION" if is_index else "STOCKOPTION",
            "Description": f"{root} {expiry.expiration:%b %d %Y} {strike:.10g} {side}",
            "ExpirationDate": f"{expiry.expiration}T00:00:00Z",
            "OptionType": side.upper(),
            "StrikePrice": number_text(strike),
            "Root": root,
            "Underlying": symbol,
        }
    plain = {"Format": "Decimal", "IncrementStyle": "Simple"}
    points = "100" if contract is not None else "1"
    price = {**plain, "Decimals": "2", "Increment": "0.01", "PointValue": points}
    quantity = {**plain, "Decimals": "0", "Increment": "1", "MinimumTradeQuantity": "1"}
    return {**details, "PriceFormat": price, "QuantityFormat": quantity}
