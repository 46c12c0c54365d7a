from tests.operator.test_store_faults import stage, no_rules, name, issued, harness, TEAM
import pytest, time
pytestmark = [pytest.mark.cluster]
@pytest.mark.parametrize("n", range(3))
def test_a(stage, name, n):
    stage.direct.create(harness.key(TEAM, name + "x"))
    stage.ready("KmsKey", TEAM, name+ "x")
    stage.installation.cluster.restart()
    t = time.time()
    stage.direct.create(harness.key(TEAM, name))
    stage.ready("KmsKey", TEAM, name)
    print("TOOK", t, time.time() - t)
