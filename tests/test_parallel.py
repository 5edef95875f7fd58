"""Tasks in other processes: their results, their faults, the death of a process."""

import re
import socket
import sys

import pytest
from joblib.externals.loky import get_reusable_executor

from moe_lib import parallel
from moe_lib.parallel import SweepError, locally, on_cluster
from tests.tasks import Square, cluster

SQUARES = [Square(n) for n in range(6)]
RESULTS = {Square(n): n**2 for n in range(6)}


def fail(message):
    pytest.fail(f"reported: {message}")


def refuses(message, results):
    with pytest.raises(SweepError, match=f"^{re.escape(message)}$"):
        list(results)


@pytest.fixture(autouse=True, scope="module")
def _no_process_is_left():
    yield
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), workers=2) as (address, _):
        yield address


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_each_task_comes_back_once_with_its_result(jobs):
    results = list(locally(SQUARES, jobs, fail))
    assert dict(results) == RESULTS
    assert len(results) == len(RESULTS)


@pytest.mark.parametrize("jobs", [1, 2])
def test_nothing_to_do_is_done_at_once(jobs):
    assert list(locally([], jobs, fail)) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_that_raises_is_named_in_one_line(jobs):
    tasks = [Square(1), Square(7, "raise")]
    refuses("number=7 failed: ArithmeticError: first line", locally(tasks, jobs, fail))


def test_what_is_finished_comes_before_what_is_slow():
    results = locally([Square(1, "sleep"), *SQUARES], 2, fail)
    assert [next(results) for _ in SQUARES] == [*RESULTS.items()]
    results.close()  # ends the sleeper, and without a warning


def test_when_a_process_dies_its_tasks_are_tried_again(tmp_path):
    tasks = [*SQUARES, Square(7, "die once", str(tmp_path))]
    reports = []
    results = list(locally(tasks, 2, reports.append))
    assert dict(results) == {**RESULTS, tasks[-1]: 49}
    assert len(results) == len(tasks)
    [report] = reports
    assert re.fullmatch(r"a process died: trying \d again, one by one", report)


def test_two_tasks_that_kill_once_each_are_no_reason_to_give_up(tmp_path):
    killers = [Square(n, "die once", str(tmp_path)) for n in (20, 30)]
    # The other process waits for the first report, so that only one task dies by then.
    wait = Square(40, "wait", str(tmp_path))
    tasks = [killers[0], wait, *(Square(n) for n in range(12)), killers[1]]
    reports = []

    def report(message):
        reports.append(message)
        (tmp_path / "go").touch()

    results = dict(locally(tasks, 2, report))
    assert results == {task: task.number**2 for task in tasks}
    assert len(reports) == 2


def test_a_task_that_kills_its_process_twice_is_named():
    reports = []
    results = locally([Square(7, "die"), *SQUARES], 2, reports.append)
    refuses("number=7 failed: its process died twice", results)
    assert len(reports) == 1


def test_also_the_last_task_left_cannot_kill_this_process():
    refuses(
        "number=7 failed: its process died twice",
        locally([Square(7, "die")], 8, lambda _: None),
    )


def test_a_cluster_gives_the_same(address):
    results = list(on_cluster(SQUARES, address))
    assert dict(results) == RESULTS
    assert len(results) == len(RESULTS)


def test_a_task_that_raises_on_a_cluster_is_named_in_one_line(address):
    tasks = [Square(1), Square(7, "raise")]
    message = "number=7 failed: ArithmeticError: first line"
    refuses(message, on_cluster(tasks, address))


def test_a_task_that_kills_the_workers_is_named(address):
    tasks = [Square(7, "die"), *SQUARES]
    refuses("number=7 failed: 2 workers died of it", on_cluster(tasks, address))


def test_a_worker_that_dies_once_is_replaced(address, tmp_path):
    tasks = [Square(7, "die once", str(tmp_path)), *SQUARES]
    assert dict(on_cluster(tasks, address)) == {tasks[0]: 49, **RESULTS}


def test_a_scheduler_that_is_lost_is_named(tmp_path):
    with cluster(tmp_path, workers=2) as (address, processes):
        results = on_cluster([Square(1), Square(2, "sleep")], address)
        assert next(results) == (Square(1), 1)
        processes[0].kill()
        with pytest.raises(SweepError, match=f"^scheduler {address} failed: "):
            next(results)


def test_a_scheduler_without_workers_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(parallel, "WORKER_SECONDS", 0.5)
    with (
        cluster(tmp_path, workers=0) as (address, _),
        pytest.raises(SweepError, match=f"^scheduler {address} failed: .*0/1 workers"),
    ):
        list(on_cluster(SQUARES, address))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nowhere", "missing port number in address 'nowhere'"),
        ("mail://here:1", "unknown address scheme 'mail'"),
        ("tcp://127.0.0.1:1", "no answer within 0.5 s"),
    ],
)
def test_a_scheduler_that_is_not_there_is_named(monkeypatch, address, reason):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SweepError) as caught:
        list(on_cluster(SQUARES, address))
    said = str(caught.value)
    assert said.startswith(f"scheduler {address} is not there: {reason}")
    assert "\n" not in said


def test_something_else_that_listens_there_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        message = f"scheduler {address} is not there: no answer within 0.5 s"
        refuses(message, on_cluster(SQUARES, address))


def test_without_dask_the_import_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="distributed"):
        list(on_cluster(SQUARES, "tcp://127.0.0.1:1"))
