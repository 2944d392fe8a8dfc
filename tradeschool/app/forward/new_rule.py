"""The rule of a new forward test, from the chosen parameters, the options and the account on train."""

from collections.abc import Mapping
from datetime import date, datetime

from pydantic import ValidationError

from optimizer.forward.paper_account import DailySeries, datasets_of, train_account
from optimizer.forward.rule import ForwardDataset, ForwardLimits, ForwardRule, bound_of
from optimizer.objective.trial_result import rounded
from optimizer.validation.winner_setup import WinnerSetup
from tradeschool.app.forward.chosen_setup import ChosenSetup
from tradeschool.app.forward.forward_request import ForwardRequest
from tradeschool.app.forward.settled_candles import SettledCandles, first_stored
from tradeschool.errors import SettingsError


def new_rule(
    request: ForwardRequest, chosen: ChosenSetup, candles: SettledCandles, code: str, now: datetime
) -> ForwardRule:
    """Return the rule.

    Raises:
        SettingsError: An option is not valid, or the parameters never trade on train.
        DataIncomplete: Candles of train are missing.
    """
    setup, window = chosen.setup, request.window
    start = window.start.date() if window else chosen.data_end
    train = train_account(setup, candles.arrays, chosen.size)
    if len(train.returns) < 2 or train.returns.std(ddof=1) == 0:
        raise SettingsError(f"run {setup.run}: its parameters never trade on train; there is nothing to test")
    fields = {
        **_identity(setup),
        **_risk(train),
        "name": request.test_name,
        "created": now,
        "start": start,
        "end": window.end.date() if window else None,
        "data_end": chosen.data_end,
        "size": chosen.size,
        "datasets": _datasets(setup, candles, start),
        "code": code,
    }
    try:
        limits = ForwardLimits.model_validate({"max_drawdown": chosen.max_drawdown, **request.limits})
        return ForwardRule.model_validate({**fields, "limits": limits})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None


def _identity(setup: WinnerSetup) -> Mapping[str, object]:
    """Return what the setup says of itself and of what is traded."""
    names = ("run", "level", "attempt", "trial", "strategy", "direction", "parameters", "position_fraction", "costs")
    return {name: getattr(setup, name) for name in names}


def _risk(train: DailySeries) -> Mapping[str, float]:
    deviation = float(train.returns.std(ddof=1))
    return {"deviation": rounded(deviation), "bound": rounded(bound_of(deviation, float(train.returns.min())))}


def _datasets(setup: WinnerSetup, candles: SettledCandles, start: date) -> tuple[ForwardDataset, ...]:
    warm_ups = {each: setup.warm_up(each) for each in datasets_of(setup)}
    return tuple(
        ForwardDataset(dataset=each.name, warm_up_bars=bars, candles_from=first_stored(candles, each, bars, start))
        for each, bars in warm_ups.items()
    )
