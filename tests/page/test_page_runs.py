"""The page of `moa serve`, in a real browser: runs, threads and access to them."""

import asyncio
import re
import subprocess
import threading
from urllib.parse import urlsplit

from browser import open_page
from pages import ANSWER, LONG, MOA, answered, ask, cell, status, thread_of, write_mixture
from playwright.sync_api import expect
from relay import Relay
from serving import Serving, memory_store
from waiting import PATIENCE, wait_for

from moa_graph import MoAConfig
from moa_graph.runs.store import open_run_store


def test_tokens_of_two_branches_arrive_side_by_side(page, models, half, seen):
    for name in ("a", "b"):
        models.model(name, reply=f"{name} says {LONG}", **half)
    ask(page)
    for name in ("a", "b"):
        status(page, f"layer_1_{name}", "running")
        expect(page.locator(f'[data-peek="layer_1_{name}"]')).to_contain_text("word")
    status(page, "layer_2_a", "waiting")
    expect(page.locator("#status")).to_contain_text("waiting for a and b")
    seen.set()
    answered(page)


def test_final_answer_streams_and_cost_adds_up(page, models, half, seen):
    models.model("w", reply=LONG, **half)
    ask(page)
    expect(page.locator("#answer-text")).to_contain_text("word5 ")
    status(page, "aggregator", "running")
    assert "word59" not in page.locator("#answer-text").inner_text()
    seen.set()
    answered(page, LONG)
    expect(page.locator("#totals")).to_contain_text(re.compile(r"tokens · at least ~\$0\.\d"))


def test_failure_is_shown_as_what_it_is(page, models):
    models.model("b", always=500)
    ask(page)
    answered(page)
    status(page, "layer_1_b", "failed")
    expect(page.locator("#banner .warn")).to_contain_text("b failed in layers 1 and 2")
    expect(page.locator("#banner .warn")).to_contain_text("scripted failure 500")
    expect(page.locator("#status")).to_have_text("Answered by 2 of 4 proposers.")


def test_straggler_is_shown_as_cut_off(page, models):
    models.model("b", always="hang")
    ask(page, mixture="hasty")
    answered(page)
    status(page, "layer_1_b", "cut off")
    expect(page.locator("#banner .warn")).to_contain_text("b was cut off")
    cell(page, "layer_1_b").click()
    expect(page.locator("#side")).to_contain_text("the quorum was reached")


def test_stopped_run_is_resumed_by_the_page_without_asking_stored_answers_again(page, models):
    models.model("b", always="hang")
    ask(page)
    status(page, "layer_1_a", "answered")
    wait_for(lambda: models.calls_of("b"))
    page.click("#stop")
    expect(page.locator("#status")).to_contain_text("Not finished")
    expect(page.locator("#alert")).to_be_hidden()
    status(page, "layer_1_a", "answered")
    status(page, "layer_1_b", "waiting")
    models.model("b")
    page.click("#resume")
    answered(page)
    assert len(models.calls_of("a")) == 2
    assert len(models.calls_of("b")) == 3


def test_command_line_goes_on_with_what_was_stopped_in_the_page(page, models, site):
    models.model("b", always="hang")
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
    place = page.locator("#banner .box.bad")
    for reload in (False, True):
        if reload:
            page.reload()
        expect(place).to_contain_text("Layer 1: 0 of 2 answered, 1 needed")
        expect(place).to_contain_text("scripted failure 503")
        expect(page.locator("#answer")).to_be_hidden()
        expect(page.locator("#alert")).to_be_hidden()
        expect(page.locator("#status")).to_contain_text("Not answered.")
        status(page, "layer_1_a", "failed")
    page.click("#resume")
    answered(page)
    expect(place).to_have_count(0)


def test_failed_aggregator_is_told_once_and_without_a_time_nobody_knows(page, models):
    models.model("w", faults=[500])
    ask(page)
    status(page, "aggregator", "failed")
    page.reload()
    status(page, "aggregator", "failed")
    expect(page.locator("#banner h3")).to_have_text("The aggregator failed")
    assert page.locator("body").inner_text().count("scripted failure 500") == 1
    expect(cell(page, "aggregator").locator(".time")).to_have_text("")


def test_run_goes_on_without_the_page_and_a_reload_finds_it(page, models, new_page, half, seen):
    models.model("a", reply=LONG, **half)
    ask(page)
    expect(page.locator('[data-peek="layer_1_a"]')).to_contain_text("word")
    page.fill("#question", "And then?")
    page.reload()
    status(page, "layer_1_a", "running")
    expect(page.locator("#question")).to_have_value("And then?")
    expect(page.locator('[data-peek="layer_1_a"]')).to_contain_text("word")
    address = page.url
    page.close()
    seen.set()
    second = new_page(address)
    answered(second)
    assert len(models.calls_of("a")) == 2


