"""What is counted comes out as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from stanchion.observe.metrics import Metrics, Reading


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_by_action_and_outcome() -> None:
    metrics = Metrics()
    metrics.answered("SendMessage", "OK", 0.002)
    metrics.answered("SendMessage", "OK", 0.002)
    metrics.answered("-", "AccessDenied", 0.002)
    found = samples(metrics)
    assert found["stanchion_requests_total", ("SendMessage", "OK")] == 2
    assert found["stanchion_requests_total", ("-", "AccessDenied")] == 1


def test_latency_is_cumulative_and_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    for elapsed_s in (0.001, 0.0011, 30.0):
        metrics.answered("ReceiveMessage", "OK", elapsed_s)
    found = samples(metrics)
    bucket = "stanchion_request_seconds_bucket"
    assert found[bucket, ("ReceiveMessage", "0.001")] == 1
    assert found[bucket, ("ReceiveMessage", "0.0025")] == 2
    assert found[bucket, ("ReceiveMessage", "21.0")] == 2
    assert found[bucket, ("ReceiveMessage", "+Inf")] == 3
    assert found["stanchion_request_seconds_count", ("ReceiveMessage",)] == 3
    assert abs(found["stanchion_request_seconds_sum", ("ReceiveMessage",)] - 30.0021) < 1e-9


def test_values_of_others_are_read_when_asked_for() -> None:
    metrics = Metrics()
    waiting = [3]
    metrics.watch(
        Reading("stanchion_long_polls", "Long polls waiting.", "gauge", lambda: waiting[0]),
        Reading("stanchion_flushes", "Transactions.", "counter", lambda: 7),
    )
    assert samples(metrics)["stanchion_long_polls", ()] == 3
    waiting[0] = 4
    found = samples(metrics)
    assert found["stanchion_long_polls", ()] == 4
    assert found["stanchion_flushes_total", ()] == 7


def test_values_of_others_may_be_told_apart_by_a_label() -> None:
    metrics = Metrics(worker=3)
    up = {"a": 1.0, "b": 0.0}
    metrics.watch(Reading("stanchion_shards", "Shards.", "gauge", lambda: up, label="shard"))
    found = samples(metrics)
    assert found["stanchion_shards", ("a", "3")] == 1
    assert found["stanchion_shards", ("b", "3")] == 0
    up.clear()
    assert not [name for name, _ in samples(metrics) if name == "stanchion_shards"]


def test_the_process_is_there_too() -> None:
    assert samples(Metrics())["process_resident_memory_bytes", ()] > 0


def test_a_worker_is_a_label_of_everything() -> None:
    metrics = Metrics(worker=2)
    metrics.answered("SendMessage", "OK", 0.002)
    metrics.watch(Reading("stanchion_long_polls", "Help.", "gauge", lambda: 7))
    found = samples(metrics)
    assert found["stanchion_requests_total", ("SendMessage", "OK", "2")] == 1
    assert found["stanchion_long_polls", ("2",)] == 7
    assert {labels[-1:] for _, labels in found} == {("2",)}
