"""The page of `moa serve`, in a real browser: the side panel, threads and welcome."""

import re

import pytest
from pages import answered, ask, cell, serve
from playwright.sync_api import expect

PHONE = {"width": 390, "height": 844}


@pytest.fixture(autouse=True)
def _worded_alike(models):
    """Let the answer be worded as one of its proposals."""
    models.model("a", reply="the final answer comes from here")
    models.model("b", reply="nothing of this is in it")


def test_proposal_is_read_beside_the_answer_and_the_focus_goes_back_to_its_tile(page):
    ask(page)
    answered(page)
    tile = cell(page, "layer_2_a").first
    tile.focus()
    page.keyboard.press("Enter")
    side = page.locator("#side")
    expect(side.locator("h2")).to_have_text("a, layer 2")
    expect(side.get_by_role("button", name=re.compile("In the answer: .* %"))).to_be_visible()
    for place in (side, page.locator("#answer-text")):
        expect(place.locator("mark.on")).to_have_text("the final answer comes")
    page.locator("#tab-proposal").focus()
    page.keyboard.press("ArrowRight")
    expect(side.locator("h2")).to_contain_text("Agreement")
    expect(page.locator("#answer-text mark.on")).to_have_count(0)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    expect(side).to_be_hidden()
    expect(tile).to_be_focused()


def test_change_says_what_it_costs_before_it_is_made(page, models):
    ask(page)
    answered(page)
    cell(page, "layer_1_b").first.click()
    expect(page.locator(".acts p")).to_contain_text("makes 3 calls")
    page.locator(".acts").get_by_role("button", name="Ask again").click()
    expect(page.locator("#changes")).to_contain_text("b to be asked again")
    asked = len(models.calls)
    page.click("#go-on")
    answered(page)
    assert len(models.calls) == asked + 4


def test_panel_of_a_phone_stands_between_strip_and_dock(new_page, site):
    page = new_page(site[0], viewport=PHONE)
    ask(page)
    answered(page)
    cell(page, "layer_1_a").first.click()
    places = {each: page.locator(each).bounding_box() for each in ("#strip", "#side", "#dock")}
    strip, side, dock = places.values()
    assert side["y"] == pytest.approx(strip["y"] + strip["height"], abs=1)
    assert side["y"] + side["height"] == pytest.approx(dock["y"], abs=1)
    assert (side["x"], side["width"]) == (0, PHONE["width"])
    cell(page, "layer_2_b").first.click()  # tiles stay in reach
    expect(page.locator("#side h2")).to_have_text("b, layer 2")


def test_picture_has_a_wire_for_each_reading(page):
    ask(page)
    answered(page)
    page.click("#more")
    picture = page.locator("#picture")
    expect(picture.locator(".tile")).to_have_count(5)
    expect(picture.locator(".wires path.used")).to_have_count(7)
    picture.locator('[data-node="layer_1_b"]').click()
    expect(page.locator("#side h2")).to_have_text("b, layer 1")


def test_threads_are_found_renamed_and_deleted(page):
    ask(page, "needle?")
    answered(page)
    page.click("#new")
    ask(page, "hay?")
    answered(page)
    page.fill("#find", "needle")
    expect(page.locator("#list li:visible")).to_have_count(1)
    page.get_by_role("button", name="More for: needle?").click()
    page.get_by_role("button", name="Rename").click()
    page.fill("#list input", "pin")
    page.press("#list input", "Enter")
    page.fill("#find", "pin")
    expect(page.locator("#list .question")).to_have_text(["pin"])
    page.get_by_role("button", name="More for: pin").click()
    page.get_by_role("button", name="Delete…").click()
    expect(page.locator(".pop p")).to_contain_text("its 1 turn")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#list")).to_contain_text("No thread contains these words.")


def test_page_without_a_model_says_how_one_comes_in(new_page, tmp_path):
    with serve(tmp_path, "--preset", "offline") as url:
        page = new_page(url)
        expect(page.locator("#welcome")).to_contain_text("No model is set up yet")
        page.get_by_role("button", name="Fill in an example").click()
        page.press("#question", "Enter")
        expect(page.locator("#answer-text")).to_contain_text("Ada Lind")
        page.close()  # it would ask the server, which is gone then
