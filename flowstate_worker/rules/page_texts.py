"""What Google's pages and exceptions say, in the languages in which they have been seen.

Text is the last resort of the classification: it is only read where hop, redirect, status and
envelope decided nothing. Patterns are matched against lower-case plain text; the languages are
English, German, Portuguese and Persian, and what is the same in all of them (function names,
product names) comes first.
"""

import html
import re
from typing import NamedTuple


class PageText(NamedTuple):
    row: str
    pattern: re.Pattern[str]


def _any(row: str, *alternatives: str) -> PageText:
    return PageText(row, re.compile("|".join(alternatives)))


TEXTS: tuple[PageText, ...] = (
    _any(
        "concurrency",
        r"too many scripts running simultaneously",
        r"too many simultaneous invocations",
        r"zu viele (skripte?s?|aufrufe).{0,40}gleichzeitig",
        r"zu viele gleichzeitige (aufrufe|skript)",
        r"(muitos|demasiados) scripts.{0,40}(simult[aâ]ne|ao mesmo tempo)",
        r"(muitas|demasiadas) (invocações|chamadas) simultâneas",
        r"اسکریپت.{0,60}(همزمان|هم‌زمان)",
    ),
    _any(
        "daily_quota",
        r"service invoked too many times for one day",
        r"too much computer time used for one day",
        r"(dienst|service).{0,40}an einem tag",
        r"zu viel rechenzeit.{0,40}tag",
        r"(serviço|service).{0,60}(em um|num|no mesmo|por) dia",
        r"tempo (demais )?de computa.{0,60}dia",
        r"(سرویس|زمان).{0,80}یک روز",
    ),
    _any(
        "rate_service",
        r"service invoked too many times in a short time",
        r"(dienst|service).{0,40}(in|innerhalb) kurzer zeit",
        r"(serviço|service).{0,60}(curto|pouco) (período|espaço de )?\s?(de )?tempo",
        r"سرویس.{0,60}(مدت|زمان) (زمان )?(کوتاه|کم)",
    ),
    _any(
        "execution_timeout",
        r"exceeded maximum execution time",
        r"maximale ausführungs(zeit|dauer)",
        r"tempo máximo de execução",
        r"حداکثر زمان اجرا",
    ),
    _any(
        "lock",
        r"lock timeout: another process was holding the lock",
        r"(zeitüberschreitung|timeout).{0,20}(sperre|lock)",
        r"(tempo limite|timeout).{0,20}(bloqueio|lock)",
        r"مهلت قفل",
    ),
    _any(
        "no_return",
        r"script completed but did not return anything",
        r"skript.{0,60}(nichts|keinen? \S+|keine \S+) zurück",
        r"script.{0,40}(concluíd|finaliz|terminou).{0,40}não (retornou|devolveu)",
        r"اسکریپت.{0,60}(برنگرداند|برنگردانده|بازنگرداند)",
    ),
    _any(
        "function_missing",
        r"(not found|nicht gefunden|não encontrad[ao]|یافت نشد|پیدا نشد)\s*:\s*do(post|get)",
        r"do(post|get)\b.{0,20}(not found|nicht gefunden|não (foi )?encontrad[ao])",
        r"do(post|get)\b.{0,20}(یافت نشد|پیدا نشد)",
    ),
    _any(
        "needs_auth_inside",
        r"authorization is required to perform that action",
        r"autorisierung.{0,60}(aktion|vorgang)",
        r"autorização.{0,60}(ação|operação)",
        r"مجوز.{0,60}(اقدام|عملیات)",
    ),
    _any(
        "needs_auth",
        r"authori[sz]ation needed",
        r"autorisierung (erforderlich|nötig|benötigt)",
        r"autorização necessária|necessária autorização",
        r"(مجوز|تأیید) (لازم|مورد نیاز)|نیاز به مجوز",
    ),
    _any(
        "login",
        r"meet google drive",
        r"das ist google drive|google drive kennenlernen",
        r"conheça o google drive",
        r"با google drive آشنا",
    ),
    _any(
        "http_auth",
        r"google drive\s*[-–—]\s*(access denied|zugriff verweigert|acesso negado|دسترسی)",
    ),
    _any("flow_error", r"limit exceeded: .{0,80}per message", r"limiet overschreden"),
    _any(
        "script_error",
        r"\((line|zeile|linha|linea|línea|ligne|خط|سطر)\s*\d+",
        r"\b(type|reference|syntax|range)error\b",
    ),
    _any(
        "transient_page",
        r"a server error occurred",
        r"service unavailable",
        r"please wait a bit and try again",
        r"(serverfehler|dienst nicht verfügbar)",
        r"(erro (no|do|de) servidor|serviço indisponível)",
        r"خطا.{0,12}سرور|سرویس در دسترس نیست",
    ),
)

_INVISIBLE = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_SPACES = re.compile(r"\s+")


def plain_text(page: str) -> str:
    """The visible text of an HTML page, lower case, in one line."""
    return _SPACES.sub(" ", html.unescape(_INVISIBLE.sub(" ", page))).strip().lower()


def row_of_text(text: str) -> str | None:
    """The key of the row that a page's or an exception's text stands for, if any."""
    plain = plain_text(text)
    return next((entry.row for entry in TEXTS if entry.pattern.search(plain)), None)
