"""The page of `moa serve`, in a real browser."""

import asyncio
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import chromium
from playwright.sync_api import expect
from server import ChatServer
from serving import Serving, memory_store

from moa_graph import MoAConfig
from moa_graph.store import open_store

MOA = Path(sys.executable).parent / "moa"
ANSWER = "the final answer comes in many small words"
LONG = " ".join(f"word{number}" for number in range(60))

expect.set_options(timeout=8_000)


@pytest.fixture(scope="module")
def models():
    """The provider of all models."""
    with ChatServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(models):
    """Let every model answer at once, until a test says otherwise."""
    models.calls.clear()
    models.models.clear()
    models.model("w", reply=ANSWER)


def write_mixture(folder, url, name, layers, extra=""):
    names = sorted({agent for layer in layers for agent in layer} | {"w"})
    options = f'base_url = "{url}", max_retries = 0'
    agents = "".join(f'{each} = {{ model = "openai:{each}", {options} }}\n' for each in names)
    path = folder / f"{name}.toml"
    head = f'name = "{name}"\nlayers = {layers!r}\naggregator = "w"\n{extra}\n'
    path.write_text(f"{head}[agents]\n{agents}", encoding="utf-8")
    return path


def serve(folder, *words):
    """Start `moa serve`; give the process and its address."""
    log = folder / "log.txt"
    with log.open("w") as stderr:
        command = [MOA, "serve", "--port", "0", "--db", folder / "runs.sqlite", *words]
        process = subprocess.Popen(command, stderr=stderr)
    while process.poll() is None:
        if found := re.search(r"(http://\S+)/v1", log.read_text()):
            return process, found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def site(models, tmp_path_factory):
    """The address of a server with a plain, a hasty and a wide mixture, and its database."""
    folder = tmp_path_factory.mktemp("site")
    pair = [["a", "b"], ["a", "b"]]
    wide = [[f"m{number}" for number in range(12)]] * 4
    files = [
        write_mixture(folder, models.url, "plain", pair, 'prices = {"openai:a" = [1000, 1000]}'),
        write_mixture(folder, models.url, "hasty", pair, "grace = 0.3"),
        write_mixture(folder, models.url, "wide", wide),
    ]
    words = [word for path in files for word in ("--config", path)]
    process, url = serve(folder, *words)
    yield url, folder / "runs.sqlite"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def new_page(browser):
    """Open pages which may neither complain nor ask anybody but their server."""
    contexts, complaints = [], []

    def make(url, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: m.type in {"error", "warning"} and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: check_host(request.url, url))
        page.goto(url)
        expect(page.locator("#mixture option")).not_to_have_count(0)
        return page

    def check_host(asked, url):
        if urlsplit(asked).netloc not in {urlsplit(url).netloc, ""}:
            complaints.append(f"asked for {asked}")

    make.complaints = complaints
    yield make
    for context in contexts:
        context.close()
    expected = re.compile("the server responded with a status of 4(01|04|09)")
    assert [each for each in complaints if not expected.search(each)] == []


@pytest.fixture
def page(site, new_page):
    return new_page(site[0])


def ask(page, question="why?", mixture="plain"):
    page.select_option("#mixture", mixture)
    page.fill("#question", question)
    page.press("#question", "Enter")


def cell(page, node):
    return page.locator(f'[data-node="{node}"]')


def status(page, node, wanted):
    expect(cell(page, node)).to_have_attribute("data-status", wanted)


def answered(page, text=ANSWER):
    expect(page.locator("#answer-text")).to_have_text(text)
    expect(page.locator('#steps [aria-current="step"]')).to_have_text("Answer")


def thread_of(page):
    page.wait_for_url(re.compile("#."))
    return urlsplit(page.url).fragment


def step(page, label):
    page.locator("#steps").get_by_role("button", name=label, exact=True).click()
    expect(page.locator('#steps [aria-current="step"]')).to_have_text(label)


def test_tokens_of_two_branches_arrive_side_by_side(page, models):
    for name in ("a", "b"):
        models.model(name, reply=f"{name} says {LONG}", chunk_delay=0.03)
    ask(page)
    for name in ("a", "b"):
        status(page, f"layer_1_{name}", "running")
        expect(cell(page, f"layer_1_{name}").locator(".tail")).to_contain_text("word")
    status(page, "layer_2_a", "waiting")
    expect(page.locator("#status")).to_contain_text("waiting for a, b")
    answered(page)


