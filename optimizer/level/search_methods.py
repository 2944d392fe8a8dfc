"""Objective, sampler and pruner of a level: the built-in names, their options, and their validation.

A curriculum file writes a name, a table with a name and options, or `module:NAME` for code of the user's own.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from optimizer.level.constraints import StrictModel

OBJECTIVES = ("sharpe", "sortino", "calmar", "profit_factor", "expectancy", "total_return")
"""Built-in objectives, all maximised; `optimizer.objective.measures` computes them."""
MAX_OBJECTIVES = 4
"""Maximum number of objectives of one search; beyond it, nearly every trial is on the Pareto front."""
DEFAULT_SAMPLER, DEFAULT_PRUNER = "tpe", "median"
MULTI_OBJECTIVE_SAMPLER = "nsgaii"
"""Default sampler of a level with several objectives."""
NO_PRUNER = "none"
USER_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""Form of `module:NAME`."""
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
OptionValue = bool | int | float | str


class NoOptions(StrictModel):
    """A method without options."""


class QmcOptions(StrictModel):
    """Options of the quasi-Monte Carlo sampler."""

    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True
    """Whether the sequence is scrambled by the seed; without it, every seed gives the same trials."""


class CmaEsOptions(StrictModel):
    """Options of CMA-ES, named as in Optuna."""

    popsize: Annotated[int, Field(ge=2)] | None = None
    """Trials per generation; None derives it from the number of parameters."""
    n_startup_trials: Annotated[int, Field(ge=1)] = 1
    with_margin: bool = False
    """Whether integer parameters keep a minimum variance."""
    use_separable_cma: bool = False
    lr_adapt: bool = False

    @model_validator(mode="after")
    def _is_one_variant(self) -> Self:
        if self.with_margin + self.use_separable_cma + self.lr_adapt > 1:
            raise ValueError("with_margin, use_separable_cma and lr_adapt exclude each other")
        return self


class GpOptions(StrictModel):
    """Options of the Gaussian process sampler, named as in Optuna."""

    n_startup_trials: Annotated[int, Field(ge=1)] = 10
    deterministic_objective: bool = False


class NsgaIiOptions(StrictModel):
    """Options of NSGA-II, named as in Optuna."""

    population_size: Annotated[int, Field(ge=2)] = 20
    """Trials per generation; 50 in Optuna, too many for the 100 to 200 trials of a level."""
    mutation_prob: Share | None = None
    crossover_prob: Share = 0.9
    swapping_prob: Share = 0.5


class MedianOptions(StrictModel):
    """Options of the median pruner, named as in Optuna."""

    n_startup_trials: Count = 5
    """Complete trials that must be visible before a trial may be pruned."""
    n_warmup_steps: Count = 0
    """First datasets after which no trial is pruned."""
    interval_steps: Annotated[int, Field(ge=1)] = 1
    """Datasets between two checks."""
    n_min_trials: Annotated[int, Field(ge=1)] = 1
    """Complete trials that must have reported at a step."""


class PercentileOptions(MedianOptions):
    """Options of the percentile pruner, named as in Optuna."""

    percentile: Annotated[float, Field(ge=0, le=100)] = 25.0
    """Share of trials kept at each step, in percent; the median pruner keeps 50."""


class HyperbandOptions(StrictModel):
    """Options of Hyperband, named as in Optuna; its resource is the number of datasets run."""

    min_resource: Annotated[int, Field(ge=1)] = 1
    max_resource: Annotated[int, Field(ge=1)] | None = None
    """None: the level's number of datasets."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3


SAMPLERS: Mapping[str, type[StrictModel]] = {
    "tpe": NoOptions,
    "random": NoOptions,
    "qmc": QmcOptions,
    "cmaes": CmaEsOptions,
    "gp": GpOptions,
    "nsgaii": NsgaIiOptions,
}
PRUNERS: Mapping[str, type[StrictModel]] = {
    "median": MedianOptions,
    "percentile": PercentileOptions,
    "hyperband": HyperbandOptions,
    "none": NoOptions,
}
SINGLE_OBJECTIVE_SAMPLERS = ("cmaes",)
"""Samplers that refuse several objectives."""


class _Method(StrictModel):
    name: str
    options: dict[str, OptionValue] = Field(default_factory=dict)
    """Options that differ from the defaults, by the names that the method declares."""

    @model_validator(mode="before")
    @classmethod
    def _accept_short_forms(cls, given: object) -> object:
        """Accept a text such as `cmaes,popsize=12`, and options beside the name."""
        if isinstance(given, str):
            return parse_method(given)
        if isinstance(given, Mapping) and "name" in given and "options" not in given:
            return {"name": given["name"], "options": {key: given[key] for key in given if key != "name"}}
        return given

    def __str__(self) -> str:
        return ", ".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    @property
    def is_user_code(self) -> bool:
        """Whether it is a user's `module:NAME`."""
        return ":" in self.name


