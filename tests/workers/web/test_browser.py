"""Browser tests of the page: panels, keyboard, phone and themes."""

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.factories.forward_tests import make_forward_test
from workers.coordinator import event_log
from workers.coordinator.leadership import acquire_leadership

TOKEN = "a-token-of-some-length"

CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colour, under) => {
    canvas.fillStyle = `rgb(${under})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const ground = (element) => {
    const chain = [];
    for (let each = element; each; each = each.parentElement) chain.unshift(getComputedStyle(each).backgroundColor);
    return chain.reduce((under, colour) => paint(colour, under), [255, 255, 255]);
  };
  const linear = (each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => rgb.map((each) => linear(each / 255)).reduce(
    (sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(".hidden, .skip, noscript, option")) continue;
    const style = getComputedStyle(element), under = ground(element);
    const [one, other] = [light(paint(style.color, under)), light(under)].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${texts.currentNode.data.trim().slice(0, 40)}`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, make_site) -> Path:
    """The study database of a finished search; created once, because forty commits are slow."""
    made = make_site(tmp_path_factory.mktemp("study"), "")
    made.add_trials(40)
    made.close()
    return Path(made.folder / "study.sqlite3")


@pytest.fixture
def busy(context, plan, study: Path, fail_a_job):
    """An installation with data for every panel."""
    shutil.copy(study, context.folder / "study.sqlite3")
    context.begin_run()
    context.judge(passed=True)
    days = list(range(18_000, 18_100))
    equity = {"days": days, "equity": [1 + day / 100 for day in range(100)], "drawdown": [0.01] * 100}
    (context.results / "r1" / "1" / "equity.json").write_text(json.dumps(equity | {"buy_and_hold": [1.0] * 100}))
    context.recommend("the gate of level 1 is not met <script>")
    (context.results / "r1" / "report.html").write_text("<h1>Report</h1>")
    make_forward_test(context.results)
    event_log.record(context.results / "r1", "level_passed", level="1", attempt=1, trial=3)
    fail_a_job(plan, "<b>no luck</b>")
    return context


def test_every_panel_shows_its_data(busy, serve, visit) -> None:
    with serve(busy) as url, visit(url) as page:
        page.wait_for_selector("#p-importance .shares")

        for text in (
            "40 / 40",
            "Long in bull markets",
            "passed",
            "Gate, winner (trial 3) on validation",
            "-0.50 to 1.50",
            "≤ 25.0 %",
            "∞",
            "PED-ANOVA, 40 trials",
            "do not deploy",
            "the gate of level 1 is not met <script>",
            "every gate passed in 3 (false-positive rate 8%, 95 % interval 3% to 20%)",
            "Outcome: escalated",
            "0 of 2 deciding checks met",
            "RuntimeError: <b>no luck</b>",
            "No worker is connected",
            "No sealed candles yet",
            "No download yet",
            "level 1, attempt 1: trial 3 passed the gate",
        ):
            page.get_by_text(text, exact=False).first.wait_for()
        for chart in ("c-search", "slice-fast", "slice-stop", "c-equity", "c-drawdown", "c-queue"):
            page.wait_for_selector(f"#{chart} canvas")
            assert page.locator(f"#{chart}").get_attribute("aria-label")
        assert page.locator("main b", has_text="no luck").count() == 0, "a text was taken for markup"
        assert page.locator("main script").count() == 0
        assert page.get_by_role("link", name="Full report").get_attribute("href") == "/api/runs/r1/report"


def test_running_workers_and_their_trials_are_shown(context, serve, visit, plan, start_worker) -> None:
    slow = replace(plan, title="sleep 600")
    study = slow.open()
    slow.run(study).reconcile()
    study.close()
    start_worker()
    with serve(context) as url, visit(url) as page:
        page.locator("#p-running_jobs td").first.wait_for()

        page.locator("#p-workers .chip.busy").first.wait_for()

        assert page.locator("#p-workers .chip.busy").count() == 1
        row = page.locator("#p-running_jobs tbody tr").first.inner_text().split()
        assert (row[1], row[3]) == ("1", "s")


def test_an_empty_installation_shows_the_first_command(context, serve, visit) -> None:
    with serve(context) as url, visit(url) as page:
        for text in (
            "No run yet. Start one",
            "tradeschool optimize run",
            "tradeschool fetch",
            "tradeschool worker start -n 2",
        ):
            page.get_by_text(text, exact=False).first.wait_for()


def test_changes_are_shown_without_reloading(context, serve, visit) -> None:
    context.begin_run()
    with serve(context) as url, visit(url) as page:
        page.get_by_text("waiting").first.wait_for()
        page.get_by_text("This run is not active").wait_for()
        leadership = acquire_leadership(context.context.storage_url, "r1")
        page.get_by_text("This run is not active").wait_for(state="detached")
        leadership.release()
        context.add_trials(12)
        page.get_by_text("12 / 40").first.wait_for()
        page.wait_for_selector("#c-search canvas")
        context.add_trials(28)
        context.judge(passed=False)
        page.locator(".level.failed").wait_for()
        context.begin_run("r2")
        page.locator("#run option", has_text="r2").wait_for(state="attached")

        assert page.locator("#run").input_value() == ""


def test_an_earlier_run_can_be_selected_and_linked(busy, serve, visit) -> None:
    busy.begin_run("r2")
    with serve(busy) as url, visit(url) as page:
        page.locator("#run option", has_text="r1").wait_for(state="attached")
        page.get_by_text("waiting").first.wait_for()
        page.locator("#run").select_option("r1")
        page.get_by_text("40 / 40").first.wait_for()
        assert page.url.endswith("#run=r1")
        page.reload()

        page.get_by_text("40 / 40").first.wait_for()


