"""Measures raptorflow beside other projects in one run: `run.py setup`, then `run.py crash`, `run.py speed` and `run.py ann`."""

import argparse
import json
from pathlib import Path

import ann
import crash
import environments
import speed


def main() -> None:
    arguments = _arguments()
    if arguments.command == "setup":
        environments.setup()
        return
    if arguments.command == "crash":
        records = crash.run(arguments.only or list(crash.SYSTEMS), arguments.kills, arguments.steps)
    elif arguments.command == "ann":
        records = ann.run(arguments.vectors, arguments.queries)
    else:
        records = speed.run(arguments.only or list(speed.WORKS), arguments.turns, arguments.rounds)
    if arguments.json:
        arguments.json.write_text("".join(json.dumps(record) + "\n" for record in records))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="make the environments and build raptorflow")
    killed = commands.add_parser("crash", help="kill -9 in the middle, and what was lost or done twice")
    killed.add_argument("--kills", type=int, default=90, help="kills a system (90)")
    killed.add_argument("--steps", type=int, default=60, help="steps of the workflow (60)")
    killed.add_argument("--only", nargs="+", choices=crash.SYSTEMS, metavar="SYSTEM", help=", ".join(crash.SYSTEMS))
    timed = commands.add_parser("speed", help="the same work by each of them")
    timed.add_argument("--turns", type=int, default=3, help="how often each program runs (3)")
    timed.add_argument("--rounds", type=int, default=5, help="measurements a turn, after one to warm up (5)")
    timed.add_argument("--only", nargs="+", choices=speed.WORKS, metavar="WORK", help=", ".join(speed.WORKS))
    near = commands.add_parser("ann", help="nearest neighbors of given vectors")
    near.add_argument("vectors", type=Path, help="an .npy of float32 rows of length 1")
    near.add_argument("queries", type=Path, help="an .npy of as many columns")
    for command in (killed, timed, near):
        command.add_argument("--json", type=Path, help="a file for what the tables say, one system a line")
    return parser.parse_args()


main()
