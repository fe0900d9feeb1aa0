"""``pbx webhook add|list|remove|pause|resume|replay|status``: events posted to URLs of others."""

from __future__ import annotations

import argparse
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import (
    actor,
    add_options,
    data_directory,
    print_json,
    print_table,
    settings_of,
)
from pbx.cli.reading import as_json, show_time
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.datadir import DataDirectory
    from pbx.domain.webhooks import WebhookState
    from pbx.eventlog import EmbeddedLog
    from pbx.settings import Settings
    from pbx.webhooks.progress import Progress
    from pbx.webhooks.store import ProgressStore

NOW: Final = "now"
START: Final = "start"
MAX_SECRET_FILE: Final = 1000
"""Characters of a file that holds a secret."""


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("webhook", help="post events to URLs: add, list, replay, status")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    add = actions.add_parser(
        "add",
        help="post the events that fit to a URL, signed",
        description="Signatures are those of Standard Webhooks. Deliveries are in order, at least "
        "once, and tried for days; docs/feeds.md shows a receiver.",
    )
    add.add_argument("url", help="https://HOST/PATH")
    secret = add.add_mutually_exclusive_group(required=True)
    secret.add_argument(
        "--secret-file", type=Path, metavar="FILE", help="a file with the secret, whsec_…"
    )
    secret.add_argument(
        "--generate", action="store_true", help="make a secret and print it, this once"
    )
    for name, what in (
        ("--type", "leg.answered, leg.answered.v1 or 'leg.*'"),
        ("--category", "such as pbx.calls"),
        ("--stream", "such as 'account/*'"),
    ):
        add.add_argument(
            name, action="append", default=[], metavar="T", help=f"{what} (repeatable)"
        )
    add.add_argument("--domain", default="", help="only this domain's events")
    _add_after(add, NOW)
    add.add_argument(
        "--batch", type=int, default=1, metavar="N", help="up to N events a request, as a list"
    )
    add.add_argument(
        "--allow-private",
        action="store_true",
        help="it may go to private networks and this machine",
    )
    add.add_argument("--allow-http", action="store_true", help="it may do without TLS")
    add_options(add)
    add.set_defaults(run=_add)

    for name, what, run in (
        ("list", "list the webhooks", _list),
        ("status", "show how far they are, and what is wrong", _status),
    ):
        listing = actions.add_parser(name, help=what)
        add_options(listing)
        listing.set_defaults(run=run)

    for name, what, run in (
        ("remove", "end a webhook", _remove),
        ("pause", "stop deliveries and keep their place", _pause),
        ("resume", "go on with a webhook that was paused", _resume),
        ("replay", "deliver anew behind a position", _replay),
    ):
        order = actions.add_parser(name, help=what)
        order.add_argument("id", help="as the list shows it")
        if name == "replay":
            _add_after(order, None)
        add_options(order)
        order.set_defaults(run=run)


def _add_after(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--after",
        metavar="POSITION",
        default=default,
        required=default is None,
        help=f"begin behind this position, or {START}, or {NOW}"
        + (f" (default {default})" if default else ""),
    )


def _position(log: EmbeddedLog, text: str) -> str:
    if text == NOW:
        return log.feed_head()
    return "" if text == START else text


@contextlib.contextmanager
def _changing(data: DataDirectory) -> Iterator[EmbeddedLog]:
    from pbx.cli.administration import changing_log

    with changing_log(data) as log:
        yield log


def _add(arguments: argparse.Namespace) -> int:
    from pbx.webhooks.commands import Wanted, add_webhook
    from pbx.webhooks.signature import generate_secret

    secret = (
        generate_secret(secrets.token_bytes) if arguments.generate else _read(arguments.secret_file)
    )
    with _changing(data_directory(arguments, create=True)) as log:
        hook = add_webhook(
            log,
            Wanted(
                url=arguments.url,
                secret=secret,
                after=_position(log, arguments.after),
                categories=arguments.category,
                types=arguments.type,
                streams=arguments.stream,
                domain=arguments.domain,
                batch=arguments.batch,
                allow_private=arguments.allow_private,
                allow_http=arguments.allow_http,
            ),
            actor=actor(),
            random=secrets.token_bytes,
        )
    if arguments.json:
        print_json({"id": hook.webhook_id, **({"secret": secret} if arguments.generate else {})})
    else:
        print(f"webhook {hook.webhook_id} added; see: pbx webhook status")
        if arguments.generate:
            print(f"its secret, shown this once: {secret}")
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")[:MAX_SECRET_FILE].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"cannot read the secret in {file}: {error}") from error


def _hooks(data: DataDirectory) -> tuple[list[WebhookState], str]:
    """Webhooks that exist, without their secrets, and the log's head."""
    from pbx.domain.webhooks import NO_WEBHOOK, evolve_webhook
    from pbx.eventlog import open_log
    from pbx.eventlog.folded import Folded

    log = open_log(data.path, unseal=False)
    try:
        head = log.feed_head()
        found = Folded(log, "webhook", NO_WEBHOOK, evolve_webhook).refresh()
    finally:
        log.close()
    return [hook for hook in found.values() if hook.exists], head