def test_the_button_requeues_a_failed_job(busy, serve, visit, plan) -> None:
    with serve(busy) as url, visit(url) as page:
        page.get_by_role("button", name="Requeue trials 0").click()
        page.get_by_text("1 job requeued").wait_for()
        page.locator("#p-failed tr").first.wait_for(state="detached")

        assert plan.queue.fetch_job(plan.queue.job_ids[-1]).get_status() == "queued"
        assert plan.queue.failed_job_registry.get_job_count(cleanup=False) == 0
        page.get_by_text("1 failed jobs requeued").wait_for()


def test_the_token_page_accepts_the_token(busy, serve, visit) -> None:
    with serve(busy, TOKEN) as url, visit(url) as page:
        assert page.url == f"{url}/login"
        page.get_by_label("Token").fill("not-the-token-at-all")
        page.get_by_role("button").click()
        page.get_by_text("Wrong token.").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_text("40 / 40").first.wait_for()

        assert page.url == f"{url}/"
        assert TOKEN not in page.content()
        page.get_by_role("button", name="Requeue all").click()
        page.get_by_text("job requeued").first.wait_for()


def test_a_server_outage_is_shown_until_it_ends(context, serve, visit, socket_folder: Path, start_server) -> None:
    context.redis_url = f"unix://{socket_folder / 'v'}"
    context.begin_run()
    with serve(context) as url, visit(url) as page:
        page.locator("#alerts", has_text="does not answer").wait_for()
        page.get_by_text("Long in bull markets").first.wait_for()
        start_server()
        page.locator("#alerts .alert").wait_for(state="detached")

        page.get_by_text("0 queued, 0 running").first.wait_for()


def test_the_page_reconnects_after_a_server_restart(busy, serve, visit) -> None:
    with ExitStack() as stack:
        with serve(busy) as url:
            page = stack.enter_context(visit(url, expected="net::ERR_"))
            page.locator("#link.live").wait_for()
        page.locator("#link.lost").wait_for()
        with serve(busy, port=int(url.rpartition(":")[2])):
            page.locator("#link.live").wait_for()
            stack.close()


def test_every_text_has_sufficient_contrast_in_light_and_dark(busy, serve, visit) -> None:
    """WCAG contrast of 4.5:1, or 3:1 for large text, against the actual background."""
    with serve(busy) as url, visit(url) as page:
        page.wait_for_selector("#p-importance .shares")
        page.get_by_text("RuntimeError").first.wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)

            assert page.evaluate(CONTRASTS) == [], scheme


def test_the_theme_can_be_selected_and_is_kept(busy, serve, visit) -> None:
    with serve(busy) as url, visit(url, color_scheme="light") as page:
        ground = "() => getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.get_by_role("button", name="Switch between light and dark").click()
        dark = page.evaluate(ground)
        page.reload()

        assert light != dark
        assert page.evaluate(ground) == dark


def test_the_page_fits_on_a_phone(busy, serve, visit) -> None:
    wide = "() => [...document.querySelectorAll('main *')].filter((each) => !each.closest('.scroll, .wrap, .hidden')"
    wide += " && each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 80))"
    with serve(busy) as url, visit(url, viewport={"width": 390, "height": 800}, has_touch=True) as page:
        page.wait_for_selector("#p-importance .shares")
        page.wait_for_selector("#c-equity canvas")
        for width in (390, 320, 768):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")

            assert page.evaluate(wide) == [], width


def test_every_control_is_reachable_by_keyboard_with_visible_focus(busy, serve, visit) -> None:
    with serve(busy) as url, visit(url) as page:
        page.get_by_role("button", name="Requeue trials 0").wait_for()
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "Skip to content"
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            here = "() => { const it = document.activeElement, style = getComputedStyle(it);"
            here += " return [it.tagName, it.textContent.trim().slice(0, 20) || it.id, style.outlineStyle]; }"
            reached.append(page.evaluate(here))
        button = page.get_by_role("button", name="Requeue trials 0")
        button.focus()
        for number in (1, 2):  # each draws the page again
            event_log.record(busy.results / "r1", "trial_given_up", level="1", trial=number, reason=f"drawing {number}")
            page.get_by_text(f"drawing {number}").first.wait_for()
        assert button.evaluate("(it) => it === document.activeElement")
        page.keyboard.press("Enter")

        page.get_by_text("1 job requeued").wait_for()
        names = {name for _, name, _ in reached}
        assert {"Curriculum", "run", "theme", "Requeue", "Requeue all", "Search shown below"} <= {*names, "run"}
        assert all(outline != "none" for tag, _, outline in reached if tag in {"A", "BUTTON", "SELECT"})


def test_headings_landmarks_and_labels_exist_for_screen_readers(busy, serve, visit) -> None:
    with serve(busy) as url, visit(url) as page:
        page.wait_for_selector("#p-importance .shares")
        unnamed = "() => [...document.querySelectorAll('button, a, select, input, [role=img], [role=region]')]"
        unnamed += (
            ".filter((each) => !(each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.length))"
        )
        unnamed += ".map((each) => each.outerHTML.slice(0, 80))"

        assert page.evaluate(unnamed) == []
        assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
        assert page.locator("h1").count() == 1
        levels = page.evaluate("() => [...document.querySelectorAll('h1, h2, h3, h4')].map((each) => +each.tagName[1])")
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert page.evaluate("() => document.documentElement.lang") == "en"
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate("() => getComputedStyle(document.querySelector('.bar span')).transitionDuration") == "0s"
