"""The steps of runs by method and claims."""

from __future__ import annotations

import pytest

from fileintel.tasks import stages, steps


@pytest.mark.parametrize("claims", [False, True])
@pytest.mark.parametrize("method", ["standard", "fast"])
def test_every_step_comes_after_steps_of_its_own_run(method: str, claims: bool) -> None:
    order = steps.order({"method": method, "claims": claims})
    names = [name for name, _ in order]
    assert names[0] == "create_base_text_units" and order[0][1] == () and names[-1] == "publish"
    for place, (name, after) in enumerate(order):
        assert set(after) <= set(names[:place]) and (after or place == 0), name
        assert name in stages.PLANS and (name in stages.ASK) == steps.step(name).waits != (name in stages.COMPUTE)
    # Nothing is left over when the last step begins.
    waited_for = {before for _, after in order for before in after}
    assert waited_for == set(names[:-1])


def test_methods_differ_in_extraction_and_summaries() -> None:
    standard = dict(steps.order({"method": "standard", "claims": False}))
    fast = dict(steps.order({"method": "fast", "claims": True}))
    assert standard.keys() - fast.keys() == {"extract_graph", "summarize_descriptions"}
    assert fast.keys() - standard.keys() == {"extract_graph_nlp", "extract_covariates"}
    assert "extract_graph_nlp" in fast["merge"] and fast["finalize_graph"] == ("merge",)
    assert "extract_covariates" in fast["publish"]
    assert standard["finalize_graph"] == ("summarize_descriptions",)
