"""Devices that experiments hold; the same code leases GPUs and fake ones."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client, LocalCluster

from daskresearch import EC, E, O, Option, Research, local_cluster
from daskresearch.errors import ClusterError, DomainError, OptionError, PlanError
from tests.support.clusters import Servers
from tests.support.running import note, noted, on_workers, wait_for

PLACES: dict[str, dict[str, object]] = {
    "in_process": {},
    "threads": {"scheduler": "threads", "workers": 4},
    "processes": {"workers": 3},
}


@pytest.fixture(params=["in_process", "threads", on_workers("processes")])
def place(request: pytest.FixtureRequest) -> dict[str, object]:
    """Give the options that run somewhere on this machine."""
    return {"bar": False, "dump_results": False, **PLACES[request.param]}


@pytest.fixture
def gpu_client():
    """Give a Client of two workers, each with two threads and two declared GPUs."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address=None,
            resources={"GPU": 2},
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def hold(device: object, folder: str, seconds: float = 0.001) -> str:
    """Hold devices by files that can be made but once; two holders of one would meet."""
    ids = device if isinstance(device, list) else [device]
    for held in ids:
        os.close(os.open(f"{folder}/{held}", os.O_CREAT | os.O_EXCL))
    time.sleep(seconds)
    for held in ids:
        os.unlink(f"{folder}/{held}")
    return json.dumps(device)


def holding(folder: Path, n: int, **unit: object) -> Research:
    return Research(domain=Option("x", list(range(n)))).hold(
        EC("device"), str(folder), save_to="held", **unit
    )


def test_no_two_experiments_hold_one_device(place, tmp_path):
    results = holding(tmp_path, 60).run(devices=[0, 1, "GPU-2"], **place).results
    assert results.failures.empty
    assert set(results.df.held) <= {"0", "1", '"GPU-2"'}
    assert len(results.df) == 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [PLACES["threads"], on_workers({"workers": 4})], ids=["threads", "processes"]
)
def test_a_thousand_leases_never_meet(options, tmp_path):
    results = (
        holding(tmp_path, 1000)
        .run(devices=[0, 1, 2], bar=False, dump_results=False, **options)
        .results
    )
    assert results.failures.empty
    assert results.df.held.value_counts().index.sort_values().tolist() == ["0", "1", "2"]
    assert len(results.df) == 1000


def test_a_unit_may_ask_for_several_devices(place, tmp_path):
    research = holding(tmp_path, 30, resources={"GPU": 2})
    results = research.run(devices=[0, 1, 2], **place).results
    assert results.failures.empty
    assert all(len(set(json.loads(held))) == 2 for held in results.df.held)


@pytest.mark.parametrize(
    ("unit", "options"), [({"resources": {"GPU": 0.5}}, {}), ({}, {"device_share": 0.5})]
)
def test_a_device_may_be_shared_by_two_but_not_by_three(unit, options, tmp_path):
    def count(device: int, folder: str, x: int) -> int:
        name = f"{folder}/{x}"
        Path(name).touch()
        time.sleep(0.05)
        n_holders = len(os.listdir(folder))
        os.unlink(name)
        return n_holders

    research = Research(domain=Option("x", list(range(16))))
    research = research.count(EC("device"), str(tmp_path), EC("x"), save_to="n", **unit)
    results = research.run(
        devices=[7], scheduler="threads", workers=4, bar=False, dump_results=False, **options
    ).results
    assert results.failures.empty
    assert results.df.n.max() == 2


def test_the_device_is_in_the_full_config_and_nowhere_else(place):
    def tell(config, full, whole):
        return json.dumps([config, full.get("device"), whole.get("device")])

    research = Research(domain=Option("x", [1])).tell(
        EC(), EC(full=True), E().config, save_to="told"
    )
    assert json.loads(research.run(devices=[5], **place).results.df.told[0]) == [{"x": 1}, 5, 5]


def test_without_devices_the_device_is_none(place):
    research = Research(domain=Option("x", [1])).add_callable(
        "tell", str, args=[EC("device")], save_to="told"
    )
    assert research.run(**place).results.df.told.tolist() == ["None"]


def test_devices_change_no_number_and_no_id(place):
    def draw(random):
        return float(random.random())

    research = Research(domain=Option("x", [1, 2])).draw(E().random, save_to="y")
    plain = research.run(seed=1, bar=False, dump_results=False).results.df
    pd.testing.assert_frame_equal(research.run(seed=1, devices=[0, 1], **place).results.df, plain)


