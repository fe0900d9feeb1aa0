"""``/api/``: what the API has, for people, in English and Russian; and the document for programs.

Both are the same on every server of this version and tell nothing about this one, so they need no
token. The page has no script and loads nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pbx.rest import openapi
from pbx.rest.operations import JSON, PREFIX
from pbx.rest.table import OPERATIONS, TAGS
from pbx.web.auth import without_token

LANGUAGES: Final = ("en", "ru")
_WHY: Final = "it is the same on every server"
_DOCUMENT: Final = f"{PREFIX}/{openapi.FILE}"

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c1c1c;background:#fff}h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}td{padding:.25rem .75rem .25rem 0;"
    "vertical-align:top;border-top:1px solid #ddd}code{font:14px/1.5 ui-monospace,monospace}"
    "pre{background:#f4f4f4;padding:.75rem;overflow:auto}a{color:#0b57d0}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}td{border-color:#333}"
    "pre{background:#222}a{color:#8ab4f8}}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Language",
}

_WORDS: Final = {
    "en": (
        "Administration over HTTP",
        "Every request needs a token; who administers this server makes one:",
        "Then, for example:",
        "A change names the version it was made from, by the ETag of a GET sent as If-Match.",
        "The OpenAPI document, for programs",
        "На русском",
    ),
    "ru": (
        "Управление по HTTP",
        "Каждому запросу нужен токен; его создаёт администратор сервера:",
        "Затем, например:",
        "Изменение называет исходную версию: ETag ответа на GET возвращается в If-Match.",
        "Документ OpenAPI для программ",
        "In English",
    ),
}


@functools.cache
def html(language: str) -> str:
    """The page."""
    title, token, example, etag, document, other = _WORDS[language]
    other_language = LANGUAGES[1 - LANGUAGES.index(language)]
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{language}"><head><meta charset="utf-8"><title>Ringlog: {title}</title>',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<style>{_STYLE}</style></head><body>",
            f'<p><a href="?lang={other_language}" hreflang="{other_language}">{other}</a></p>',
            f"<h1>{title}</h1><p>{token}</p>",
            "<pre>pbx token create NAME --scope config:write</pre>",
            f"<p>{example}</p>",
            f'<pre>curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8010{PREFIX}/domains</pre>',
            f"<p>{etag}</p>",
            f'<p><a href="{_DOCUMENT}">{document}</a></p>',
            *_tables(language),
            "</body></html>",
            "",
        ]
    )


def _tables(language: str) -> Iterator[str]:
    index = LANGUAGES.index(language)
    for tag, titles in TAGS.items():
        yield f"<h2>{escape(titles[index])}</h2><table>"
        for operation in OPERATIONS:
            if operation.tag == tag:
                summary = (operation.summary, operation.summary_ru)[index]
                yield (
                    f"<tr><td><code>{operation.method}</code></td>"
                    f"<td><code>{escape(operation.path)}</code></td>"
                    f"<td>{escape(summary)}</td><td><code>{operation.scope}</code></td></tr>"
                )
        yield "</table>"


def language_of(request: Request) -> str:
    """``?lang=``, else the first of ``Accept-Language`` that there is."""
    asked = [request.query_params.get("lang", "")]
    header = request.headers.get("accept-language", "")
    asked += [part.partition(";")[0].strip()[:2].lower() for part in header.split(",")]
    return next((language for language in asked if language in LANGUAGES), LANGUAGES[0])


@without_token(_WHY)
async def page(request: Request) -> Response:
    """For people."""
    language = language_of(request)
    headers = {**HEADERS, "Content-Language": language}
    return Response(html(language), headers=headers, media_type="text/html")


@without_token(_WHY)
async def to_page(request: Request) -> Response:
    """The same without the slash."""
    return RedirectResponse("/api/", status_code=308)


@without_token(_WHY)
async def document(request: Request) -> Response:
    """For programs."""
    return Response(openapi.as_text(), media_type=JSON)


ROUTES: Final[list[BaseRoute]] = [
    Route("/api", to_page, methods=["GET"]),
    Route("/api/", page, methods=["GET"]),
    Route(_DOCUMENT, document, methods=["GET"]),
]
