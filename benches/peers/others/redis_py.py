"""Takes one key again and again with redis-py, beside distlock. Prints when it held the key (ns)."""

import sys
import time

import redis

url, key, seconds, section_ms = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
lock = redis.Redis.from_url(url).lock(key, timeout=30)
end = time.monotonic() + seconds
sections = []
while time.monotonic() < end:
    if lock.acquire(blocking_timeout=max(0.001, end - time.monotonic())):
        start = time.monotonic_ns()
        time.sleep(section_ms / 1000)
        sections.append((start, time.monotonic_ns()))
        lock.release()
for start, stop in sections:
    print(0, start, stop)
