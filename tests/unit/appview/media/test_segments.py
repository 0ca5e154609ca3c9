from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appview.media.mp3 import FRAME_SAMPLES
from appview.media.segments import LEAST_S, ROLL, Segment, plan

RATE = 44_100


@given(samples=st.integers(1, 20_000 * RATE // 10), pieces=st.integers(1, 64))
def test_every_frame_is_kept_once_with_its_roll_on_both_sides(samples: int, pieces: int) -> None:
    segments = plan(samples, RATE, pieces=pieces)
    assert 1 <= len(segments) <= pieces
    following = 0
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        first = segment.start // FRAME_SAMPLES + segment.skip
        assert segment.start % FRAME_SAMPLES == 0
        assert first == following
        assert segment.skip == (ROLL if number else 0)
        if last:
            assert (segment.count, segment.stop) == (None, samples)
        else:
            assert segment.count is not None
            following = first + segment.count
            assert segment.stop == min(samples, (following + ROLL) * FRAME_SAMPLES)
            assert segment.count * FRAME_SAMPLES >= LEAST_S * RATE / 2


def test_a_short_sound_is_one_piece() -> None:
    assert plan(10 * RATE, RATE, pieces=8) == [Segment(0, 10 * RATE, 0, None)]


def test_one_piece_is_all_of_it() -> None:
    assert plan(1000 * RATE, RATE, pieces=1) == [Segment(0, 1000 * RATE, 0, None)]
