"""Objective, sampler and pruner of a level: accepted forms, and one line for each refusal."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from optimizer.curriculum.level_files import load_levels
from optimizer.level.search_methods import OBJECTIVES, PRUNERS, SAMPLERS
from optimizer.level.spec import Level
from optimizer.objective.measures import MEASURES
from optimizer.runs.fingerprint import of_settings
from tests.factories.levels import level_of
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.errors import SettingsError

FIELDS = level_of().model_dump(mode="json")


def level(**changes: object) -> Level:
    return Level.model_validate({**FIELDS, **changes})


def test_the_defaults_are_sharpe_tpe_and_the_median_pruner() -> None:
    assert level().search_methods == "objective sharpe, sampler tpe, pruner median"


def test_several_objectives_use_nsgaii_without_pruning() -> None:
    found = level(objective=["sharpe", "calmar"])

    assert found.search_methods == "objectives sharpe + calmar, sampler nsgaii, pruner none"


def test_every_built_in_name_is_accepted() -> None:
    assert set(MEASURES) == set(OBJECTIVES)
    for objective in OBJECTIVES:
        assert level(objective=objective).objective == (objective,)
    for sampler in SAMPLERS:
        assert level(sampler=sampler).used_sampler.name == sampler
    for pruner in PRUNERS:
        assert level(pruner=pruner).used_pruner.name == pruner


@pytest.mark.parametrize(
    "given",
    ["cmaes, popsize=12, lr_adapt=true", {"name": "cmaes", "popsize": 12, "lr_adapt": True}],
)
def test_options_come_as_text_or_as_a_table(given: object) -> None:
    found = level(sampler=given)

    assert found.used_sampler.options == {"popsize": 12, "lr_adapt": True}
    assert Level.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "sharp"}, "unknown objective 'sharp': did you mean sharpe?"),
        ({"objective": ["sharpe", "sharpe"]}, "objectives must be unique"),
        ({"objective": []}, "at least 1 item"),
        ({"objective": "mine"}, "or module:NAME"),
        ({"objective": "os;x:y"}, "expected module:NAME"),
        ({"sampler": "cmase"}, "unknown sampler 'cmase': did you mean cmaes?"),
        ({"sampler": "tpe,seed=3"}, "sampler tpe: unknown option 'seed': it has no options"),
        ({"sampler": "cmaes,popsise=3"}, "did you mean popsize?"),
        ({"sampler": "cmaes,popsize=1"}, "popsize: Input should be greater than or equal to 2"),
        ({"sampler": "cmaes,with_margin=true,lr_adapt=true"}, "exclude each other"),
        ({"sampler": "cmaes,popsize"}, "expected NAME, OPTION=VALUE"),
        ({"pruner": "halving"}, "unknown pruner 'halving'"),
        ({"pruner": "percentile,percentile=101"}, "less than or equal to 100"),
        ({"objective": ["sharpe", "calmar"], "sampler": "cmaes"}, "sampler cmaes takes one objective, were 2"),
        ({"objective": ["sharpe", "calmar"], "pruner": "median"}, "2 objectives (sharpe, calmar) cannot be pruned"),
    ],
)
def test_an_invalid_method_is_refused_in_one_line(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        level(**changes)

    message = caught.value.errors()[0]["msg"]
    assert said in message
    assert "\n" not in message


def test_a_curriculum_file_names_the_line_of_a_wrong_sampler(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        """[[level]]
name = "1"
title = "One"
direction = "both"
trials = 5
objective = ["sharpe", "calmar"]
sampler = { name = "nsga2" }
datasets = [{ dataset = "coinbase/BTC-USD/H1", start = 2023-01-01, end = 2023-03-01 }]
gate = { win_rate = 0.3, sharpe = 0.5, max_drawdown = 0.3, profit_factor = 1.0 }
ranges = { fast = [5, 50], slow = [20, 150], atr_period = [7, 28], stop_atr = [1.0, 5.0], target_atr = [1.0, 8.0] }
"""
    )

    with pytest.raises(SettingsError, match=r"mine\.toml:7: level\.0\.sampler: .*did you mean nsgaii\?"):
        load_levels(file)

    file.write_text(file.read_text().replace("nsga2", "nsgaii"))
    assert load_levels(file)[0].search_methods == "objectives sharpe + calmar, sampler nsgaii, pruner none"


def test_the_settings_fingerprint_includes_the_methods() -> None:
    levels = [level(), level(objective="calmar"), level(sampler="random"), level(pruner="none")]

    assert len({of_settings([each], 0.9) for each in levels}) == len(levels)


def test_options_of_a_command_replace_those_of_the_level() -> None:
    options = SearchOptions(level_name="1", objectives=("calmar",), sampler="cmaes,popsize=9", pruner="none")

    (found,) = options.levels()

    assert found.search_methods == "objective calmar, sampler cmaes, popsize=9, pruner none"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": "rando"}, "--sampler: unknown sampler 'rando': did you mean random?"),
        ({"objectives": ("sharpe", "sortino"), "pruner": "median"}, "cannot be pruned"),
    ],
)
def test_a_wrong_option_of_a_command_is_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("?", r"\?")):
        SearchOptions(level_name="1", **options).levels()
