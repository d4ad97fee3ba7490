"""Records of jobs: what is read of one whose process tells no more."""

import redis

from storage.jobs import KEPT_SECONDS, JobBoard, JobRecord, JobState


def test_a_job_without_a_sign_of_life_was_interrupted(valkey: "redis.Redis") -> None:
    """Its process was killed: nobody could say so."""
    board = JobBoard(valkey)
    running = JobRecord(id="a", actor="Somebody", token="t", asked_at=1, state=JobState.RUNNING, read=5)
    board.post(running)
    assert board.read("a") == running
    (alive,) = [key for key in valkey.scan_iter() if b"job-alive" in key]
    assert 0 < valkey.ttl(alive) <= 15
    valkey.delete(alive)
    gone = board.read("a")
    assert gone is not None
    assert (gone.state, gone.read) == (JobState.INTERRUPTED, 5)
    board.post(JobRecord(id="b", actor="Somebody", token="t", asked_at=2, state=JobState.DONE, trace="x"))
    assert [(job.id, job.state) for job in board.newest(5)] == [("b", JobState.DONE), ("a", JobState.INTERRUPTED)]
    assert all(0 < valkey.ttl(key) <= KEPT_SECONDS for key in valkey.scan_iter() if b"}:job:" in key)
