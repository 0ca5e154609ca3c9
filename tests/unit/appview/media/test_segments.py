from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appview.media.mp3 import FRAME_SAMPLES
from appview.media.segments import LEAST_S, ROLL, Segment, plan

RATE = 44_100


@given(samples=st.integers(1, 20_000 * RATE // 10), workers=st.integers(1, 64))
def test_every_frame_is_kept_once_with_its_roll_on_both_sides(samples: int, workers: int) -> None:
    segments = plan(samples, RATE, workers=workers)
    following = 0
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        first = segment.start // FRAME_SAMPLES + segment.skip
        assert segment.start % FRAME_SAMPLES == 0
        assert first == following
        assert segment.skip == (ROLL if number else 0)
        if last:
            assert (segment.count, segment.stop) == (None, samples)
            kept = -(-samples // FRAME_SAMPLES) - first
        else:
            assert segment.count is not None
            kept = segment.count
            following = first + kept
            assert segment.stop == min(samples, (following + ROLL) * FRAME_SAMPLES)
        assert len(segments) == 1 or kept >= LEAST_S * RATE // FRAME_SAMPLES


@given(samples=st.integers(60 * RATE, 20_000 * RATE), workers=st.integers(2, 64))
def test_equal_encoders_end_together_and_the_last_pieces_are_short(samples: int, workers: int) -> None:
    lanes = [0.0] * workers
    length_s = 0.0
    for segment in plan(samples, RATE, workers=workers):
        length_s = (segment.stop - segment.start) / RATE
        lanes.sort()
        lanes[0] += length_s
    assert length_s < 4 * LEAST_S + 1
    if samples >= workers * LEAST_S * RATE:
        assert max(lanes) - min(lanes) < 2


def test_a_short_sound_is_one_piece() -> None:
    assert plan(10 * RATE, RATE, workers=8) == [Segment(0, 10 * RATE, 0, None)]


def test_one_encoder_gets_all_of_it() -> None:
    assert plan(1000 * RATE, RATE, workers=1) == [Segment(0, 1000 * RATE, 0, None)]