def test_final_answer_streams_and_cost_adds_up(page, models):
    models.model("w", reply=LONG, chunk_delay=0.05)
    ask(page)
    expect(page.locator("#answer-text")).to_contain_text("word5 ")
    status(page, "aggregator", "running")
    assert "word59" not in page.locator("#answer-text").inner_text()
    answered(page, LONG)
    expect(page.locator("#totals")).to_contain_text(re.compile(r"tokens · at least ~\$0\.\d"))


def test_failure_is_shown_as_what_it_is(page, models):
    models.model("b", always=500)
    ask(page)
    answered(page)
    status(page, "layer_1_b", "failed")
    expect(cell(page, "layer_1_b")).to_contain_text("scripted failure 500")
    expect(page.locator("#status")).to_have_text("Answered without 2 of 4 proposals.")


def test_straggler_is_shown_as_cut_off(page, models):
    models.model("b", latency=60)
    ask(page, mixture="hasty")
    answered(page)
    status(page, "layer_1_b", "cut off")
    expect(cell(page, "layer_1_b")).to_contain_text("the quorum was in")


def test_stopped_run_is_resumed_by_the_page_without_asking_stored_answers_again(page, models):
    models.model("b", latency=60)
    ask(page)
    status(page, "layer_1_a", "answered")
    page.click("#stop")
    expect(page.locator("#status")).to_contain_text("Not finished")
    status(page, "layer_1_a", "answered")
    status(page, "layer_1_b", "waiting")
    models.model("b")
    page.click("#resume")
    answered(page)
    assert len(models.calls_of("a")) == 2
    assert len(models.calls_of("b")) == 3


def test_command_line_goes_on_with_what_was_stopped_in_the_page(page, models, site):
    models.model("b", latency=60)
    ask(page)
    status(page, "layer_1_a", "answered")
    page.click("#stop")
    expect(page.locator("#resume")).to_be_visible()
    models.model("b")
    thread = thread_of(page)
    command = [MOA, "resume", thread, "--db", site[1]]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == ANSWER
    page.reload()
    answered(page)


def test_lost_quorum_is_told_with_its_causes_and_resumed(page, models):
    models.model("a", faults=[500])
    models.model("b", faults=[503])
    ask(page)
    alert = page.locator("#alert")
    expect(alert).to_contain_text("layer 1: 0 of 2 proposers answered, 1 must")
    expect(alert).to_contain_text("scripted failure 503")
    status(page, "layer_1_a", "failed")
    page.reload()
    expect(alert).to_contain_text("scripted failure 503")
    page.click("#resume")
    answered(page)
    expect(alert).to_be_hidden()


def test_run_goes_on_without_the_page_and_a_reload_finds_it(page, models, site, new_page):
    models.model("a", reply=LONG, chunk_delay=0.05)
    ask(page)
    expect(cell(page, "layer_1_a").locator(".tail")).to_contain_text("word")
    page.reload()
    status(page, "layer_1_a", "running")
    expect(cell(page, "layer_1_a").locator(".tail")).to_contain_text("word")
    address = page.url
    page.close()
    second = new_page(address)
    answered(second)
    assert len(models.calls_of("a")) == 2


def test_two_tabs_watch_one_run(page, models, new_page):
    models.model("w", reply=LONG, chunk_delay=0.05)
    ask(page)
    thread_of(page)
    second = new_page(page.url)
    expect(second.locator("#answer-text")).to_contain_text("word5 ")
    second.keyboard.press("Escape")
    for each in (page, second):
        expect(each.locator("#resume")).to_be_visible()


def test_threads_are_listed_and_a_second_question_knows_the_first(page, models):
    ask(page, "first?")
    answered(page)
    page.fill("#question", "second?")
    page.click("#ask")
    expect(page.locator("#conversation .question.open")).to_have_text("second?")
    answered(page)
    contents = [message["content"] for message in models.calls_of("a")[2].messages]
    assert contents[-3:] == ["first?", ANSWER, "second?"]
    expect(page.locator('#list [aria-current="page"]')).to_contain_text("second?")
    page.click("#new")
    expect(page.locator("#welcome")).to_be_visible()
    page.locator("#list a", has_text="second?").first.click()
    answered(page)


