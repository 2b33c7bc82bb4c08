"""DBOS' side of the crash: a workflow of steps under one id, on SQLite or PostgreSQL; it takes MODE from the address."""

import os
import sys
import time
from pathlib import Path

from dbos import DBOS, SetWorkflowID

log, database, count = sys.argv[1], sys.argv[2], int(sys.argv[4])
address = database if "://" in database else "sqlite:///" + database
DBOS(config={"name": "crash", "system_database_url": address, "log_level": "ERROR", "run_admin_server": False})


@DBOS.step()
def step(number: int) -> int:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{number}\n".encode())
    os.close(file)
    time.sleep(0.002)
    return number


@DBOS.workflow()
def linear(steps: int) -> list[int]:
    return [step(number) for number in range(steps)]


DBOS.launch()
Path(log + ".ready").touch()
with SetWorkflowID("crash"):
    handle = DBOS.start_workflow(linear, count)
Path(log + ".done").write_text(str(handle.get_result(polling_interval_sec=0.01)))
DBOS.destroy()
