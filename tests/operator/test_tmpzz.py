from tests.operator.test_store_faults import *
def test_zz(stage, issued):
    print(stage.operator.text)
