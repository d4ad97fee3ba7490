"""A process that owns an embedded store, checks that it is whole, and is killed in the middle of a run of retention.

`python -m tests.tracing.retention.dying PATH REDIS_URL SEED STEP`: with STEP 0 the run goes to its end. The first one
fills the store.
"""

import os
import signal
import sys

import redis

from storage.clickhouse import Store, migrate
from tests.tracing.retention.checks import NOW, require_whole
from tests.tracing.retention.scene import Scene, story


def main(path: str, redis_url: str, seed: str, step: str) -> None:
    """One life."""
    store = Store(f"chdb://{path}", database="truyvet")
    deliveries, steps = story(int(seed)), 0

    def on_step(name: str) -> None:
        nonlocal steps
        steps += 1
        if steps == int(step):
            os.kill(os.getpid(), signal.SIGKILL)

    with redis.Redis.from_url(redis_url) as client:
        fresh = bool(migrate(store))
        scene = Scene(client, store)
        if fresh:
            scene.deliver(deliveries)
        else:
            require_whole(scene, deliveries)
        scene.keep(NOW, on_step=on_step)
        require_whole(scene, deliveries)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