def test_edited_and_dropped_proposals_make_a_fork(page, models):
    ask(page)
    answered(page)
    step(page, "Layer 2 answered")
    cell(page, "layer_2_a").click()
    page.click("text=Edit")
    page.fill("#edit", "A **better** proposal.")
    page.click("text=Save the change")
    expect(cell(page, "layer_2_a")).to_contain_text("edited")
    cell(page, "layer_2_b").click()
    page.locator("#detail").get_by_role("button", name="Drop").click()
    expect(page.locator("#changes")).to_contain_text("a edited, b dropped")
    models.model("w", reply="another answer")
    page.click("#go-on")
    answered(page, "another answer")
    assert len(models.calls_of("a")) == len(models.calls_of("b")) == 2
    read = models.calls_of("w")[1].messages[0]["content"]
    assert read.endswith("\n1. A **better** proposal.")
    status(page, "layer_2_b", "dropped")
    expect(page.locator("#steps")).to_contain_text("Layer 2 edited")
    expect(page.locator("#branch option")).to_have_count(2)
    page.select_option("#branch", index=0)
    expect(page.locator("#answer-text")).to_have_text(ANSWER)


def test_proposal_is_asked_again_from_where_it_is_seen(page, models):
    models.model("a", faults=[None, 500])
    ask(page)
    answered(page)
    cell(page, "layer_2_a").click()
    page.click("text=Change this proposal")
    expect(page.locator('#steps [aria-current="step"]')).to_have_text("Layer 2 answered")
    page.click("text=Ask again")
    page.click("#go-on")
    answered(page)
    status(page, "layer_2_a", "answered")
    assert len(models.calls_of("a")) == 3
    assert len(models.calls_of("b")) == 2


def test_earlier_step_is_gone_on_from_as_it_was(page, models):
    ask(page)
    answered(page)
    step(page, "Layer 1 gathered")
    status(page, "layer_1_a", "answered")
    status(page, "layer_2_a", "waiting")
    page.click("#go-on")
    answered(page)
    assert len(models.calls_of("a")) == 3
    assert len(models.calls_of("w")) == 2


def test_address_of_no_thread_is_told(site, new_page):
    page = new_page(f"{site[0]}/#%")
    expect(page.locator("#alert")).to_have_text("no thread '%'")
    ask(page)
    answered(page)


def test_page_catches_up_with_what_was_done_elsewhere(page, new_page):
    ask(page)
    answered(page)
    second = new_page(page.url)
    answered(second)
    step(second, "Layer 2 gathered")
    second.click("#go-on")
    expect(second.locator("#branch option")).to_have_count(2)
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#branch option")).to_have_count(2)


def test_markup_of_models_stays_text(page, models):
    evil = (
        "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\n\n"
        "[click](javascript:window.hacked=1) [data](data:text/html,x) [good](https://example.org/)\n\n"
        "![picture](https://example.org/x.png) <svg onload=alert(1)>\n\n```\n</code><b>\n```"
    )
    for name in ("a", "b", "w"):
        models.model(name, reply=evil)
    ask(page, evil)
    expect(page.locator("#answer-text")).to_contain_text("<script>window.hacked = 1</script>")
    expect(page.locator("#steps button")).to_have_count(6)
    cell(page, "layer_1_a").click()
    for place in ("#answer-text", "#detail .text"):
        text = page.locator(place)
        expect(text).to_contain_text("[click](javascript:window.hacked=1)")
        assert text.locator("script, img, svg, b").count() == 0
        links = text.locator("a").evaluate_all("all => all.map(a => [a.href, a.rel])")
        safe = "noopener noreferrer"
        assert links == [["https://example.org/", safe], ["https://example.org/x.png", safe]]
    assert page.evaluate("window.hacked") is None


def test_markdown_is_laid_out(page, models):
    text = (
        "# Title\n\nA *word*, `code` and **more**.\n\n- one\n  - inner\n- two\n\n3. third\n\n> said"
    )
    models.model("w", reply=f"{text}\n\n```py\nx = '<b>'\n```")
    ask(page)
    answer = page.locator("#answer-text")
    expect(answer.locator("pre code")).to_have_text("x = '<b>'")
    for selector, wanted in {
        "h3": "Title",
        "em": "word",
        "strong": "more",
        "ul ul li": "inner",
        "ol[start='3'] li": "third",
        "blockquote p": "said",
    }.items():
        expect(answer.locator(selector)).to_have_text(wanted)


