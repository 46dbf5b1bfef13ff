"""What an administrator does on the page, in a real browser."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Cloud

from .conftest import StartVisit, Visit

MARKUP = "<script>alert(1)</script>"
# Of each element with a text of its own, the contrast with the ground behind it where that is under AA.
LOW_CONTRASTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const [r, g, b] = channels(color).map((c) => linear(c / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const hasText = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")]
    .filter((each) => each.checkVisibility() && hasText(each))
    .map((each) => {
      const [a, b] = [light(getComputedStyle(each).color), light(ground(each))];
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), each.outerHTML.slice(0, 120)];
    })
    .filter(([contrast]) => contrast < 4.5);
}"""
SIDEWAYS = "document.documentElement.scrollWidth - window.innerWidth"


def die(cloud: Cloud, count: int = 1) -> None:
    cloud.send("broken", count=count)
    cloud.post("Worker", "/admin/drain", names="broken", wait=1)


def seed(cloud: Cloud) -> None:
    die(cloud, 3)
    cloud.send("again", count=2)
    cloud.post("Worker", "/admin/drain", names="again", wait=1)
    for name in (MARKUP, "a" * 200, "طلب_مدفوع", "user_7_changed", "again"):
        cloud.send(name)
    cloud.post("Worker", "/admin/pause", names="fine")


def told(page: Page) -> str:
    return " ".join(page.locator(".flash [role=status]").inner_text().split())


class TestSignals:
    def test_are_sent_and_drained(self, visit: Visit) -> None:
        page = visit.open("/admin/name?name=fine")
        page.get_by_label("How many").fill("3")
        page.get_by_label("Data, as JSON").fill('{"order": 7}')
        page.get_by_role("button", name="Send").click()
        assert told(page) == "3 test signals sent."
        expect(page.locator(".totals dd").first).to_contain_text("3 waiting")
        page.get_by_role("button", name="Drain and wait").click()
        assert told(page) == "Delivered 3 messages."
        expect(page.locator(".totals dd").first).to_have_text("0")

    def test_are_discarded_after_a_question(self, visit: Visit, cloud: Cloud) -> None:
        cloud.send("nobodys", count=2)
        page = visit.open("/admin/name?name=nobodys")
        page.get_by_role("button", name="Discard…").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Discard what waits under 1 name?")
        expect(page.get_by_text("about 2 messages, is gone for good")).to_be_visible()
        page.get_by_role("button", name="Discard for good").click()
        assert told(page) == "2 messages discarded."
        expect(page.get_by_role("heading", level=1)).to_have_text("nobodys")

    def test_are_paused_and_resumed_in_the_list(self, visit: Visit) -> None:
        page = visit.open()
        page.get_by_role("button", name="Pause fine").click()
        assert "1 name paused" in told(page)
        page.wait_for_url(re.compile("/admin/$"))
        page.reload()
        expect(page.locator(".flash")).to_have_count(0)
        expect(page.get_by_role("heading", name="1 name is paused")).to_be_visible()
        page.get_by_role("button", name="Resume fine").click()
        assert "1 name resumed" in told(page)

    def test_are_chosen_paused_and_discarded_together(self, visit: Visit, cloud: Cloud) -> None:
        for name in ("user_1_changed", "user_2_changed", "user_3_changed"):
            cloud.send(name)
        page = visit.open("/admin/?search=user_")
        page.get_by_label("Choose user_1_changed").press("Space")
        page.get_by_label("Choose user_3_changed").press("Space")
        page.get_by_role("button", name="Pause chosen…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Pause 2 names?")
        visit.keep("chosen-names")
        page.get_by_role("button", name="Pause 2 names").click()
        assert "2 names paused" in told(page)
        expect(page.get_by_label("Search names")).to_have_value("user_")
        page.get_by_label("Choose all").check()
        page.get_by_role("button", name="Discard chosen…").click()
        page.get_by_role("button", name="Discard for good").click()
        assert told(page) == "3 messages discarded."

    def test_are_searched(self, visit: Visit, cloud: Cloud) -> None:
        for number in (7, 17, 8):
            cloud.post("Worker", "/admin/pause", names=f"user_{number}_changed")
        page = visit.open()
        page.get_by_label("Search names").fill("7_CHANGED")
        page.get_by_label("Search names").press("Enter")
        page.wait_for_url(re.compile("search="))
        expect(page.locator("#names tbody th a")).to_have_text(["user_17_changed", "user_7_changed"])