def test_units_that_ask_get_what_the_process_sees(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8")
    research = Research(domain=Option("x", [1, 2]))
    research = research.add_callable(
        "tell", list, args=[EC("device")], save_to="told", resources={"GPU": 2}
    )
    assert [list(told) for told in research.run(bar=False, dump_results=False).results.df.told] == [
        [3, "GPU-8"]
    ] * 2


def test_a_root_that_asks_holds_devices_too(place):
    def load(device):
        return device

    research = Research(domain=Option("x", [1, 2])).load(
        EC("device"), root=True, resources={"GPU": 1}
    )
    results = research.save(O("load"), "y").run(devices=[4], **place).results
    assert results.df.y.tolist() == [4, 4]


def test_a_lock_step_group_holds_devices_together(place):
    def batches(device):
        yield device
        yield device

    research = Research(domain=Option("x", [1, 2])).batches(
        EC("device"), mode="generator", root=True
    )
    research = research.add_callable(
        "use", lambda batch, own: [batch, own], args=[O("batches"), EC("device")]
    )
    results = research.save(O("use"), "y").run(devices=[4], n_iters=2, **place).results
    assert [list(pair) for pair in results.df.y] == [[4, 4]] * 4


def test_a_root_of_a_lock_step_group_holds_what_its_group_holds(place):
    def count():
        yield from range(2)

    def load(device):
        return device

    research = Research(domain=Option("x", [0, 1])).count(mode="generator", root=True)
    research = research.load(EC("device"), root=True, resources={"GPU": 1})
    research = research.add_callable("use", lambda a, b: [a, b], args=[O("count"), O("load")])
    results = research.save(O("use"), "y").run(devices=[4], n_iters=2, **place).results
    assert results.failures.empty
    assert [list(pair) for pair in results.df.y] == [[0, 4], [1, 4]] * 2


@pytest.mark.cluster
def test_a_whole_device_and_a_part_of_it_are_never_held_at_once(tmp_path):
    def load(kind: int, folder: str) -> int:
        os.close(os.open(f"{folder}/whole", os.O_CREAT | os.O_EXCL))
        time.sleep(0.1)
        n_others = len(os.listdir(folder)) - 1
        os.unlink(f"{folder}/whole")
        return n_others

    def use(n_others: int, folder: str, kind: int, x: int) -> int:
        Path(f"{folder}/{kind}-{x}").touch()
        time.sleep(0.05)
        os.unlink(f"{folder}/{kind}-{x}")
        return n_others

    research = Research(domain=Option("kind", list(range(6))) * Option("x", [0, 1]))
    research = research.load(EC("kind"), str(tmp_path), root=True, resources={"GPU": 1})
    research = research.use(
        O("load"), str(tmp_path), EC("kind"), EC("x"), save_to="y", resources={"GPU": 0.5}
    )
    results = research.run(devices=[0], workers=2, bar=False, dump_results=False).results
    assert results.failures.empty
    assert results.df.y.tolist() == [0] * 12


def test_ids_that_a_process_does_not_see_are_not_held_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    research = Research(domain=Option("x", [0, 1])).add_callable(
        "tell", int, args=[EC("device")], save_to="y"
    )
    assert research.run(devices=[0, 1], bar=False, dump_results=False).results.df.y.tolist() == [
        1,
        1,
    ]


def test_no_device_is_made_of_the_words_for_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    research = Research().add_callable("use", abs, args=[1], resources={"GPU": 1})
    with pytest.raises(OptionError, match="this machine has"):
        research.run(bar=False, dump_results=False)


def test_tasks_keep_to_workers_with_the_resource_though_others_are_idle(client, tmp_path):
    with (
        Servers(tmp_path) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as mixed,
    ):
        servers.add_worker(["--resources", "GPU=1"])
        servers.add_worker()
        mixed.wait_for_workers(2)
        research = Research(domain=Option("x", list(range(20)))).add_callable(
            "load", int, root=True
        )
        research = research.add_callable(
            "tell", lambda data, device: [os.getpid(), device], [O("load"), EC("device")]
        )
        research = research.save(O("tell"), "y")
        research = research.add_callable("use", abs, args=[1], resources={"GPU": 1})
        results = research.run(scheduler=mixed, bar=False, dump_results=False).results
        assert results.failures.empty
        assert len({pid for pid, _ in results.df.y}) == 1
        assert len(mixed.nthreads()) == 2


@pytest.mark.cluster
def test_workers_with_the_resource_run_no_more_than_they_have(gpu_client, tmp_path):
    def overlap(device, folder, x):
        (Path(folder) / str(x)).touch()
        time.sleep(0.1)
        n_running = len(os.listdir(folder))
        (Path(folder) / str(x)).unlink()
        return [n_running, *device]

    research = Research(domain=Option("x", list(range(8))))
    research = research.overlap(
        EC("device"), str(tmp_path), EC("x"), save_to="y", resources={"GPU": 2}
    )
    results = research.run(scheduler=gpu_client, bar=False, dump_results=False).results
    assert results.failures.empty
    assert max(y[0] for y in results.df.y) <= 2
    assert all(sorted(y[1:]) == [0, 1] for y in results.df.y)


def test_what_no_worker_has_is_refused_with_what_they_have(gpu_client, client):
    research = Research().add_callable("use", abs, args=[1], resources={"GPU": 3})
    with pytest.raises(ClusterError, match=r"needs \{'GPU': 3.*GPU.*2"):
        research.run(scheduler=gpu_client, bar=False, dump_results=False)
    with pytest.raises(ClusterError, match=r"resources by worker: .*none"):
        research.run(scheduler=client, bar=False, dump_results=False)
    other = Research().add_callable("use", abs, args=[1], root=True, resources={"MEMORY": 3})
    with pytest.raises(ClusterError, match="root 'use' needs"):
        other.run(scheduler=gpu_client, bar=False, dump_results=False)


def test_workers_without_the_resource_share_ids_that_are_given(client, tmp_path):
    results = (
        holding(tmp_path, 40)
        .run(devices=[0], scheduler=client, bar=False, dump_results=False)
        .results
    )
    assert results.failures.empty
    assert results.df.held.tolist() == ["0"] * 40


@pytest.mark.cluster
def test_a_device_comes_back_when_its_process_dies(tmp_path):
    def die_once(device, folder, x):
        note(f"{folder}/{x}", "run")
        if x == 1 and len(noted(f"{folder}/{x}")) == 1:
            os._exit(1)
        return device

    research = Research(domain=Option("x", list(range(6)))).die_once(
        EC("device"), str(tmp_path), EC("x"), save_to="y"
    )
    results = research.run(devices=[0], workers=2, bar=False, dump_results=False).results
    assert results.df.y.tolist() == [0] * 6


def test_a_device_comes_back_from_units_that_fail_or_take_too_long(place):
    def fail(x):
        while x == 1:
            time.sleep(0.01)
        raise ValueError("no")

    research = Research(domain=Option("x", [0, 1, 2])).fail(EC("x"))
    results = research.run(devices=[0], timeout=0.8, **place).results
    assert results.failures.kind.tolist() == ["exception", "timeout", "exception"]


def test_nothing_is_left_of_leases(place, tmp_path):
    before = {
        name
        for name in os.listdir(tempfile.gettempdir())
        if name.startswith("daskresearch-devices-")
    }
    holding(tmp_path, 4).run(devices=[0], **place)
    after = {
        name
        for name in os.listdir(tempfile.gettempdir())
        if name.startswith("daskresearch-devices-")
    }
    assert after <= before


@pytest.mark.parametrize("place", [{}, on_workers({"workers": 2})], ids=["in_process", "processes"])
def test_the_table_of_experiments_has_the_device(place, tmp_path):
    research = Research(str(tmp_path / "r"), Option("x", [1, 2])).add_callable(
        "use", abs, args=[EC("x")], save_to="y"
    )
    research.run(devices=[6], bar=False, **place)
    assert pd.read_parquet(tmp_path / "r" / "experiments").device.tolist() == ["6", "6"]


class FakeNvml(types.ModuleType):
    """NVML of one device, whose memory comes free as time goes by."""

    def __init__(self, free: list[int]) -> None:
        super().__init__("pynvml")
        self.free = free

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> types.SimpleNamespace:  # noqa: N802
        return types.SimpleNamespace(free=self.free.pop(0), total=100)


def test_an_experiment_waits_for_free_memory(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml = FakeNvml(free=[10, 79, 80])
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    research = Research().add_callable(
        "use", str, args=[EC("device")], save_to="y", resources={"GPU": 1}
    )
    results = research.run(memory_ratio=0.8, bar=False, dump_results=False).results
    assert results.df.y.tolist() == ["0"]
    assert nvml.free == []


def test_an_experiment_that_waits_for_a_device_is_not_timed(tmp_path):
    def work(x):
        time.sleep(0.12)
        return x

    research = Research(domain=Option("x", list(range(8)))).work(EC("x"), save_to="y")
    research.run(
        devices=[0], scheduler="threads", workers=8, timeout=0.8, bar=False, dump_results=False
    )
    assert research.results.df.y.tolist() == list(range(8))


def test_a_detached_run_that_is_terminated_gives_its_devices_back(tmp_path):
    research = holding(tmp_path, 1000).run(
        devices=[0], scheduler="threads", workers=2, bar=False, dump_results=False, detach=True
    )
    wait_for(lambda: len(research.results) > 0)
    research.terminate()
    assert research.wait(60)
    assert (
        holding(tmp_path, 3).run(devices=[0], bar=False, dump_results=False).results.failures.empty
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"devices": []}, "different ids"),
        ({"devices": 2}, "different ids"),
        ({"devices": [0, 0]}, "different ids"),
        ({"devices": [-1]}, "different ids"),
        ({"devices": [""]}, "different ids"),
        ({"devices": "01"}, "different ids"),
        ({"devices": [0], "device_share": 0}, "device_share must be a part"),
        ({"devices": [0], "device_share": 2}, "device_share must be a part"),
        ({"devices": [0], "memory_ratio": 1.5}, "memory_ratio must be a part"),
    ],
)
def test_devices_that_mean_nothing_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        Research().add_callable("use", abs, args=[1]).run(bar=False, dump_results=False, **options)


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"GPU": 2}, OptionError, r"ask for 2 devices at once, but devices=\[0\]"),
        ({"GPU": 1.5}, PlanError, "whole ones"),
        ({"GPU": 0}, PlanError, "positive number"),
        ({"GPU": "1"}, PlanError, "positive number"),
    ],
)
def test_units_that_ask_for_what_cannot_be_are_refused(asked, error, text):
    research = Research().add_callable("use", abs, args=[1], resources=asked)
    with pytest.raises(error, match=text):
        research.run(devices=[0], bar=False, dump_results=False)


