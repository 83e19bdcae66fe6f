"""`flowstate demo`: the whole product on this machine, judged by an independent ledger.

A throw-away stack, one worker process, and many users who queue runs of their own flows while a
share of the calls to Apps Script fails. At the end the queue's history is held against what the
simulated Google accounts saw: nothing may be lost, nothing may have been done twice.

    size       DEMO_FLOWS and DEMO_USERS
    plan       who asks for what
    flows      the five kinds of flow, and what each surely leaves behind
    faults     which calls fail, and how
    simulator  talks to the simulated Apps Script
    people     users: they sign up, store flows and queue runs, with their own tokens
    worker     the worker's process
    progress   what is shown meanwhile
    verdict    what became of every execution
    report     tables, and .flowstate/demo.json
    show       puts it all together
"""

from flowstate_cli.demo.show import run

__all__ = ["run"]
