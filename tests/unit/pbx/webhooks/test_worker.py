"""``pbx.webhooks.worker``: deliveries in order, at least once, over failures, orders and restarts.

Time is a number that sleeping moves; receivers are functions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pbx.commands import Administration
from pbx.kernel.errors import BadFilter, BadPosition, DomainError, PositionUnknown
from pbx.settings import WebhookSettings
from pbx.webhooks.commands import (
    pause_webhook,
    remove_webhook,
    replay_webhook,
    resume_webhook,
)
from pbx.webhooks.progress import Outcome
from pbx.webhooks.signature import key_of, verify
from pbx.webhooks.store import ProgressFile
from tests.support.webhook_site import SECRET, Site

DOWN = Outcome("connection refused")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(ProgressFile(tmp_path / "webhooks.sqlite3"))


def test_events_are_posted_in_order_signed_and_with_their_position(site: Site) -> None:
    hook = site.add()
    site.digits(3)
    site.deliver(lambda: len(site.posts) == 3)
    assert site.versions() == [1, 2, 3]
    for _, headers, body in site.posts:
        assert verify(key_of(SECRET), headers, body, int(site.now_s))
        assert headers["Ringlog-Event-Position"] == msgspec.json.decode(body)["position"]
    assert len({headers["webhook-id"] for _, headers, _ in site.posts}) == 3
    progress = site.store.load(hook)
    assert progress is not None
    assert (progress.after, progress.delivered) == (site.log.feed_head(), 3)


def test_what_does_not_fit_is_not_posted(site: Site) -> None:
    site.add(streams=("call/2",))
    site.digits(2, "call/1")
    site.digits(1, "call/2")
    site.deliver(lambda: len(site.posts) == 1)
    assert msgspec.json.decode(site.posts[0][2])["stream"] == "call/2"


def test_a_webhook_of_a_domain_gets_only_that(site: Site) -> None:
    Administration(site.log, actor="test").create_domain("a.example")
    site.add(domain="a.example", types=())
    site.digits(1, "call/1", "b.example")
    site.digits(1, "call/2", "a.example")
    site.deliver(lambda: any(b"leg.digit" in body for _, _, body in site.posts))
    sent = [msgspec.json.decode(body) for _, _, body in site.posts]
    assert {event["tenant"] for event in sent} == {"a.example"}
    assert sent[-1]["stream"] == "call/2"


def test_a_failure_is_tried_again_and_what_is_behind_waits(site: Site) -> None:
    site.add()
    site.digits(3)
    answers = iter([Outcome(), DOWN, DOWN, DOWN])
    site.answer = lambda url: next(answers, Outcome())
    site.deliver(lambda: len(site.posts) == 6)
    assert site.versions() == [1, 2, 2, 2, 2, 3]
    attempts = [headers["webhook-id"] for _, headers, _ in site.posts]
    assert len(set(attempts[1:5])) == 1, "the id tells a repetition"
    assert site.now_s > 1000 + 2.5 + 5 + 10


def test_a_receiver_that_fails_holds_up_nobody_else(site: Site) -> None:
    bad, good = "https://bad.example/", "https://good.example/"
    site.add(bad)
    site.add(good)
    site.digits(5)
    site.answer = lambda url: DOWN if url == bad else Outcome()
    site.deliver(lambda: len(site.versions(good)) == 5 and len(site.versions(bad)) > 3)
    assert site.versions(good) == [1, 2, 3, 4, 5]
    assert set(site.versions(bad)) == {1}


def test_batches(site: Site) -> None:
    site.add(batch=2)
    site.digits(5)
    site.deliver(lambda: len(site.posts) == 3)
    lists = [msgspec.json.decode(body) for _, _, body in site.posts]
    assert [[event["version"] for event in events] for events in lists] == [[1, 2], [3, 4], [5]]
    assert site.posts[0][1]["Ringlog-Event-Position"] == lists[0][-1]["position"]


def test_it_goes_on_where_it_was_after_a_restart(site: Site) -> None:
    site.add()
    site.digits(3)
    site.deliver(lambda: len(site.posts) == 3)
    site.digits(2)
    site.deliver(lambda: len(site.posts) == 5)
    assert site.versions() == [1, 2, 3, 4, 5]


def test_a_pause_between_attempts_outlives_a_restart(site: Site) -> None:
    site.add()
    site.digits(1)
    site.answer = lambda url: DOWN
    site.deliver(lambda: len(site.posts) >= 4)
    waiting = site.store.load(f"{1:016x}")
    assert waiting is not None
    assert waiting.failures >= 4
    assert waiting.next_try_ns > 0


def test_a_webhook_begins_behind_its_position(site: Site) -> None:
    site.digits(3)
    site.add(after=site.log.feed_head())
    site.digits(1)
    site.deliver(lambda: len(site.posts) == 1)
    assert site.versions() == [4]


def test_a_dead_receiver_is_paused_where_everybody_sees_it(site: Site) -> None:
    hook = site.add()
    site.digits(2)
    site.answer = lambda url: DOWN if site.now_s > 1000 else Outcome()
    site.settings = WebhookSettings(give_up_s=60)
    site.now_s += 1
    site.deliver(lambda: False)  # ends by itself: no webhook is left to serve
    state = site.hook(hook)
    assert state.paused == "no success for 60 s: connection refused"
    assert set(site.versions()) == {1}
    last = site.log.at(site.log.head())
    assert last is not None
    assert last.type == "webhook.paused.v1"

    site.answer = lambda url: Outcome()
    resume_webhook(site.log, hook, actor="test")
    site.posts.clear()
    site.deliver(lambda: len(site.posts) == 2)
    assert site.versions() == [1, 2], "nothing was lost meanwhile"


def test_a_receiver_that_is_gone_is_paused_at_once(site: Site) -> None:
    hook = site.add()
    site.digits(1)
    site.answer = lambda url: Outcome("the receiver answered 410", gone=True)
    site.deliver(lambda: False)
    assert len(site.posts) == 1
    assert "gone" in site.hook(hook).paused


def test_a_replay_delivers_again_with_the_same_ids(site: Site) -> None:
    hook = site.add()
    site.digits(3)
    site.deliver(lambda: len(site.posts) == 3)
    second = msgspec.json.decode(site.posts[0][2])["position"]
    replay_webhook(site.log, hook, second, actor="test")
    site.deliver(lambda: len(site.posts) == 5)
    assert site.versions() == [1, 2, 3, 2, 3]
    ids = [headers["webhook-id"] for _, headers, _ in site.posts]
    assert ids[3:] == ids[1:3]


def test_orders_are_followed_while_it_runs(site: Site) -> None:
    """Paused after the first event, resumed, and removed in the end."""
    hook = site.add()
    site.digits(1)
    done: list[str] = []

    def conduct() -> bool:
        posts = len(site.posts)
        if posts == 1 and not done:
            other = site.add("https://other.example/")  # keeps the loop running
            pause_webhook(site.log, hook, "by a test", actor="test")
            site.digits(1)
            done.append(other)
        elif done and len(site.versions("https://other.example/")) == 2 and len(done) == 1:
            assert site.versions() == [1], "it was paused"
            resume_webhook(site.log, hook, actor="test")
            done.append("resumed")
        elif site.versions() == [1, 2] and len(done) == 2:
            remove_webhook(site.log, hook, actor="test", erase=done.append)
            site.digits(1)
            done.append("removed")
        return len(site.versions("https://other.example/")) == 3

    site.deliver(conduct)
    assert site.versions() == [1, 2]
    assert f"webhook/{hook}" in done
    assert not site.hook(hook).exists


def test_a_position_of_another_log_pauses_it(site: Site) -> None:
    """The log was restored from a backup: going on would skip what is written next."""
    hook = site.add()
    site.digits(3)
    site.deliver(lambda: len(site.posts) == 3)
    progress = site.store.load(hook)
    assert progress is not None
    site.store.save(hook, replace(progress, after="999"))
    site.deliver(lambda: False)
    assert "lost its end" in site.hook(hook).paused


def test_more_webhooks_than_are_served_are_left_out(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.settings = WebhookSettings(most=1)
    site.add("https://first.example/")
    site.add("https://second.example/")
    site.digits(1)
    site.deliver(lambda: len(site.posts) == 1)
    assert [url for url, _, _ in site.posts] == ["https://first.example/"]
    assert "1 webhooks are left out" in caplog.text


def test_a_client_that_fails_in_an_unknown_way_is_tried_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.add()
    site.digits(1)
    answers = iter([RuntimeError("a defect")])

    def answer(url: str) -> Outcome:
        for error in answers:
            raise error
        return Outcome()

    site.answer = answer
    site.deliver(lambda: len(site.posts) == 2)
    assert "a defect" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"url": "http://hooks.example/"}, DomainError),
        ({"url": "https://10.0.0.1/"}, DomainError),
        ({"batch": 0}, DomainError),
        ({"batch": 101}, DomainError),
        ({"domain": "none.example"}, DomainError),
        ({"after": "x"}, BadPosition),
        ({"after": "99"}, PositionUnknown),
        ({"categories": ("calls",)}, BadFilter),
        ({"types": ("[a]",)}, BadFilter),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(
    site: Site, wanted: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        site.add(**wanted)
    assert site.log.head() == 0


def test_a_secret_is_sealed_and_never_shown(site: Site) -> None:
    hook = site.add()
    [record] = site.log.read()
    assert SECRET.encode() not in record.data
    assert SECRET not in repr(site.hook(hook))


@pytest.mark.parametrize("order", [resume_webhook, remove_webhook, replay_webhook, pause_webhook])
def test_an_order_to_an_unknown_webhook(site: Site, order: Any) -> None:
    needed: dict[Any, dict[str, Any]] = {
        remove_webhook: {"erase": print},
        replay_webhook: {"after": ""},
        pause_webhook: {"reason": "x"},
    }
    more = needed.get(order, {})
    with pytest.raises(DomainError, match="no webhook"):
        order(site.log, "none", actor="test", **more)
