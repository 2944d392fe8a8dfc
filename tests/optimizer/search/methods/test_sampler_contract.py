"""Contract of all samplers and pruners: equal trial tables for any number of workers, completion order and kills."""

import math
import random

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from optimizer.level.metric_names import METRICS
from optimizer.level.search_methods import PRUNERS, SAMPLERS, SINGLE_OBJECTIVE_SAMPLERS, PrunerSpec, SamplerSpec
from optimizer.objective.objective import is_pruned
from optimizer.objective.trial_result import CONSTRAINTS, Evaluation, TrialOutcome
from optimizer.search.methods.requirements import PACKAGES, missing_packages
from optimizer.search.sampler import SearchSpace, TrialRequest, ask
from optimizer.search.trial_table import export
from optimizer.search.trials import TrialOrigin, failed_trial, finished_trial, repeated_trial

DISTRIBUTIONS = {"slow": IntDistribution(20, 60), "fast": IntDistribution(5, 30), "stop": FloatDistribution(1.0, 5.0)}
ORIGIN = TrialOrigin(worker="here", started=1.0, seconds=0.5)
TRIALS, STEPS = 44, 5
USER = ("optuna.samplers:TPESampler", "optuna.samplers:NSGAIIISampler", f"{__name__}:counting_sampler")
SINGLE = [*(name for name in SAMPLERS if name != "gp"), "gp", "cmaes,with_margin=true", "qmc,qmc_type=halton", *USER]
MULTI = [each for each in SINGLE if each.split(",")[0] not in SINGLE_OBJECTIVE_SAMPLERS]


def counting_sampler(seed: int):
    """A sampler that keeps state in its own object, and nothing in the study."""
    from optuna.samplers import RandomSampler

    class Counting(RandomSampler):
        def __init__(self) -> None:
            super().__init__(seed=seed)
            self.results = 0

        def after_trial(self, study, trial, state, values) -> None:
            self.results += 1 + (values is not None and values[0] > 0)

        def sample_independent(self, study, trial, name, distribution):
            for _ in range(self.results % 7):
                self._rng.rng.random()
            return super().sample_independent(study, trial, name, distribution)

    return Counting()


