"""Percentiles from buckets against exact ones."""

from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.loadgen.histogram import Histogram, merged

_PERCENTS = (1, 50, 90, 99, 99.9, 100)


def _filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
def test_a_percentile_is_the_exact_one_or_at_most_one_part_in_128_above(values: list[int]) -> None:
    histogram = _filled(values)
    for percent in _PERCENTS:
        exact = sorted(values)[ceil(len(values) * percent / 100) - 1]
        assert exact <= histogram.percentile_us(percent) <= exact + exact // 128


@given(st.lists(st.integers(0, 255), min_size=1))
def test_up_to_255_microseconds_percentiles_are_exact(values: list[int]) -> None:
    for percent in _PERCENTS:
        exact = sorted(values)[ceil(len(values) * percent / 100) - 1]
        assert _filled(values).percentile_us(percent) == exact


def test_the_hundredth_percentile_is_the_maximum() -> None:
    assert _filled([3, 999_999]).percentile_us(100) == 999_999


def test_an_empty_histogram_has_zero_percentiles() -> None:
    assert Histogram().percentile_us(99) == 0


@pytest.mark.parametrize("value", [2**32 - 1, 2**32, 2**50])
def test_a_value_too_large_counts_as_the_largest(value: int) -> None:
    histogram = _filled([value])
    assert histogram.total() == 1
    assert histogram.percentile_us(50) == histogram.max_us == 2**32 - 1


@given(st.lists(st.lists(st.integers(0, 10**7)), max_size=4))
def test_merging_is_counting_everything_in_one(parts: list[list[int]]) -> None:
    together = _filled([value for part in parts for value in part])
    assert merged(_filled(part) for part in parts) == together


def test_a_histogram_survives_the_way_between_processes() -> None:
    histogram = _filled([1, 300, 70_000])
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram
