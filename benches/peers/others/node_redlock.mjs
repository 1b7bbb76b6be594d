// Takes one key again and again with node-redlock, beside distlock. Prints when it held the key (ns).

import Redis from "ioredis";
import redlock from "redlock";

const Redlock = redlock.default ?? redlock;
const [url, key, seconds, sectionMs] = process.argv.slice(2);
const client = new Redis(url);
const locks = new Redlock([client], { retryCount: 5 });
const now = () => process.hrtime.bigint();
const end = now() + BigInt(Math.round(Number(seconds) * 1e9));
const sections = [];
while (now() < end) {
  try {
    const lock = await locks.acquire([key], 30000);
    const start = now();
    await new Promise((done) => setTimeout(done, Number(sectionMs)));
    sections.push([start, now()]);
    await lock.release();
  } catch (error) {
    if (error.name !== "ExecutionError") throw error;
  }
}
client.disconnect();
for (const [start, stop] of sections) console.log(0, String(start), String(stop));
