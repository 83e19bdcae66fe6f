"""Templates: how values of the input and of earlier steps come into arguments."""

from typing import Any

import pytest

from tests.apps_script.simulator import Simulator, step

INPUT: dict[str, Any] = {
    "name": "Zoë",
    "count": 3,
    "zero": 0,
    "none": None,
    "flag": False,
    "list": ["a", {"b": "c"}],
    "deep": {"er": {"est": [10, 20]}},
    "looks": "{{input.name}}",
}


def rendered(simulator: Simulator, template: Any, **args: Any) -> Any:
    answer = simulator.run(step("it", "transform", template=template, **args), input=INPUT)
    assert answer["ok"] is True, answer
    return answer["result"]["it"]["output"]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("{{input.name}}", "Zoë"),
        ("{{ input.name }}", "Zoë"),
        ("{{input.count}}", 3),
        ("{{input.zero}}", 0),
        ("{{input.none}}", None),
        ("{{input.flag}}", False),
        ("{{input.list}}", ["a", {"b": "c"}]),
        ("{{input.list.1.b}}", "c"),
        ("{{input.deep.er.est.1}}", 20),
        ("{{input}}", INPUT),
        ("{{input.looks}}", "{{input.name}}"),
        ("n={{input.count}}, {{input.name}}!", "n=3, Zoë!"),
        ("{{input.count}}{{input.count}}", "33"),
        ("list {{input.list}}", 'list ["a",{"b":"c"}]'),
        ("none [{{input.none}}] {{input.flag}}", "none [] false"),
        (["{{input.count}}", {"k": "{{input.name}}"}], [3, {"k": "Zoë"}]),
        ({"{{input.name}}": 1}, {"{{input.name}}": 1}),
        (42, 42),
        (None, None),
        ("{ {input.name} }", "{ {input.name} }"),
    ],
)
def test_a_template_is_filled(simulator: Simulator, template: Any, value: Any) -> None:
    assert rendered(simulator, template) == value


def test_each_item_fills_the_template_once(simulator: Simulator) -> None:
    template = ["{{item.b}}", "{{input.count}}", "<{{item.b}}>"]
    items = [{"b": 1}, {"b": "x"}]
    assert rendered(simulator, template, each=items) == [[1, 3, "<1>"], ["x", 3, "<x>"]]


def test_each_can_come_from_an_earlier_step(simulator: Simulator) -> None:
    find = step("find", "gmail.search", query="from:amy", max=2)
    rows = step("rows", "transform", each="{{find.threads}}", template=["{{item.subject}}"])
    sheet = step(
        "sheet", "sheets.append_rows", spreadsheet="{{input.sheet}}", rows="{{rows.output}}"
    )
    answer = simulator.run(find, rows, sheet, input={"sheet": "sample-spreadsheet"})
    assert answer["result"]["sheet"] == {"appended": 2, "sheet": "Sheet1"}


@pytest.mark.parametrize(
    "path",
    [
        "input.missing",
        "input.list.2",
        "input.name.length",
        "input.none.x",
        "input.constructor",
        "input.__proto__",
        "later.output",
        "item",
        "nobody.at.all",
    ],
)
def test_an_unknown_path_is_the_users_error_in_that_step(simulator: Simulator, path: str) -> None:
    first = step("first", "transform", template=1)
    broken = step("broken", "transform", template=f"{{{{{path}}}}}")
    later = step("later", "transform", template=1)
    error = simulator.run(first, broken, later, input=INPUT)["error"]
    assert (error["kind"], error["code"]) == ("user", "UNKNOWN_PATH")
    assert error["step"] == "broken"
    assert path in error["message"]


def test_a_template_may_stand_for_any_type_and_is_checked_when_filled(
    simulator: Simulator,
) -> None:
    good = step("it", "gmail.search", query="from:amy", max="{{input.count}}")
    assert simulator.run(good, input=INPUT)["result"]["it"]["count"] == 3
    bad = step("it", "gmail.search", query="from:amy", max="{{input.name}}")
    error = simulator.run(bad, input=INPUT)["error"]
    assert error["message"] == "max must be a whole number from 1 to 100"


def test_no_input_is_null(simulator: Simulator) -> None:
    body = simulator.run_body(step("it", "transform", template="{{input}}"))
    del body["input"]
    assert simulator.call(body)["result"]["it"] == {"output": None}
