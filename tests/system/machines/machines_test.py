"""A training between machines that really differ: starts in every order, moves and partitions lose nothing and change
no bit. Strict mode: whatever happened on the way, the adapter has the bytes of the run that nothing disturbed."""

import signal
from pathlib import Path

import pytest
from network import Network
from service import LEARNER, Service

signal.signal(signal.SIGTERM, signal.default_int_handler)  # machines go away with the test, however it ends

PROCESSES = ("learner", "actor-1", "actor-2", "rewards-1", "rewards-2")


@pytest.fixture
def service(tmp_path):
    network = Network()
    try:
        made = Service(tmp_path, network)
        try:
            yield made
        finally:
            made.close()
    finally:
        network.close()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The adapter's bytes of a run that nothing disturbs."""
    network = Network()
    try:
        service = Service(Path(tmp_path_factory.mktemp("undisturbed")), network)
        try:
            for process in ("rewards-1", "rewards-2", "learner", "actor-1", "actor-2"):
                service.start(process)
                service.await_started(process)
            return service.expect_to_finish()
        finally:
            service.close()
    finally:
        network.close()


# Each process is the first once and the last once, and each stands before and after each other.
@pytest.mark.parametrize(
    "order",
    [
        ("learner", "actor-1", "actor-2", "rewards-1", "rewards-2"),
        ("actor-1", "rewards-1", "actor-2", "rewards-2", "learner"),
        ("actor-2", "learner", "rewards-2", "rewards-1", "actor-1"),
        ("rewards-1", "rewards-2", "learner", "actor-1", "actor-2"),
        ("rewards-2", "actor-2", "actor-1", "learner", "rewards-1"),
    ],
    ids=lambda order: "_".join(order),
)
def test_starts_in_any_order(service, undisturbed, order):
    for process in order:
        service.start(process)
        service.await_started(process)
    assert service.expect_to_finish() == undisturbed


def test_follows_a_learner_that_moves_to_another_address(service, undisturbed):
    for process in ("rewards-1", "rewards-2", "learner", "actor-2"):
        service.start(process)
    service.start_actor("actor-1", f"learner:{LEARNER}")
    service.await_update(2)
    service.kill("learner")
    for actor in ("actor-1", "actor-2"):
        service.await_log(actor, "lost the learner")
    # Another machine has the folder and takes the name.
    service.network.set_name("learner", service.machines["elsewhere"])
    service.start_learner("elsewhere", resume=True)
    for actor in ("actor-1", "actor-2"):
        service.await_log(actor, "registered again")
    assert service.expect_to_finish() == undisturbed


@pytest.mark.parametrize("process", PROCESSES)
def test_outlives_a_partition(service, undisturbed, process):
    for each in ("rewards-1", "rewards-2", "learner", "actor-1", "actor-2"):
        service.start(each)
    service.await_update(2)
    assert service.metric("flowawr_learner_actors") >= 1
    is_actor = process.startswith("actor")
    with service.machine_of(process).cut_off():
        if process == "learner":
            for actor in ("actor-1", "actor-2"):
                service.await_log(actor, "lost the learner")
        elif is_actor:
            # Paused meanwhile, so that the run is not over before it is missed, however fast the machine.
            assert service.ask("pause", config="operator").returncode == 0
            service.await_true(lambda: service.metric("flowawr_learner_actors") == 1,
                               f"{process} missed by the learner")
            before = int(service.status()["update"])
            assert service.ask("resume", config="operator").returncode == 0
            # Its leases go to the other one, which makes the next update alone.
            service.await_true(lambda: int(service.status()["update"]) > before, "an update without it")
            assert service.ask("pause", config="operator").returncode == 0
        else:
            before = int(service.status()["update"])
            service.await_true(
                lambda: int(service.status().get("update", before)) > before + 1
                or service.processes["learner"].poll() == 0,
                "updates scored by the other server",
            )
    if is_actor:
        service.await_log(process, "registered again")
        assert service.ask("resume", config="operator").returncode == 0
    assert service.expect_to_finish() == undisturbed


def test_roles_are_held_between_machines(service):
    service.start("rewards-1")
    service.start("rewards-2")
    service.start("learner")
    service.await_started("learner")
    service.await_true(lambda: service.status(), "a status for those who look")
    refused = service.ask("pause")
    assert refused.returncode == 77
    assert "pausing needs an operator's" in refused.stderr
    refused = service.ask("pause", config="actor")
    assert refused.returncode == 77 and "the token is the actors'" in refused.stderr
    assert service.ask("pause", config="operator").returncode == 0
    assert service.ask("resume", config="operator").returncode == 0
    assert service.metric("flowawr_learner_updates_total") == 0
    assert str(LEARNER) in service.log("learner")
