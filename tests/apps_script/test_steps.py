"""Each type of step: what it does, what it refuses, and how the refusal reads."""

from typing import Any

import httpx
import pytest

from tests.apps_script.simulator import OWNERS, Json, Simulator, send_step, step

SHEET = "sample-spreadsheet"


def one(simulator: Simulator, kind: str, /, **args: Any) -> Json:
    """The result of a flow of one step."""
    answer = simulator.run(step("it", kind, **args))
    assert answer["ok"] is True, answer
    result: Json = answer["result"]["it"]
    return result


def refusal(simulator: Simulator, kind: str, /, **args: Any) -> Json:
    answer = simulator.run(step("it", kind, **args))
    assert answer["ok"] is False, answer
    error: Json = answer["error"]
    assert error["step"] == "it"
    return error


def thread_ids(simulator: Simulator, query: str, most: int = 5) -> list[str]:
    found = one(simulator, "gmail.search", query=query, max=most)
    return [thread["id"] for thread in found["threads"]]


def test_search_describes_threads(simulator: Simulator) -> None:
    found = one(simulator, "gmail.search", query="subject:invoice has:attachment", max=3)
    assert found["count"] == 3
    thread = found["threads"][0]
    assert set(thread) == {
        "id",
        "subject",
        "from",
        "date",
        "messageCount",
        "unread",
        "hasAttachments",
        "labels",
    }
    assert thread["subject"] == "Invoice 2024-017 for March"
    assert thread["hasAttachments"] is True
    assert thread["date"].endswith("Z")


def test_search_gives_twenty_threads_unless_told(simulator: Simulator) -> None:
    assert one(simulator, "gmail.search", query="in:anywhere")["count"] == 20
    assert one(simulator, "gmail.search", query="in:anywhere", max=100)["count"] == 100


def test_a_search_without_hits_is_no_error(simulator: Simulator) -> None:
    assert one(simulator, "gmail.search", query="zyxwv") == {"threads": [], "count": 0}


def test_a_label_is_made_added_and_removed(simulator: Simulator) -> None:
    ids = thread_ids(simulator, "from:amy", 2)
    done = one(simulator, "gmail.label", threads=ids, label="To do/today")
    assert done == {"label": "To do/today", "changed": 2}
    assert sorted(thread_ids(simulator, "label:to-do-today")) == sorted(ids)
    one(simulator, "gmail.label", threads=ids[:1], label="To do/today", remove=True)
    assert thread_ids(simulator, "label:to-do-today") == ids[1:]


def test_removing_a_label_that_does_not_exist_changes_nothing(simulator: Simulator) -> None:
    ids = thread_ids(simulator, "from:amy", 2)
    done = one(simulator, "gmail.label", threads=ids, label="Nowhere", remove=True)
    assert done == {"label": "Nowhere", "changed": 0}


def test_threads_are_taken_as_search_returns_them(simulator: Simulator) -> None:
    find = step("find", "gmail.search", query="in:inbox", max=4)
    answer = simulator.run(find, step("gone", "gmail.archive", threads="{{find.threads}}"))
    assert answer["result"]["gone"] == {"archived": 4}
    ids = {thread["id"] for thread in answer["result"]["find"]["threads"]}
    assert not ids & set(thread_ids(simulator, "in:inbox", 100))


def test_a_draft_is_kept_and_not_sent(simulator: Simulator) -> None:
    args = {"to": "bob@example.com", "subject": "Plan for zebras", "body": "b", "html_body": "<b>b"}
    assert one(simulator, "gmail.draft", **args)["draftId"].startswith("r")
    assert len(thread_ids(simulator, "in:drafts subject:zebras")) == 1
    assert simulator.call({"op": "ping"})["result"]["mailRemaining"] == 100


def test_a_mail_is_sent_to_all_recipients(simulator: Simulator) -> None:
    recipients = {"to": "a@example.com, B <b@example.com>", "cc": "c@example.com", "bcc": "d@e.org"}
    answer = simulator.run(
        step("it", "gmail.send", subject="s", body="b", reply_to="me@example.com", **recipients)
    )
    assert answer["result"]["it"] == {"sent": 1, "to": recipients["to"]}
    assert answer["usage"] == {"mail": 4, "gmail": 0, "urlfetch": 0}
    assert simulator.call({"op": "ping"})["result"]["mailRemaining"] == 96


def test_attachments_are_saved_into_a_folder(simulator: Simulator) -> None:
    ids = thread_ids(simulator, "subject:photos", 2)
    saved = one(simulator, "drive.save_attachments", threads=ids, folder="Photos", max=3)
    assert saved["saved"] == 3
    assert {file["name"] for file in saved["files"]} == {"photo-1.png", "photo-2.png"}
    assert all(file["bytes"] == 72 for file in saved["files"])
    assert [row["kind"] for row in simulator.effects()] == ["drive.file"] * 3


def test_threads_without_attachments_save_nothing(simulator: Simulator) -> None:
    ids = thread_ids(simulator, "subject:lunch -has:attachment", 1)
    saved = one(simulator, "drive.save_attachments", threads=ids, folder="None")
    assert saved == {"saved": 0, "files": []}