def space_of(sampler: str, pruner: str = "median", objectives: int = 1) -> SearchSpace:
    if missing := missing_packages(sampler.split(",")[0]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    return SearchSpace(
        seed=7,
        lag=8,
        distributions=DISTRIBUTIONS,
        repair=lambda parameters: parameters | {"slow": max(int(parameters["slow"]), int(parameters["fast"]) + 5)},
        first_points=({"fast": 9, "slow": 30}, {"fast": 28, "slow": 55}),
        sampler=SamplerSpec.model_validate(sampler),
        pruner=PrunerSpec.model_validate(pruner),
        objectives=objectives,
        steps=STEPS,
    )


def trial_of(space: SearchSpace, request: TrialRequest) -> FrozenTrial:
    """A smooth objective with infeasible, pruned, failed and repeated trials."""
    if request.known is not None:
        return repeated_trial(request, request.known, 1.0)
    if request.number % 11 == 5:
        return failed_trial(request, DISTRIBUTIONS, "ZeroDivisionError: division by zero", ORIGIN)
    fast, slow, stop = (float(request.parameters[name]) for name in ("fast", "slow", "stop"))
    value = -((fast - 20) ** 2) / 100 - ((slow - 45) ** 2) / 1000 - (stop - 2) ** 2
    steps: list[float] = []
    is_cut = False
    for step in range(STEPS if space.objectives == 1 else 0):
        steps.append(math.nan if request.number == 3 and step == 0 else value + math.sin(fast * step))
        threshold = request.thresholds[step] if step < len(request.thresholds) else None
        if is_cut := is_pruned(steps, threshold, space.pruner.name):
            break
    several = {f"objective_{place}": value + place * stop for place in range(space.objectives)}
    return finished_trial(
        request,
        DISTRIBUTIONS,
        Evaluation(
            state=TrialOutcome.PRUNED if is_cut else TrialOutcome.COMPLETE,
            value=(steps[-1] if steps and not math.isnan(steps[-1]) else value) if space.objectives == 1 else None,
            values=several if space.objectives > 1 else {},
            intermediate=tuple(steps),
            constraints={**dict.fromkeys(CONSTRAINTS, -1.0), "drawdown": stop - 4},
            metrics=dict.fromkeys(METRICS, value),
            pruned_reason="below" if is_cut else None,
        ),
        ORIGIN,
    )


class Search:
    """A search by a number of workers that finish in any order."""

    def __init__(self, space: SearchSpace, workers: int, order: int) -> None:
        self.space, self.workers, self.random = space, workers, random.Random(order)
        self.known: list[FrozenTrial] = []
        self.start()

    def start(self) -> None:
        """Begin, or continue after a kill, with the committed trials alone."""
        self.history, self.next = self.space.history(), len(self.known)
        self.running: dict[int, FrozenTrial] = {}
        self.finished: dict[int, FrozenTrial] = {}

    def step(self) -> None:
        """Request as many trials as there are workers, and finish one of them."""
        while self.next < TRIALS and len(self.running) < self.workers:
            if self.space.visible(self.next) > len(self.known):
                break
            for trial in self.known[len(self.history) : self.space.visible(self.next)]:
                self.history.append(trial)
            self.running[self.next] = trial_of(self.space, ask(self.space, self.history, self.next))
            self.next += 1
        number = self.random.choice(sorted(self.running))
        self.finished[number] = self.running.pop(number)
        while len(self.known) in self.finished:
            self.known.append(self.finished.pop(len(self.known)))

    def table(self, *, kill_every: int = 0) -> bytes:
        """Search to the end and return the trial table; `kill_every`: committed trials between two kills."""
        killed = 0
        while len(self.known) < TRIALS:
            self.step()
            if kill_every and len(self.known) - killed >= kill_every:
                killed = len(self.known)
                self.start()
        return export(self.known, "csv")


def table_of(space: SearchSpace, workers: int, *, order: int = 0, kill_every: int = 0) -> bytes:
    return Search(space, workers, order).table(kill_every=kill_every)


@pytest.mark.parametrize("sampler", SINGLE)
def test_one_two_and_eight_workers_give_the_same_table(sampler: str) -> None:
    space = space_of(sampler)

    alone = table_of(space, 1)

    for workers, order in ((2, 1), (8, 2), (8, 3)):
        assert table_of(space, workers, order=order) == alone


@pytest.mark.parametrize("sampler", MULTI)
def test_several_objectives_give_the_same_table_with_any_number_of_workers(sampler: str) -> None:
    space = space_of(sampler, "none", objectives=2)

    alone = table_of(space, 1)

    assert b"value_objective_1" in alone
    assert table_of(space, 2, order=1) == table_of(space, 8, order=2) == alone


@pytest.mark.parametrize("sampler", SINGLE)
def test_a_killed_search_continues_with_the_same_trials(sampler: str) -> None:
    space = space_of(sampler)

    assert table_of(space, 8, order=4, kill_every=13) == table_of(space, 1)


@pytest.mark.parametrize("pruner", [*PRUNERS, "percentile,percentile=80,n_warmup_steps=1,n_min_trials=3"])
def test_a_pruner_decides_the_same_with_any_number_of_workers(pruner: str) -> None:
    space = space_of("tpe", pruner)

    alone = table_of(space, 1)

    assert table_of(space, 2, order=1) == table_of(space, 8, order=2, kill_every=17) == alone
    assert (b"pruned" in alone) == (pruner != "none")


@pytest.mark.parametrize("sampler", SINGLE)
def test_the_seed_changes_the_trials(sampler: str) -> None:
    space = space_of(sampler)
    if sampler == "qmc,qmc_type=halton":
        space = space_of("qmc,qmc_type=halton,scramble=true")
    others = SearchSpace(**{name: getattr(space, name) for name in space.__dataclass_fields__} | {"seed": 8})

    assert table_of(space, 1) != table_of(others, 1)


def test_the_samplers_differ() -> None:
    names = [name for name in SAMPLERS if not missing_packages(name)]

    assert len({table_of(space_of(name), 1) for name in names}) == len(names)


@pytest.mark.parametrize("sampler", ["cmaes", "nsgaii,population_size=8"])
def test_a_sampler_with_state_learns(sampler: str) -> None:
    def later_mean(name: str) -> float:
        search = Search(space_of(name, "none"), 1, 0)
        search.table()
        later = [trial.user_attrs["metrics"]["sharpe"] for trial in search.known[24:] if "metrics" in trial.user_attrs]
        return sum(later) / len(later)

    assert later_mean(sampler) > later_mean("random")


def test_enqueued_points_are_the_first_trials_of_each_sampler() -> None:
    for sampler in SINGLE:
        if not missing_packages(sampler.split(",")[0]):
            space = space_of(sampler)
            assert [ask(space, space.history(), 0).parameters[name] for name in ("fast", "slow")] == [9, 30]


def test_every_sampler_with_a_package_is_checked_for_it() -> None:
    assert set(PACKAGES) <= set(SAMPLERS)
    assert missing_packages("tpe") == []