def test_a_process_without_devices_is_told_at_once(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    research = Research().add_callable("use", abs, args=[1], resources={"GPU": 1})
    with pytest.raises(OptionError, match=r"give the ids of devices"):
        research.run(bar=False, dump_results=False)
    with pytest.raises(OptionError, match=r"\['MEMORY'\], which a private cluster has not"):
        Research().add_callable("use", abs, args=[1], resources={"MEMORY": 1}).compute(workers=2)


def test_a_parameter_of_that_name_is_refused():
    research = Research(domain=Option("device", ["cpu"])).add_callable(
        "use", str, args=[EC("device")], save_to="y"
    )
    assert research.run(bar=False, dump_results=False).results.df.y.tolist() == ["cpu"]
    with pytest.raises(DomainError, match="parameter 'device'"):
        research.run(devices=[0], bar=False, dump_results=False)


@pytest.mark.parametrize(
    "place",
    [{"scheduler": "threads", "workers": 3}, on_workers({"workers": 3})],
    ids=["threads", "workers"],
)
def test_nothing_that_waits_for_a_device_begins_once_a_run_is_terminated(place, tmp_path):
    def hold_on(x: int) -> int:
        note(tmp_path / "begun", x)
        wait_for((tmp_path / "gate").exists)
        return x

    research = Research(domain=Option("x", list(range(9)))).add_callable(
        "hold", hold_on, args=[EC("x")], save_to="y"
    )
    research.run(devices=["a"], bar=False, dump_results=False, detach=True, **place)
    wait_for(lambda: bool(noted(tmp_path / "begun")))
    research.terminate()
    assert research.wait(1) is False
    (tmp_path / "gate").touch()
    assert research.wait(60)
    assert len(noted(tmp_path / "begun")) == len(research.results) == 1


@pytest.mark.cluster
def test_gpu_workers_that_join_a_cluster_of_none_are_used(tmp_path):
    with (
        Servers(tmp_path) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        research = Research(domain=Option("x", [0, 1, 2, 3]))
        research = research.add_callable(
            "where", str, args=[EC("device")], save_to="y", resources={"GPU": 1}
        )
        research.run(scheduler=client, bar=False, dump_results=False, detach=True)
        servers.add_worker(["--resources", "GPU=1"])
        assert research.wait(60)
    assert research.results.df.y.tolist() == ["0"] * 4


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_devices_that_this_process_does_not_see_are_refused_at_once(place, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(
        OptionError,
        match=r"devices=\[5\] this process sees \[\].*CUDA_VISIBLE_DEVICES names \[0, 1\]",
    ):
        holding(tmp_path, 1).run(str(tmp_path / "results"), bar=False, devices=[5], **place)
    assert not (tmp_path / "results").exists()


@pytest.mark.cluster
def test_devices_that_a_worker_does_not_see_are_never_given_out():
    with local_cluster(gpus=["left"]) as cluster, Client(cluster, set_as_default=False) as client:
        research = Research(domain=Option("x", [0, 1])).add_callable(
            "where", str, args=[EC("device")], save_to="y"
        )
        options = {"scheduler": client, "bar": False, "dump_results": False}
        assert research.run(devices=["left", "right"], **options).results.df.y.tolist() == [
            "left",
            "left",
        ]
        with pytest.raises(
            ClusterError, match=r"devices=\['right'\] are asked for, and it sees \['left'\]"
        ):
            research.run(devices=["right"], **options)