@pytest.mark.parametrize("place", [{}, {"folder": "Reports", "mime_type": "text/csv"}])
def test_a_file_is_created(simulator: Simulator, place: Json) -> None:
    made = one(simulator, "drive.create_file", name="ü.csv", content="a;b", **place)
    assert made["name"] == "ü.csv"
    assert made["fileId"]


def test_rows_are_appended(simulator: Simulator) -> None:
    rows = [["a", 1, None], ["a", 1, None], [{"deep": True}, False, 2.5]]
    done = one(simulator, "sheets.append_rows", spreadsheet=SHEET, rows=rows)
    assert done == {"appended": 3, "sheet": "Sheet1"}
    named = one(simulator, "sheets.append_rows", spreadsheet=SHEET, rows=[[1]], sheet="Archive")
    assert named == {"appended": 1, "sheet": "Archive"}
    assert len(simulator.effects()) == 4
    assert simulator.summary()["duplicate_effects"] == 0


def test_text_of_strangers_is_no_formula(simulator: Simulator) -> None:
    cells = ['=IMPORTDATA("https://evil.example")', "+1+2", "-A1", "@x", "-5", "+49", "plain"]
    one(simulator, "sheets.append_rows", spreadsheet=SHEET, rows=[cells])
    rows = simulator.control("GET", f"sheets?owner={OWNERS[0]}")[SHEET][0]["newestRows"]
    assert rows == [cells]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"calendar": OWNERS[0], "description": "d", "location": "l", "guests": ["a@example.com"]},
    ],
)
def test_an_event_is_created(simulator: Simulator, more: Json) -> None:
    times = {"start": "2025-03-30T10:00:00+02:00", "end": "2025-03-30T11:00:00+02:00"}
    made = one(simulator, "calendar.create_event", title="Review", **times, **more)
    assert made["eventId"].endswith("@google.com")


MAIL = {"to": "a@example.com", "subject": "s", "body": "b"}
TIMES = {"start": "2025-03-30T10:00:00Z", "end": "2025-03-30T11:00:00Z"}
UNKNOWN_THREAD = "18ffffffffffffff"

BAD_ARGUMENTS = [
    ("gmail.search", {}, "query is required"),
    ("gmail.search", {"query": 5}, "query must be a string"),
    ("gmail.search", {"query": "x", "max": 0}, "max must be a whole number from 1 to 100"),
    ("gmail.search", {"query": "x", "max": 101}, "max must be a whole number from 1 to 100"),
    ("gmail.search", {"query": "x", "max": 1.5}, "max must be a whole number from 1 to 100"),
    ("gmail.search", {"query": "x", "limit": 3}, "limit is no argument of gmail.search"),
    ("gmail.label", {"threads": []}, "label is required"),
    ("gmail.label", {"threads": [], "label": " "}, "label must be a string that is not empty"),
    ("gmail.label", {"threads": "abc", "label": "x"}, "threads must be a list"),
    ("gmail.label", {"threads": [], "label": "x", "remove": 1}, "remove must be true or false"),
    ("gmail.archive", {}, "threads is required"),
    ("gmail.draft", {**MAIL, "to": ""}, "to must be a string that is not empty"),
    ("gmail.draft", {**MAIL, "reply_to": "x"}, "reply_to is no argument of gmail.draft"),
    ("gmail.send", {"to": "a@example.com", "body": "b"}, "subject is required"),
    ("gmail.send", {**MAIL, "cc": ["x"]}, "cc must be a string"),
    ("drive.save_attachments", {"threads": []}, "folder is required"),
    ("drive.create_file", {"name": "x"}, "content is required"),
    ("drive.create_file", {"name": "x", "content": {}}, "content must be a string"),
    ("sheets.append_rows", {"spreadsheet": SHEET}, "rows is required"),
    (
        "sheets.append_rows",
        {"spreadsheet": SHEET, "rows": ["a"]},
        "rows must be a list of rows, each a list of cells",
    ),
    (
        "sheets.append_rows",
        {"spreadsheet": SHEET, "rows": [[1]] * 501},
        "rows must have at most 500 rows",
    ),
    ("calendar.create_event", {"title": "t", "start": TIMES["start"]}, "end is required"),
    (
        "calendar.create_event",
        {"title": "t", **TIMES, "start": "tomorrow"},
        "start must be a time as ISO 8601 has it",
    ),
    (
        "calendar.create_event",
        {"title": "t", **TIMES, "end": TIMES["start"]},
        "end must be later than start",
    ),
    ("transform", {}, "template is required"),
    ("transform", {"template": 1, "each": 5}, "each must be a list"),
]


@pytest.mark.parametrize(("kind", "args", "message"), BAD_ARGUMENTS)
def test_a_bad_argument_is_refused_by_its_name(
    simulator: Simulator, kind: str, args: Json, message: str
) -> None:
    error = refusal(simulator, kind, **args)
    assert error["message"] == message
    assert (error["kind"], error["code"]) == ("user", "BAD_ARGUMENT")
    assert (error["ran"], error["retryable"]) == ("none", False)
    assert simulator.effects() == []


