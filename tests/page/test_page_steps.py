"""The page of `moa serve`, in a real browser: earlier steps, and changes at them."""

from pages import ANSWER, answered, ask, cell, status, step
from playwright.sync_api import expect


def press(page, name):
    page.locator("#side").get_by_role("button", name=name, exact=True).click()


def edit(page, node):
    cell(page, node).click()
    press(page, "Edit")


def test_edited_and_dropped_proposals_make_a_fork(page, models):
    ask(page)
    answered(page)
    step(page, "Layer 2")
    edit(page, "layer_2_a")
    page.fill("#edit", "A **better** proposal.")
    press(page, "Keep")
    expect(cell(page, "layer_2_a")).to_contain_text("edited")
    cell(page, "layer_2_b").click()
    press(page, "Drop")
    expect(page.locator("#changes")).to_contain_text("a edited, b dropped")
    models.model("w", reply="another answer")
    page.click("#go-on")
    answered(page, "another answer")
    assert len(models.calls_of("a")) == len(models.calls_of("b")) == 2
    read = models.calls_of("w")[1].messages[0]["content"]
    assert read.endswith("\n1. A **better** proposal.")
    status(page, "layer_2_b", "dropped")
    expect(page.locator("#branch option")).to_have_count(2)
    page.select_option("#branch", index=0)
    expect(page.locator("#answer-text")).to_have_text(ANSWER)


def test_proposal_is_asked_again_from_where_it_is_seen(page, models):
    models.model("a", faults=[None, 500])
    ask(page)
    answered(page)
    cell(page, "layer_2_a").click()
    press(page, "Ask again")
    expect(page.locator('#strip button[aria-current="step"]')).to_contain_text("Layer 2")
    page.click("#go-on")
    answered(page)
    status(page, "layer_2_a", "answered")
    assert len(models.calls_of("a")) == 3
    assert len(models.calls_of("b")) == 2


def test_earlier_step_is_gone_on_from_as_it_was(page, models):
    ask(page)
    answered(page)
    step(page, "Layer 1")
    status(page, "layer_1_a", "answered")
    status(page, "layer_2_a", "waiting")
    page.click("#go-on")
    answered(page)
    assert len(models.calls_of("a")) == 3
    assert len(models.calls_of("w")) == 2


def test_page_catches_up_with_what_was_done_elsewhere(page, new_page):
    ask(page)
    answered(page)
    second = new_page(page.url)
    answered(second)
    step(second, "Layer 2")
    second.click("#go-on")
    expect(second.locator("#branch option")).to_have_count(2)
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#branch option")).to_have_count(2)


def write_draft(page, node, text):
    edit(page, node)
    page.fill("#edit", text)


def test_half_written_change_is_kept_while_others_are_looked_at(page, models):
    ask(page)
    answered(page)
    step(page, "Layer 2")
    write_draft(page, "layer_2_a", "half")
    write_draft(page, "layer_2_b", "other half")
    cell(page, "layer_2_a").click()
    expect(page.locator("#edit")).to_have_value("half")
    cell(page, "layer_2_b").click()
    expect(page.locator("#edit")).to_have_value("other half")
    page.click("#go-on")
    expect(page.locator("#alert")).to_have_text("a, b: keep or cancel the change first.")
    press(page, "Cancel")
    expect(page.locator("#side .text")).to_contain_text("b on")
    cell(page, "layer_2_a").click()
    press(page, "Keep")
    page.click("#go-on")
    answered(page)
    read = models.calls_of("w")[1].messages[0]["content"]
    assert "1. half\n" in read
    assert "other half" not in read


def test_half_written_change_waits_at_its_step(page):
    ask(page)
    answered(page)
    step(page, "Layer 2")
    write_draft(page, "layer_2_a", "half")
    step(page, "Layer 1")
    expect(page.locator("#edit")).to_have_count(0)
    step(page, "Layer 2")
    expect(page.locator("#edit")).to_have_value("half")
    with page.expect_event("dialog") as asked:  # the browser's own, before anything is lost
        page.evaluate("setTimeout(() => location.reload())")
    assert asked.value.type == "beforeunload"
    expect(page.locator("#edit")).to_have_count(0)  # the test has let it be lost
    answered(page)