class TestDeadLetters:
    def test_are_requeued_and_dropped_after_a_question(self, visit: Visit, cloud: Cloud) -> None:
        die(cloud, 3)
        page = visit.open("/admin/dead?name=broken")
        visit.keep("dead-letters")
        page.locator("input[name=ids]").first.check()
        page.get_by_role("button", name="Drop chosen…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Drop 1 dead letter of broken?")
        page.get_by_role("button", name="Drop for good").click()
        assert told(page) == "1 dead letter dropped."
        page.wait_for_url(re.compile(r"name=broken$"))
        page.reload()
        expect(page.locator(".flash")).to_have_count(0)
        page.get_by_label("Choose all").check()
        page.get_by_role("button", name="Requeue chosen…").click()
        visit.keep("confirmation")
        page.get_by_role("button", name="Requeue 2 dead letters").click()
        assert told(page) == "2 messages sent again."

    def test_of_several_names_are_requeued_together(self, visit: Visit, cloud: Cloud) -> None:
        die(cloud, 2)
        page = visit.open("/admin/dead")
        page.get_by_label("Choose all").check()
        visit.keep("dead-names")
        page.get_by_role("button", name="Requeue chosen…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Requeue all dead letters of 1 name?")
        page.get_by_role("button", name="Requeue all of 1 name").click()
        assert told(page) == "2 messages sent again."
        page.wait_for_url(re.compile("/admin/dead$"))

    def test_show_their_payload_only_when_asked(self, visit: Visit, cloud: Cloud) -> None:
        die(cloud)
        page = visit.open("/admin/dead?name=broken")
        page.get_by_role("link", name="Show the payload").click()
        expect(page.locator("pre")).to_have_text("None")


class TestMessages:
    def test_are_run_now_and_made_dead_letters(self, visit: Visit, cloud: Cloud) -> None:
        cloud.send("again", count=3)
        cloud.post("Worker", "/admin/drain", names="again", wait=1)
        page = visit.open("/admin/name?name=again")
        page.get_by_role("link", name="to retry: list them").click()
        expect(page.locator("tbody th")).to_have_count(3)
        chosen = page.get_by_role("button", name="Make dead letters…")
        expect(chosen).to_be_hidden()
        page.locator("input[name=ids]").first.check()
        expect(chosen).to_be_visible()
        chosen.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Make 1 dead letter, of again?")
        visit.keep("messages-confirmation")
        page.get_by_role("button", name="Make 1 dead letter").click()
        assert told(page) == "1 message is a dead letter now."
        page.get_by_role("button", name="Run now").first.click()
        assert "1 message is due now" in told(page)
        # While the worker runs it, it is leased, and not among those to retry.
        for _ in range(100):
            if page.locator("tbody th").count() == 2:
                break
            page.wait_for_timeout(100)
            page.reload()
        expect(page.locator("tbody th")).to_have_count(2)


def test_bad_json_leaves_the_form_as_it_was(visit: Visit) -> None:
    page = visit.open("/admin/send?name=fine")
    page.get_by_label("Data, as JSON").fill('{"order": 7')
    page.get_by_label("How many").fill("2")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("data is not JSON")
    expect(page.get_by_label("Data, as JSON")).to_have_value('{"order": 7')
    page.get_by_label("Data, as JSON").fill('{"order": 7}')
    page.get_by_role("button", name="Send").click()
    assert told(page) == "2 test signals sent."


def test_the_overview_fits_two_screens_with_sixty_names(visit: Visit, cloud: Cloud) -> None:
    seed(cloud)
    for number in range(60):
        cloud.send(f"user_{number}_changed")
    page = visit.open()
    expect(page.locator(".paging")).to_contain_text("of 6")
    assert page.evaluate("document.documentElement.scrollHeight") <= 2 * 800