def test_two_tabs_watch_one_run(page, models, new_page, half):
    models.model("w", reply=LONG, **half)
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
    expect(page.locator("#asked")).to_have_text("second?")
    answered(page)
    contents = [message["content"] for message in models.calls_of("a")[2].messages]
    assert contents[-3:] == ["first?", ANSWER, "second?"]
    entry = page.locator('#list [aria-current="page"]')
    expect(entry).to_contain_text("first?")
    address = entry.get_attribute("href")
    page.click("#new")
    expect(page.locator("#welcome")).to_be_visible()
    page.go_back()
    answered(page)
    page.go_forward()
    expect(page.locator("#welcome")).to_be_visible()
    page.locator(f'#list a[href="{address}"]').click()
    answered(page)


def test_address_of_no_thread_is_told(site, new_page):
    page = new_page(f"{site[0]}/#%")
    expect(page.locator("#alert")).to_have_text("no thread '%'")
    ask(page)
    answered(page)


def test_thread_that_another_process_runs_is_told(page, models, site, seen):
    models.model("b", always="hang")
    ask(page)
    status(page, "layer_1_a", "answered")
    page.click("#stop")
    expect(page.locator("#resume")).to_be_visible()
    thread = thread_of(page)

    async def hold():
        async with open_run_store(str(site[1])) as store, store.lock_thread(thread):
            held.set()
            await asyncio.to_thread(seen.wait)

    held = threading.Event()
    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    try:
        assert held.wait(PATIENCE)
        page.click("#resume")
        expect(page.locator("#alert")).to_contain_text("is being run by another process")
    finally:
        seen.set()
        holder.join()


def test_page_asks_for_the_key_and_keeps_it_for_the_tab(models, tmp_path, browser):
    mixture = MoAConfig.load(write_mixture(tmp_path, models.url, "plain", [["a"]]))
    with Serving(mixture, store=memory_store(), api_key="secret-key-1") as serving:
        page = open_page(browser)
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
        page.close()


def test_enter_during_a_run_says_how_to_stop_it(page, models):
    models.model("b", always="hang")
    ask(page)
    status(page, "layer_1_b", "running")
    wait_for(lambda: models.calls_of("b"))
    question = page.locator("#question")
    expect(question).to_have_attribute("placeholder", "Write the next question")
    question.fill("and then?")
    question.press("Enter")
    expect(page.locator("#note")).to_contain_text("A run is active. Esc stops it.")
    question.press("Escape")
    expect(page.locator("#resume")).to_be_visible()
    expect(page.locator("#note")).to_be_hidden()
    expect(question).to_have_value("and then?")
    expect(question).to_have_attribute("placeholder", "Ask a further question")
    assert len(models.calls_of("b")) == 1


def test_connection_that_is_lost_within_an_answer_is_told_and_made_again(
    site, new_page, models, half, seen
):
    models.model("w", reply=LONG, **half)
    with Relay(urlsplit(site[0]).port).running() as relay:
        page = new_page(f"http://127.0.0.1:{relay.port}")
        ask(page)
        expect(page.locator("#answer-text")).to_contain_text("word5 ")
        relay.break_connections()
        expect(page.locator("#status")).to_contain_text("The connection is lost; trying again.")
        expect(page.locator("#answer-text")).to_contain_text("word5 ")
        relay.mend()
        expect(page.locator("#status")).to_have_text("The answer is coming.")
        seen.set()
        answered(page, LONG)
        page.close()  # else it goes on to ask the relay, which is gone
    new_page.complaints.clear()  # the browser's own words about its network


def test_part_of_an_answer_stays_when_the_run_is_stopped_and_after_a_reload(page, models, half):
    models.model("w", reply=LONG, **half)
    ask(page)
    expect(page.locator("#answer-text")).to_contain_text("word5 ")
    page.keyboard.press("Escape")
    for reload in (False, True):
        if reload:
            page.reload()
        expect(page.locator("#answer .ending")).to_contain_text("Stopped here.")
        expect(page.locator("#answer-text")).to_contain_text("word5 ")
    models.model("w", reply=ANSWER)
    page.locator("#resume").dblclick()
    answered(page)
    expect(page.locator("#answer .ending")).to_have_count(0)
    expect(page.locator("#alert")).to_be_hidden()
    assert len(models.calls_of("w")) == 2