class SamplerSpec(_Method):
    """Sampler of a level."""

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if not self.is_user_code:
            _check_options("sampler", self.name, self.options, SAMPLERS)
        else:
            check_user_code("sampler", self.name)
        return self


class PrunerSpec(_Method):
    """Pruner of a level."""

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        _check_options("pruner", self.name, self.options, PRUNERS)
        return self


@cache
def sampler_named(name: str) -> SamplerSpec:
    """Return a sampler with the defaults of its options."""
    return SamplerSpec(name=name)


@cache
def pruner_named(name: str) -> PrunerSpec:
    """Return a pruner with the defaults of its options."""
    return PrunerSpec(name=name)


def parse_method(text: str) -> dict[str, object]:
    """Parse a name with options, such as `percentile, percentile=30`; returns the fields of a method.

    Raises:
        ValueError: an option has no value.
    """
    name, *pairs = (part.strip() for part in text.split(","))
    options: dict[str, OptionValue] = {}
    for pair in pairs:
        option, sign, value = (part.strip() for part in pair.partition("="))
        if not (option and sign and value):
            raise ValueError(f"expected NAME, OPTION=VALUE, ..., was {text!r}")
        options[option] = _value(value)
    return {"name": name, "options": options}


def check_objective(name: str) -> str:
    """Return the objective's name if it is built in or has the form `module:NAME`.

    Raises:
        ValueError: it is unknown; names the nearest ones.
    """
    if ":" in name:
        check_user_code("objective", name)
    elif name not in OBJECTIVES:
        raise ValueError(unknown("objective", name, OBJECTIVES, "module:NAME"))
    return name


def check_user_code(kind: str, name: str) -> None:
    """Check the form of `module:NAME` without importing it.

    Raises:
        ValueError: it has another form.
    """
    if not USER_CODE.fullmatch(name):
        raise ValueError(f"{kind} {name!r}: expected module:NAME, such as my_package.my_module:{kind}")


def unknown(kind: str, name: str, known: tuple[str, ...], other: str = "") -> str:
    """Return the message on an unknown name, with the nearest known one."""
    near = get_close_matches(name, known, n=1)
    expected = ", ".join(known) + (f", or {other}" if other else "")
    return f"unknown {kind} {name!r}: {f'did you mean {near[0]}? ' if near else ''}expected one of {expected}"


def check_combination(objectives: tuple[str, ...], sampler: SamplerSpec | None, pruner: PrunerSpec | None) -> None:
    """Check that sampler and pruner can serve the objectives.

    Raises:
        ValueError: names the rule that is violated.
    """
    if len(objectives) < 2:
        return
    if sampler and sampler.name in SINGLE_OBJECTIVE_SAMPLERS:
        raise ValueError(
            f"sampler {sampler.name} takes one objective, were {len(objectives)} ({', '.join(objectives)}): "
            "use nsgaii, tpe, gp, random or qmc"
        )
    if pruner and pruner.name != NO_PRUNER:
        raise ValueError(
            f"pruner {pruner.name}: a search with {len(objectives)} objectives ({', '.join(objectives)}) cannot be "
            f'pruned, because its intermediate results have no order: use pruner = "{NO_PRUNER}"'
        )


def _check_options(
    kind: str, name: str, options: Mapping[str, OptionValue], known: Mapping[str, type[StrictModel]]
) -> None:
    if name not in known:
        raise ValueError(unknown(kind, name, tuple(known), "module:NAME" if kind == "sampler" else ""))
    fields = tuple(known[name].model_fields)
    for option in options:
        if option not in fields:
            told = unknown("option", option, fields) if fields else f"unknown option {option!r}: it has no options"
            raise ValueError(f"{kind} {name}: {told}")
    try:
        known[name].model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise ValueError(f"{kind} {name}: {where}{first['msg'].removeprefix('Value error, ')}") from None


def _value(text: str) -> OptionValue:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