def test_everything_is_done_by_keyboard(page, models):
    models.model("w", reply=LONG, chunk_delay=0.05)
    page.select_option("#mixture", "plain")
    page.locator("#question").focus()
    page.keyboard.type("why?")
    page.keyboard.press("Enter")
    status(page, "aggregator", "running")
    page.keyboard.press("Escape")
    expect(page.locator("#resume")).to_be_visible()
    page.locator("#resume").press("Enter")
    models.model("w", reply=ANSWER)
    answered(page)
    page.locator('#steps [aria-current="step"]').focus()
    page.keyboard.press("ArrowLeft")
    current = page.locator('#steps [aria-current="step"]')
    expect(current).to_have_text("Layer 2 gathered")
    expect(current).to_be_focused()
    page.keyboard.press("Home")
    expect(current).to_have_text("Question")
    outline = current.evaluate("each => getComputedStyle(each).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("mixture", ["plain", "wide"])
def test_narrow_window_needs_no_sideways_scrolling(new_page, site, models, mixture):
    models.model("w", reply=f"{'x' * 300}\n\n    {LONG}\n\n```\n{'y' * 300}\n```", chunk_delay=0.03)
    page = new_page(site[0], viewport={"width": 360, "height": 700})
    ask(page, "w" * 200, mixture)
    width = "document.documentElement.scrollWidth"
    status(page, "aggregator", "running")
    assert page.evaluate(width) == 360
    expect(page.locator("#steps button")).not_to_have_count(0)
    assert page.evaluate(width) == 360
    page.click("#menu")
    expect(page.locator("#new")).to_be_visible()
    assert page.evaluate(width) == 360


CONTRAST = """() => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const probe = document.createElement('i');
    probe.style.color = style.getPropertyValue(name);
    document.body.append(probe);
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((each) => {
      const c = each / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    probe.remove();
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const pairs = [['ink', 'paper'], ['ink', 'ground'], ['dim', 'paper'], ['dim', 'ground'],
    ['good', 'paper'], ['bad', 'bad-soft'], ['dim', 'bad-soft'], ['cut', 'cut-soft'],
    ['dim', 'cut-soft'], ['accent', 'paper'], ['accent-ink', 'accent'], ['hub', 'hub-soft'],
    ['ink', 'accent-soft'], ['dim', 'accent-soft']];
  return pairs.map(([front, back]) => {
    const [a, b] = [light('--' + front), light('--' + back)].sort((x, y) => y - x);
    return [front, back, (a + 0.05) / (b + 0.05)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_readable(new_page, site, scheme):
    page = new_page(site[0], color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 128) == (scheme == "dark")
    assert [each for each in page.evaluate(CONTRAST) if each[2] < 4.5] == []


def test_thread_that_another_process_runs_is_told(page, models, site):
    models.model("b", latency=60)
    ask(page)
    status(page, "layer_1_a", "answered")
    page.click("#stop")
    expect(page.locator("#resume")).to_be_visible()
    thread = thread_of(page)

    async def hold():
        async with open_store(str(site[1])) as store, store.lock(thread):
            await asyncio.to_thread(held.wait)

    held = threading.Event()
    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    try:
        page.wait_for_timeout(300)
        page.click("#resume")
        expect(page.locator("#alert")).to_contain_text("is being run by another process")
    finally:
        held.set()
        holder.join()


def test_page_asks_for_the_key_and_keeps_it_for_the_tab(models, tmp_path, browser):
    mixture = MoAConfig.load(write_mixture(tmp_path, models.url, "plain", [["a"]]))
    with Serving(mixture, store=memory_store(), api_key="secret-key-1") as serving:
        context = browser.new_context()
        page = context.new_page()
        page.goto(serving.url)
        page.fill("#key", "wrong")
        page.press("#key", "Enter")
        expect(page.locator("#key-error")).to_have_text("That key was refused.")
        page.fill("#key", "secret-key-1")
        page.press("#key", "Enter")
        ask(page)
        answered(page)
        page.reload()
        answered(page)
        expect(page.locator("#key-dialog")).to_be_hidden()
        assert "secret-key-1" not in page.content()
        context.close()
