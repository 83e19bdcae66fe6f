"""All checks, in the order in which one failure explains the next."""

from __future__ import annotations

from flowstate_cli.api import Api
from flowstate_cli.doctor.api import examine_api
from flowstate_cli.doctor.database import examine_database
from flowstate_cli.doctor.finding import Finding, fail, warn
from flowstate_cli.doctor.instances import examine_instances
from flowstate_cli.errors import BadInputError, CliError, NotReachableError
from flowstate_cli.project import find_project
from flowstate_cli.settings import DATABASE, Settings


def examine(settings: Settings) -> list[Finding]:
    """Every finding. Nothing is raised for what is broken: that is a finding too."""
    found: list[Finding] = []
    api: Api | None = None
    usable = False
    try:
        api = Api(settings)
    except CliError as error:
        found.append(fail("settings", error.message, error.hint))
    if api is not None:
        with api:
            findings, usable = examine_api(api)
            found.extend(findings)
            found.extend(_database(settings, api if usable else None))
            if usable:
                found.extend(_instances(api))
        return found
    return [*found, *_database(settings, None)]


def _database(settings: Settings, api: Api | None) -> list[Finding]:
    try:
        project = find_project()
    except BadInputError:
        project = None
    try:
        url = settings.database()
    except NotReachableError:
        advice = f"Set {DATABASE} to have migrations, grants, partitions and clock looked at."
        return [warn("database", "not looked at: no direct connection is set", advice)]
    return examine_database(url, project, api)


def _instances(api: Api) -> list[Finding]:
    try:
        return examine_instances(api)
    except (CliError, ValueError) as error:
        hint = error.hint if isinstance(error, CliError) else "See the FLOWSTATE_*_HOSTS settings."
        return [fail("instances", str(error), hint)]
