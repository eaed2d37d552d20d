"""The report in a real browser; skipped where there is none."""

import shutil
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from finished_runs import image_data, write_run

from dec_jax.data.tables import load_table
from dec_jax.report.write import write_report

playwright = pytest.importorskip("playwright.sync_api")
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here"),
]
# The place of a sample of a cluster on the page.
PLACE = """([cluster, sample]) => {
  const points = Bokeh.documents[0].get_model_by_name(`cluster-${cluster}`);
  const view = Object.values(Bokeh.index)[0] ?? [...Bokeh.index][0];
  const {data} = points.data_source, {x, y} = points.glyph;
  const corner = view.canvas_view.el.getBoundingClientRect();
  return [corner.left + view.frame.x_scale.compute(data[x.field][sample]),
          corner.top + view.frame.y_scale.compute(data[y.field][sample])];
}"""
# The share of the map's pixels that are drawn in some color.
COLORED = """() => {
  const view = Object.values(Bokeh.index)[0] ?? [...Bokeh.index][0];
  const canvas = view.canvas_view.primary.canvas;
  const context = canvas.getContext("2d");
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4)
    if (pixels[i + 3] > 0 && Math.abs(pixels[i] - pixels[i + 2]) > 20) count += 1;
  return count;
}"""
# The text of what the pointer shows, and whether its thumbnail has a picture.
SHOWN = """() => {
  const shown = [...document.querySelectorAll(".bk-Tooltip")].find(
    (one) => getComputedStyle(one).display !== "none" && one.shadowRoot);
  if (!shown) return ["", ""];
  const content = shown.shadowRoot;
  const picture = content.querySelector(".thumbnail");
  const text = [...content.querySelectorAll("td, b")].map((one) => one.textContent);
  return [text.join(" "), picture ? getComputedStyle(picture).backgroundImage : ""];
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=BROWSER, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, **options):
    """Opens a report without a network; yields its page and what went wrong in it."""
    context = browser.new_context(offline=True, **options)
    page, wrong = context.new_page(), []
    page.on("console", lambda it: wrong.append(it.text) if it.type == "error" else 0)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    page.wait_for_function("() => window.Bokeh?.documents[0]?.is_idle")
    yield page, wrong
    context.close()


def point_at(page, cluster, sample):
    """Moves the pointer to a sample; returns what is shown."""
    page.locator("#map").scroll_into_view_if_needed()
    left, top = page.evaluate(PLACE, [cluster, sample])
    page.mouse.move(left - 40, top - 40)
    page.mouse.move(left, top)
    page.wait_for_function(f"() => ({SHOWN})()[0] !== ''")
    return page.evaluate(SHOWN)


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    data = image_data(names=tuple(f"photo {row}.png" for row in range(60)))
    return write_report(
        write_run(tmp_path_factory.mktemp("run"), data, data.labels), data
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_map_draws_without_errors(browser, of_images, scheme):
    with opened(browser, of_images, color_scheme=scheme) as (page, wrong):
        assert page.evaluate(COLORED) > 500
        white = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (white == "rgb(255, 255, 255)") == (scheme == "light")
        assert wrong == []


def test_pointer_shows_the_thumbnail_and_the_name(browser, of_images):
    with opened(browser, of_images) as (page, wrong):
        text, picture = point_at(page, 1, 0)
        # Another sample may lie on top.
        assert text.startswith("cluster ") and "photo " in text
        assert picture.startswith('url("data:image/png;base64,')
        assert wrong == []


def test_click_on_the_legend_hides_a_cluster(browser, of_images):
    with opened(browser, of_images) as (page, wrong):
        before = page.evaluate(COLORED)
        button = page.locator('#legend [data-cluster="1"]')
        button.click()
        page.wait_for_function(f"() => ({COLORED})() < {0.9 * before}")
        assert button.get_attribute("aria-pressed") == "false"
        # By the keyboard too.
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => ({COLORED})() > {0.95 * before}")
        page.get_by_text("hide all").click()
        page.wait_for_function(f"() => ({COLORED})() < {0.1 * before}")
        assert wrong == []


def test_map_changes_its_space(browser, of_images):
    with opened(browser, of_images) as (page, wrong):
        before = page.evaluate(PLACE, [0, 0])
        page.get_by_label("data as given").check()
        moved = f"() => String(({PLACE})([0, 0])) !== '{before[0]},{before[1]}'"
        page.wait_for_function(moved)
        assert page.evaluate(COLORED) > 500
        assert wrong == []


def test_narrow_page_does_not_scroll_sideways(browser, of_images):
    size = {"width": 360, "height": 740}
    with opened(browser, of_images, viewport=size) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_names_of_a_table_do_nothing_in_the_page(browser, tmp_path):
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>@row ${x}"
    values = np.where(np.arange(60) % 3 == 0, evil, "plain")
    frame = pd.DataFrame({"size": np.arange(60.0) % 3, evil: values})
    data = load_table(frame, name=evil)
    write_run(tmp_path, data, np.arange(60) % 3)
    with opened(browser, write_report(tmp_path, data)) as (page, wrong):
        text, _ = point_at(page, 0, 0)
        assert text.count(evil) == 2  # the name of the column, and the value
        assert wrong == []