@pytest.mark.parametrize(
    ("kind", "args", "code"),
    [
        ("gmail.archive", {"threads": [UNKNOWN_THREAD]}, "NOT_FOUND"),
        ("gmail.archive", {"threads": [{"subject": "no id"}]}, "NOT_FOUND"),
        ("gmail.send", {**MAIL, "to": "nobody"}, "BAD_RECIPIENT"),
        ("gmail.send", {**MAIL, "cc": "a@example.com,"}, "BAD_RECIPIENT"),
        ("gmail.send", {**MAIL, "bcc": ",".join(["x@example.com"] * 50)}, "LIMIT_EXCEEDED"),
        ("gmail.send", {**MAIL, "body": "x" * 210_000}, "LIMIT_EXCEEDED"),
        ("sheets.append_rows", {"spreadsheet": "nowhere", "rows": [[1]]}, "NOT_FOUND"),
        ("sheets.append_rows", {"spreadsheet": SHEET, "rows": [], "sheet": "No"}, "NOT_FOUND"),
        ("calendar.create_event", {"title": "t", **TIMES, "calendar": "no"}, "NOT_FOUND"),
    ],
)
def test_what_google_refuses_is_the_users_error(
    simulator: Simulator, kind: str, args: Json, code: str
) -> None:
    error = refusal(simulator, kind, **args)
    assert (error["kind"], error["code"], error["ran"]) == ("user", code, "none")
    assert simulator.effects() == []


def test_an_error_tells_nothing_of_what_was_written(simulator: Simulator) -> None:
    secret = "canary-4711@nowhere"
    error = refusal(simulator, "gmail.send", to=secret, subject=secret, body=secret)
    assert "canary" not in str(error)


def test_rows_appended_in_part_need_review(simulator: Simulator) -> None:
    """One row is in the sheet when the run dies: nobody may append it again."""
    rows = step("rows", "sheets.append_rows", spreadsheet=SHEET, rows=[[1], [2], [3]])
    body = simulator.run_body(rows)
    simulator.inject("killed_mid_effect", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        simulator.first_hop(simulator.envelope(body).signed())
    simulator.advance(340, scripts=True)
    assert simulator.call(body)["error"]["code"] == "NEEDS_REVIEW"
    assert len(simulator.effects()) == 1


@pytest.mark.parametrize(
    ("steps", "code", "named"),
    [
        ([], "BAD_STEPS", None),
        ("steps", "BAD_STEPS", None),
        ([send_step(f"s{i}") for i in range(21)], "BAD_STEPS", None),
        ([step("it", "gmail.burn")], "UNKNOWN_STEP_TYPE", "it"),
        ([step("it", "constructor")], "UNKNOWN_STEP_TYPE", "it"),
        ([step("It", "transform", template=1)], "BAD_STEP_NAME", None),
        ([step("input", "transform", template=1)], "BAD_STEP_NAME", None),
        ([send_step("a"), send_step("a")], "BAD_STEP_NAME", None),
        ([{"name": "it", "type": "transform", "args": []}], "BAD_ARGUMENT", "it"),
    ],
)
def test_a_flow_out_of_shape_runs_no_step(
    simulator: Simulator, steps: Any, code: str, named: str | None
) -> None:
    body = {**simulator.run_body(), "steps": steps}
    error = simulator.call(body)["error"]
    assert (error["kind"], error["code"], error["step"]) == ("user", code, named)
    assert simulator.effects() == []


def test_the_whole_flow_is_checked_before_its_first_step(simulator: Simulator) -> None:
    answer = simulator.run(send_step(), step("later", "gmail.burn"))
    assert answer["error"]["step"] == "later"
    assert simulator.effects() == []


def test_an_error_in_a_later_step_names_it_and_what_ran(simulator: Simulator) -> None:
    answer = simulator.run(send_step(), step("later", "gmail.archive", threads=[UNKNOWN_THREAD]))
    error = answer["error"]
    assert (error["step"], error["ran"], error["kind"]) == ("later", "partial", "user")


def test_effects_are_booked_to_their_steps(simulator: Simulator) -> None:
    answer = simulator.run(
        send_step("hello"), step("file", "drive.create_file", name="n", content="c")
    )
    rows = simulator.effects(answer["executionId"])
    assert [(row["step"], row["kind"]) for row in rows] == [
        ("hello", "gmail.send"),
        ("file", "drive.file"),
    ]
    assert {row["instance"] for row in rows} == {"local-1"}
    assert {row["owner"] for row in rows} == {OWNERS[0]}


def test_accounts_do_not_share_mailboxes(simulator: Simulator) -> None:
    simulator.run(step("it", "gmail.draft", **{**MAIL, "subject": "zebras"}), instance="local-3")
    assert thread_ids(simulator, "in:drafts subject:zebras") == []
