"""A real SLURM cluster on this one machine, for tests: munge, slurmctld and several slurmd, all under one folder.

Nothing outside the folder is touched: own keys, sockets, ports and pid files. A100s are declared as generic
resources over device nodes that nobody opens. Needs root and Debian's slurmctld, slurmd, slurm-client, munge.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.checkout import BIN, PATIENCE, user_environment

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
SEARCH = "/usr/sbin:/sbin:" + os.environ.get("PATH", "/usr/bin:/bin")


def missing_programs() -> list[str]:
    """What SLURM programs this machine lacks; also "root" where this is not root."""
    gone = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    return gone + ([] if os.geteuid() == 0 else ["root"])


def free_ports(count: int) -> list[int]:
    """TCP ports on loopback that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class Cluster:
    """`nodes` nodes n1..; the first `gpu_nodes` have `gpus` A100s each. `with Cluster(folder) as cluster: ...`"""

    folder: Path
    nodes: int = 3
    gpu_nodes: int = 2
    gpus: int = 2
    cpus: int = 4
    memory_mb: int = 16000
    extra: tuple[str, ...] = ()
    seconds_to_start: float = field(default=0.0, init=False)

    @property
    def conf(self) -> Path:
        return self.folder / "etc/slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which sbatch, squeue and snakemake speak to this cluster."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("SLURM")},
            "SLURM_CONF": str(self.conf),
            # The nodes share this machine's few cores: threads that spin while they wait would block each other.
            "OMP_WAIT_POLICY": "PASSIVE",
            "PATH": SEARCH,
        }

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of a command run against this cluster."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def __enter__(self) -> Cluster:
        start = time.monotonic()
        for name in ("etc", "state", "log", "run", "munge"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        try:
            self._start_munge()
            self._write_conf()
            self.start_controller()
            for node in range(1, self.nodes + 1):
                self.start_node(f"n{node}")
            self.wait_for(lambda: set(self.states().values()) == {"idle"}, 300, "all nodes idle")
        except BaseException:
            self.__exit__()
            raise
        self.seconds_to_start = time.monotonic() - start
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid("slurmctld"):
            subprocess.run(["scancel", "--user=root"], env=self.environment, timeout=PATIENCE, check=False)
            time.sleep(0.5)
        for node in range(1, self.nodes + 1):
            self.stop(f"slurmd-n{node}")
        self.stop("slurmctld")
        self.stop("munged")

    def pid(self, daemon: str) -> int | None:
        """Process id of a running daemon: `slurmctld`, `slurmd-n1`, `munged`."""
        file = self.folder / f"run/{daemon}.pid"
        try:
            pid = int(file.read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def stop(self, daemon: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End one daemon, by pid, and wait until it is gone."""
        pid = self.pid(daemon)
        if pid:
            os.kill(pid, how)
            self.wait_for(lambda: self.pid(daemon) is None, 300, f"{daemon} to end")

    def start_controller(self) -> None:
        self.run("slurmctld", "-i")

    def start_node(self, node: str) -> None:
        self.run("slurmd", "-N", node)

    def states(self) -> dict[str, str]:
        """State of each node as sinfo names it."""
        lines = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False).splitlines()
        return dict(line.split() for line in lines)

    def jobs(self) -> dict[int, str]:
        """State of each job in the queue, by job id."""
        lines = self.run("squeue", "-h", "-o", "%i %T", check=False).splitlines()
        return {int(job): state for job, state in (line.split() for line in lines)}

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until `condition()` holds; raises TimeoutError that says what was waited for."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s for {what}; logs are in {self.folder / 'log'}")
            time.sleep(0.1)

    def _start_munge(self) -> None:
        key = self.folder / "munge/munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        key.parent.chmod(0o700)
        run = self.folder / "run"
        self.run(
            "munged", "--force", f"--key-file={key}", f"--socket={run}/munge.sock", f"--pid-file={run}/munged.pid",
            f"--log-file={self.folder}/log/munged.log", f"--seed-file={self.folder}/munge/seed",
        )  # fmt: skip

    def _write_conf(self) -> None:
        host, folder = socket.gethostname().split(".")[0], self.folder
        controller, *ports = free_ports(self.nodes + 1)
        nodes = [
            f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            + (f" Gres=gpu:a100:{self.gpus} Feature=a100,80gb" if i <= self.gpu_nodes else " Feature=cpuonly")
            for i, port in enumerate(ports, start=1)
        ]
        lines = [
            "ClusterName=test",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={controller}",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={folder}/run/munge.sock",
            "SlurmdParameters=config_overrides",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/run/slurmd-%n",
            f"SlurmctldPidFile={folder}/run/slurmctld.pid",
            f"SlurmdPidFile={folder}/run/slurmd-%n.pid",
            f"SlurmctldLogFile={folder}/log/slurmctld.log",
            f"SlurmdLogFile={folder}/log/slurmd-%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SwitchType=switch/none",
            "MpiDefault=none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "SchedulerParameters=batch_sched_delay=0,sched_interval=2",
            "ReturnToService=2",
            "SlurmdTimeout=10",
            "KillWait=2",
            "MinJobAge=300",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=task=1",
            "JobAcctGatherParams=OverMemoryKill",
            "AccountingStorageType=accounting_storage/none",
            "GresTypes=gpu",
            "PreemptType=preempt/partition_prio",
            "PreemptMode=REQUEUE",
            *self.extra,
            f"NodeName=DEFAULT CPUs={self.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={self.cpus}"
            f" ThreadsPerCore=1 RealMemory={self.memory_mb} State=UNKNOWN",
            *nodes,
            f"PartitionName=gpu Nodes=n[1-{self.gpu_nodes}] PreemptMode=OFF MaxTime=2-00:00:00 DefaultTime=10 State=UP",
            f"PartitionName=cpu Nodes=n[1-{self.nodes}] PreemptMode=OFF MaxTime=1-00:00:00 DefaultTime=10"
            " Default=YES State=UP",
            # Jobs in `urgent` take the place of jobs in `low`; those in the other partitions are left alone.
            f"PartitionName=low Nodes=n[1-{self.nodes}] PriorityTier=1 DefaultTime=10 State=UP",
            f"PartitionName=urgent Nodes=n[1-{self.nodes}] PriorityTier=9 PreemptMode=OFF DefaultTime=10 State=UP",
        ]
        self.conf.write_text("\n".join(lines) + "\n", encoding="utf-8")
        devices = [folder / f"run/gpu{i}" for i in range(self.gpus)]
        for device in devices:
            if not device.exists():
                os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
        files = f"{folder}/run/gpu[0-{self.gpus - 1}]"
        gres = [f"NodeName=n{i} Name=gpu Type=a100 File={files}" for i in range(1, self.gpu_nodes + 1)]
        (folder / "etc/gres.conf").write_text("\n".join(gres) + "\n", encoding="utf-8")
        (folder / "etc/cgroup.conf").write_text("CgroupAutomount=no\n", encoding="utf-8")


def login_environment(cluster: Cluster, *first: str) -> dict[str, str]:
    """The environment of a user who has activated `.venv` on the login node; `first`: folders in front of PATH."""
    ours = {key: cluster.environment[key] for key in ("SLURM_CONF", "OMP_WAIT_POLICY")}
    return user_environment(**ours) | {"PATH": ":".join([*first, str(BIN), cluster.environment["PATH"]])}


_CUT_OFF = """\
#!{python}
import os, shlex, sys
arguments = [
    "--wrap=unshare --net sh -c " + shlex.quote(given[7:]) if given.startswith("--wrap=") else given
    for given in sys.argv[1:]
]
os.execv("/usr/bin/sbatch", ["sbatch", *arguments])
"""


def without_network(folder: Path) -> Path:
    """A folder to put in front of PATH: its sbatch runs jobs in an empty network namespace of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    sbatch = folder / "sbatch"
    sbatch.write_text(_CUT_OFF.format(python=sys.executable), encoding="utf-8")
    sbatch.chmod(0o755)
    return folder