class TestRefreshing:
    def open(self, visit: Visit) -> Page:
        """Open the page with a clock that a test turns on."""
        visit.page.clock.install()
        page = visit.open()
        expect(page.locator("#refresh")).to_be_visible()
        return page

    def test_shows_what_is_new_and_keeps_focus_and_place(self, visit: Visit, cloud: Cloud) -> None:
        page = self.open(visit)
        page.get_by_role("button", name="Pause broken").focus()
        page.evaluate("scrollTo(0, 300)")
        place = page.evaluate("scrollY")
        cloud.post("Worker", "/admin/pause", names="paused_elsewhere")
        page.clock.run_for(5_000)
        expect(page.locator("#names")).to_contain_text("paused_elsewhere")
        expect(page.get_by_role("button", name="Pause broken")).to_be_focused()
        assert page.evaluate("scrollY") == place

    @pytest.mark.parametrize("label", ["Drain and wait", "Discard…"])
    def test_keeps_the_focus_on_the_very_action(self, visit: Visit, cloud: Cloud, label: str) -> None:
        cloud.send("broken")
        visit.page.clock.install()
        page = visit.open("/admin/name?name=broken")
        control = page.locator("button", has_text=label).first
        control.focus()
        said = "document.activeElement.textContent"
        before = page.evaluate(said)
        page.locator("#looked").evaluate("each => { each.textContent = 'before'; }")
        page.clock.run_for(5_000)
        expect(page.locator("#looked")).not_to_have_text("before")
        assert page.evaluate(said) == before

    def test_waits_while_a_button_is_held_down(self, visit: Visit) -> None:
        page = self.open(visit)
        page.get_by_role("button", name="Pause broken").hover()
        page.mouse.down()
        page.clock.run_for(5_000)
        expect(page.locator("#refresh [role=status]")).to_have_text("Waiting while you work here")
        page.mouse.up()
        assert "1 name paused" in told(page)

    @pytest.mark.parametrize("width", [1280, 390])
    def test_moves_nothing_when_it_says_that_it_waits_or_fails(self, start_visit: StartVisit, width: int) -> None:
        page = self.open(start_visit(width=width))
        place = "document.querySelector('#names').getBoundingClientRect().top"
        before = page.evaluate(place)
        for said in ("Waiting while you work here", "Cannot be refreshed: this is from 23:59:59 UTC", "Off"):
            page.locator("#refresh [role=status]").evaluate("(each, said) => { each.textContent = said; }", said)
            assert page.evaluate(place) == before

    def test_waits_while_something_is_open_or_filled_in(self, visit: Visit, cloud: Cloud) -> None:
        page = self.open(visit)
        page.get_by_label("Search names").fill("els")
        cloud.post("Worker", "/admin/pause", names="paused_elsewhere")
        page.clock.run_for(5_000)
        expect(page.locator("#refresh [role=status]")).to_have_text("Waiting while you work here")
        expect(page.get_by_label("Search names")).to_have_value("els")
        page.get_by_label("Search names").fill("")
        page.get_by_role("link", name="Overview").focus()
        page.clock.run_for(5_000)
        expect(page.locator("#names")).to_contain_text("paused_elsewhere")

    def test_waits_while_names_are_chosen(self, visit: Visit, cloud: Cloud) -> None:
        page = self.open(visit)
        page.get_by_label("Choose fine").check()
        cloud.post("Worker", "/admin/pause", names="paused_elsewhere")
        page.clock.run_for(5_000)
        expect(page.locator("#refresh [role=status]")).to_have_text("Waiting while you work here")
        page.get_by_label("Choose fine").uncheck()
        page.clock.run_for(5_000)
        expect(page.locator("#names")).to_contain_text("paused_elsewhere")
        expect(page.get_by_label("Choose fine")).to_be_focused()
        expect(page.get_by_label("Choose all")).to_be_visible()

    def test_is_switched_off_and_stays_off(self, visit: Visit, cloud: Cloud) -> None:
        page = self.open(visit)
        page.get_by_role("button", name="Auto-refresh").click()
        page.reload()
        expect(page.locator("#refresh [role=status]")).to_have_text("Off")
        cloud.post("Worker", "/admin/pause", names="paused_elsewhere")
        page.clock.run_for(60_000)
        expect(page.locator("#names")).not_to_contain_text("paused_elsewhere")

    def test_says_when_it_fails_and_when_it_works_again(self, visit: Visit) -> None:
        page = self.open(visit)
        page.context.set_offline(True)
        page.clock.run_for(5_000)
        expect(page.locator("#refresh [role=status]")).to_contain_text("Cannot be refreshed")
        page.context.set_offline(False)
        page.clock.run_for(5_000)
        expect(page.locator("#refresh [role=status]")).to_have_text("Every 5 s")


