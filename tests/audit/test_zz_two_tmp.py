from tests.audit.test_crashes import *
import pytest, time
@pytest.mark.parametrize("n", range(6))
def test_two(tmp_path, n):
    folder = tmp_path / "disk"
    with a_small_disk(folder, "512k") as holder:
        inside = Path(f"/proc/{holder}/root{folder}")
        with a_child(folder, f"keep={10**9}", beside=holder) as child:
            child.wait_for(b"-" * 8)
            child.end(signal.SIGKILL)
        fill(inside / "of somebody else")
        with a_child(folder, "keep=100000", beside=holder) as a, a_child(folder, "keep=100000", beside=holder) as b:
            end=time.monotonic()+15
            while sum(f.size for f in files_in(inside)) > 250_000 or b"+" not in a.answers or b"+" not in b.answers:
                a.read(); b.read(); time.sleep(.05)
                assert time.monotonic()<end, (a.answers[-20:], b.answers[-20:], sum(f.size for f in files_in(inside)), (inside/reserve.NAME).exists())
            assert a.end()==0 and b.end()==0
        report=verify([inside])
        print([f for c in report.chains for f in c.findings])