def _list(arguments: argparse.Namespace) -> int:
    hooks, _ = _hooks(data_directory(arguments))
    if arguments.json:
        print_json(
            [
                {
                    "id": hook.webhook_id,
                    "url": hook.url,
                    "categories": list(hook.categories),
                    "types": list(hook.types),
                    "streams": list(hook.streams),
                    "domain": hook.domain,
                    "batch": hook.batch,
                    "allow_private": hook.allow_private,
                    "allow_http": hook.allow_http,
                    "paused": hook.paused,
                }
                for hook in hooks
            ]
        )
        return 0
    print_table(
        ("ID", "URL", "EVENTS", "DOMAIN", "STATE"),
        [
            (
                hook.webhook_id,
                hook.url,
                " ".join((*hook.categories, *hook.types, *hook.streams)) or "all",
                hook.domain or "-",
                f"paused: {hook.paused}" if hook.paused else "on",
            )
            for hook in hooks
        ],
    )
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from pbx.webhooks.progress import level

    data = data_directory(arguments)
    hooks, head = _hooks(data)
    with contextlib.closing(_progress(data, settings_of(arguments))) as store:
        rows = [
            (hook, level(store.load(hook.webhook_id), hook), store.deliverer(hook.webhook_id))
            for hook in hooks
        ]
    if arguments.json:
        print_json([_status_row(hook, progress, head, node) for hook, progress, node in rows])
        return 0
    print_table(
        ("ID", "DELIVERED", "LAST (UTC)", "NODE", "POSITION", "OF", "STATE"),
        [
            (
                hook.webhook_id,
                progress.delivered,
                show_time(progress.delivered_ns),
                node or "-",
                progress.after or "-",
                head,
                _condition(hook, progress),
            )
            for hook, progress, node in rows
        ],
    )
    return 0


def _progress(data: DataDirectory, settings: Settings) -> ProgressStore:
    """How far webhooks got: this server's file, or what the nodes have in common."""
    from pbx.webhooks.store import PROGRESS_FILE, ProgressFile, SharedProgress

    if not settings.readmodel.url:
        return ProgressFile(data.path / PROGRESS_FILE)
    from pbx.readmodel import open_read_model
    from pbx.readmodel.webhook_rows import WebhookRows

    return SharedProgress(WebhookRows(open_read_model(data.path, settings.readmodel.url), ""))


def _condition(hook: WebhookState, progress: Progress) -> str:
    if hook.paused:
        return f"paused: {hook.paused}"
    if progress.failures:
        return (
            f"failed {progress.failures} times since {show_time(progress.failing_since_ns)}: "
            f"{progress.error}; next try {show_time(progress.next_try_ns)}"
        )
    return "on"


def _status_row(hook: WebhookState, progress: Progress, head: str, node: str) -> dict[str, Any]:
    return as_json(
        {
            "id": hook.webhook_id,
            "url": hook.url,
            "node": node,
            "position": progress.after,
            "head": head,
            "delivered": progress.delivered,
            "last_delivery_ns": progress.delivered_ns,
            "failures": progress.failures,
            "failing_since_ns": progress.failing_since_ns,
            "next_try_ns": progress.next_try_ns,
            "error": progress.error,
            "paused": hook.paused,
        }
    )


def _remove(arguments: argparse.Namespace) -> int:
    from pbx.eventlog import open_keys
    from pbx.webhooks.commands import remove_webhook

    data = data_directory(arguments)
    with _changing(data) as log:
        remove_webhook(log, arguments.id, actor=actor(), erase=open_keys(data.path).erase)
    return _done(arguments, "removed")


def _pause(arguments: argparse.Namespace) -> int:
    from pbx.webhooks.commands import pause_webhook

    with _changing(data_directory(arguments)) as log:
        pause_webhook(log, arguments.id, f"by {actor()}", actor=actor())
    return _done(arguments, "paused")


def _resume(arguments: argparse.Namespace) -> int:
    from pbx.webhooks.commands import resume_webhook

    with _changing(data_directory(arguments)) as log:
        resume_webhook(log, arguments.id, actor=actor())
    return _done(arguments, "resumed")


def _replay(arguments: argparse.Namespace) -> int:
    from pbx.webhooks.commands import replay_webhook

    with _changing(data_directory(arguments)) as log:
        replay_webhook(log, arguments.id, _position(log, arguments.after), actor=actor())
    return _done(arguments, "replayed")


def _done(arguments: argparse.Namespace, what: str) -> int:
    if arguments.json:
        print_json({"id": arguments.id, "state": what})
    else:
        print(f"webhook {arguments.id} {what}")
    return 0