class TestThePast:
    @pytest.fixture(autouse=True)
    def nothing(self, cloud: Cloud) -> None:
        """Nothing of what the worker counted in other tests: who looks has it write that, and then it is forgotten."""
        cloud.get("Worker", "/admin/status")
        cloud.flush()

    @pytest.mark.parametrize("width", [1280, 390])
    def test_is_drawn_as_it_is_counted_and_there_as_a_table(
        self, start_visit: StartVisit, cloud: Cloud, width: int
    ) -> None:
        cloud.send("fine", count=5)
        cloud.post("Worker", "/admin/drain", names="fine", wait=1)
        page = start_visit(width=width).open()
        picture = page.locator(".picture", has_text="Delivered")
        expect(picture.locator("figcaption span")).to_have_text("5 in all")
        # A drawing fills its room, the newest bar at the right end of it; what nobody knows is to its left.
        room = picture.locator("svg").bounding_box()
        done = picture.locator("path.done").bounding_box()
        gap = picture.locator("path.gap").bounding_box()
        assert room is not None
        assert done is not None
        assert gap is not None
        assert room["x"] + room["width"] - done["x"] - done["width"] < room["width"] / 20
        assert done["height"] > room["height"] * 0.9
        assert gap["x"] == pytest.approx(room["x"], abs=1)
        page.locator(".past summary").press("Enter")
        row = page.locator(".numbers tbody tr").last
        expect(row.locator("td").first).to_have_text("5")
        expect(page.locator(".numbers tbody tr").first.get_by_text("not known")).to_be_visible()
        page.get_by_role("link", name="Fortnight").click()
        page.wait_for_url(re.compile("window=fortnight"))
        expect(picture.locator("figcaption span")).to_have_text("5 in all")

    def test_of_a_receiver_is_a_link_away(self, visit: Visit, cloud: Cloud) -> None:
        cloud.send("fine", count=2)
        cloud.post("Worker", "/admin/drain", names="fine", wait=1)
        page = visit.open("/admin/receivers")
        page.get_by_role("link", name="fine", exact=True).click()
        expect(page.locator(".picture", has_text="Delivered").locator("figcaption span")).to_have_text("2 in all")
        page.get_by_role("link", name="Hour").click()
        expect(page.locator(".picture", has_text="Delivered").locator("figcaption span")).to_have_text("2 in all")


def test_everything_works_without_javascript(start_visit: StartVisit, cloud: Cloud) -> None:
    die(cloud, 2)
    page = start_visit(java_script_enabled=False).open()
    expect(page.locator("#refresh")).to_be_hidden()
    page.get_by_role("button", name="Pause broken").click()
    assert "1 name paused" in told(page)
    expect(page.get_by_label("Choose all")).to_be_hidden()
    page.get_by_label("Choose broken").check()
    page.get_by_role("button", name="Resume chosen…").click()
    page.get_by_role("button", name="Resume 1 name").click()
    assert "1 name resumed" in told(page)
    page.get_by_role("link", name="2 dead letters of broken").click()
    expect(page.get_by_label("Choose all")).to_be_hidden()
    page.get_by_role("button", name="Drop all…").click()
    page.get_by_role("button", name="Drop for good").click()
    assert told(page) == "2 dead letters dropped."


PATHS = {
    "overview": "/admin/",
    "unmatched": "/admin/?show=unmatched",
    "name": "/admin/name?name=broken",
    "messages": "/admin/messages?name=again",
    "messages-long-name": f"/admin/messages?name={'x' * 200}",
    "send": "/admin/send?name=broken",
    "receivers": "/admin/receivers",
    "dead": "/admin/dead?name=broken",
    "dead-names": "/admin/dead",
    "confirm": "/admin/dead/confirm?name=broken&action=drop-all",
    "deliveries": "/admin/deliveries",
    "history": "/admin/history?window=day",
    "error": "/admin/name",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read(start_visit: StartVisit, cloud: Cloud, scheme: str) -> None:
    """In both themes, at a desk and on a telephone, everything open: enough contrast, nothing out of sight."""
    seed(cloud)
    for width in (1280, 390):
        visit = start_visit(width=width, color_scheme=scheme, reduced_motion="reduce")
        for name, path in PATHS.items():
            page = visit.open(path)
            visit.keep(f"{name}-{width}-{scheme}")
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert page.evaluate(SIDEWAYS) <= 0, (name, width)
            assert page.evaluate(LOW_CONTRASTS) == [], (name, width)


def test_headings_and_labels_tell_a_screen_reader_where_it_is(visit: Visit, cloud: Cloud) -> None:
    seed(cloud)
    for path in PATHS.values():
        page = visit.open(path)
        levels = [int(heading.evaluate("each => each.tagName[1]")) for heading in page.get_by_role("heading").all()]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        expect(page.get_by_role("main")).to_have_count(1)
        # Each control says by itself what it is for, and no two in a list say the same.
        unnamed = page.locator("button, input:not([type=hidden]), textarea, summary, a").evaluate_all(
            "each => each.filter(e => !(e.textContent || e.labels?.length)).map(e => e.outerHTML)"
        )
        assert unnamed == []
        buttons = page.locator("td button, .problems button").all_inner_texts()
        assert len(buttons) == len(set(buttons))


def test_a_name_with_markup_is_text(visit: Visit, cloud: Cloud) -> None:
    cloud.send(MARKUP)
    page = visit.open("/admin/?show=unmatched")
    page.get_by_role("link", name=MARKUP).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
