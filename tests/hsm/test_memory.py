"""What a process holds in memory reaches no core file and no swap: real processes, real signals, the kernel's own words."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hsm.backends import SharedHsm
from tests.hsm.domains import DomainToken, environment, keystead
from tests.hsm.work import new_material, sign

from keystead.engine.algorithms import SigningAlgorithm
from keystead.hsm import memory
from keystead.resources.vocabulary import KeySpec, KeyUsage

# Who runs without rights: another user where these tests are root, else themselves.
OTHER = 65534 if os.geteuid() == 0 else None
KEY = b"the key that no core file may hold"
# The key is made up in the process: it stands on no command line, which is another part of its memory.
CRASH = "import os, sys; from keystead.hsm import memory; key = bytes(b ^ 1 for b in bytes.fromhex(sys.argv[2])); {}"


def crash(folder: Path, number: int, protection: str) -> int:
    """The wait status of a process that dies of a signal with the key in memory, where cores of any size are allowed."""
    hidden = bytes(byte ^ 1 for byte in KEY).hex()
    code = CRASH.format(f"{protection}; os.kill(os.getpid(), int(sys.argv[1]))")
    any_core = ["sh", "-c", 'ulimit -c "$(ulimit -H -c)"; exec "$@"', "sh"]
    child = subprocess.Popen(
        [*any_core, sys.executable, "-c", code, str(int(number)), hidden], cwd=folder, env=environment()
    )
    _, status = os.waitpid(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return status


def cores(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


@pytest.mark.parametrize("protection", ["memory.protect()", "memory._undumpable()"], ids=["whole", "by-prctl-alone"])
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_process_that_crashes_leaves_no_core(tmp_path: Path, number: signal.Signals, protection: str) -> None:
    """prctl alone, for a core_pattern that pipes does not obey the limit."""
    status = crash(tmp_path, number, protection)
    assert os.WTERMSIG(status) == number
    assert not os.WCOREDUMP(status)
    assert cores(tmp_path) == []


def test_the_crash_of_an_unprotected_process_would_tell(tmp_path: Path) -> None:
    """The test above bites: the same process without `protect` gives the key away, where this machine writes cores into the folder."""
    status = crash(tmp_path, signal.SIGSEGV, "pass")
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert os.WCOREDUMP(status) is (hard != 0 and pattern != "")
    if os.WCOREDUMP(status) and not pattern.startswith(("|", "/")):
        assert [KEY in core for core in cores(tmp_path)] == [True]


def protected(code: str, *, user: int | None = None, limit: int | None = None) -> list[str]:
    """Lines that a process prints after `protect`: what came of it, then those of `code`.

    It becomes `user` after its imports: the interpreter may lie where only root reads.
    """
    lines = [
        "import os, resource, subprocess",
        "from keystead.hsm import memory",
        f"resource.setrlimit(resource.RLIMIT_MEMLOCK, ({limit}, {limit}))" if limit else "",
        f"os.setgroups([]); os.setgid({user}); os.setuid({user})" if user else "",
        "print(memory.protect())",
        code,
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


STATUS = "print(*(line for line in open('/proc/self/status') if line.startswith(('VmLck', 'VmSize', 'VmRSS'))), sep='')"


def test_memory_is_locked_where_the_machine_allows_it() -> None:
    said, *lines = protected(f"grown = bytearray(50_000_000); {STATUS}")
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line}
    allowed = memory._lockable()
    assert (said == "no core; locked in RAM") is allowed
    assert (kilobytes["VmLck"] > 50_000) is allowed  # what came later is locked too
    assert (kilobytes["VmLck"] > 0.9 * kilobytes["VmSize"]) is allowed


def test_without_the_right_nothing_is_locked_and_it_says_so() -> None:
    """As in most Pods. An allocation beyond the limit must still succeed."""
    said, *lines = protected(f"grown = bytearray(50_000_000); {STATUS}", user=OTHER, limit=2**23)
    assert said.startswith("no core; ")
    assert "locked in RAM" not in said
    assert "VmLck:\t       0 kB" in lines


def test_a_protected_process_that_is_not_root_still_works() -> None:
    """/proc/PID belongs to root then: what Python, its subprocesses and hsm/openssl.py read must still be readable."""
    reads = "open('/proc/self/maps').read(); os.listdir('/proc/self/fd'); open('/dev/stdin').close()"
    child = "print(subprocess.run(['id', '-u'], check=True, capture_output=True, close_fds=True).stdout)"
    assert protected(f"{reads}; {child}", user=OTHER, limit=2**23)[1:] == [repr(f"{OTHER or os.geteuid()}\n".encode())]


def test_swap_that_a_cgroup_forbids_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kubelet's NoSwap leaves it: the node has swap, the container's cgroup (or one above it) gets none."""
    texts = {
        Path("/proc/swaps"): "Filename Type\n/dev/sda2 partition\n",
        Path("/proc/self/cgroup"): "0::/kubepods/pod1/container\n",
    }
    monkeypatch.setattr(memory, "_text", lambda file: texts.get(file, ""))
    assert not memory._swapless()
    texts[memory._CGROUPS / "kubepods/pod1/container/memory.swap.max"] = "max\n"
    assert not memory._swapless()
    texts[memory._CGROUPS / "kubepods/pod1/memory.swap.max"] = "0\n"
    assert memory._swapless()
    texts[Path("/proc/swaps")] = "Filename Type\n"
    texts[memory._CGROUPS / "kubepods/pod1/memory.swap.max"] = "max\n"
    assert memory._swapless()
    texts[Path("/proc/swaps")] = ""  # unreadable
    assert not memory._swapless()


@pytest.mark.parametrize(
    ("state", "safe", "words"),
    [
        (memory.Memory(core=False, locked=True, swapless=False), True, "no core; locked in RAM"),
        (memory.Memory(core=False, locked=False, swapless=True), True, "there is no swap"),
        (memory.Memory(core=False, locked=False, swapless=False), False, "MAY BE SWAPPED"),
        (memory.Memory(core=True, locked=True, swapless=True), False, "a core may be written"),
    ],
)
def test_each_state_has_its_words(state: memory.Memory, safe: bool, words: str) -> None:
    assert state.safe is safe
    assert words in str(state)


def test_every_command_is_protected_before_it_does_anything() -> None:
    """Settings that are refused end a command at once: by then it is protected."""
    code = (
        "from keystead.__main__ import main; from keystead.hsm import memory; code = main(); print(code, memory.look())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment({"KEYSTEAD_REGION": "no region"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " no core; " in done.stdout


def test_a_slow_lane_is_protected(real: SharedHsm) -> None:
    made = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    assert sign(real, made, SigningAlgorithm.ECDSA_SHA_256, b"m")
    pool = real.hsm.lanes._pool
    assert pool is not None
    assert not pool.submit(memory.look).result(60).core  # measured within the lane
    for pid in pool._processes:
        assert "Max core file size        0                    0 " in Path(f"/proc/{pid}/limits").read_text()


def test_check_says_how_its_memory_is_kept(domain: DomainToken) -> None:
    done = keystead("hsm", "check", *domain.options, "-o", "json", env=domain.env)
    (row,) = (row for row in done.json() if row["check"] == "process memory")
    assert row["verdict"] == ("degraded" if "MAY BE SWAPPED" in row["detail"] else "ok")
    assert row["detail"].startswith("no core; ")
