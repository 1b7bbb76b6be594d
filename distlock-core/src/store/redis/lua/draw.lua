-- Snippet: the number of a new fencing token, by the formula of `FencingToken::draw` in Rust.

-- The server's clock, in us since 1970.
local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- A token above the `stored` counter, which keeps tokens rising when the clock steps back, and at the clock,
-- which keeps them rising when the counter is lost. A quorum's `proposal` replaces the clock within 100 ms of
-- it: all nodes draw one number, and no client's clock pulls a node's tokens further away from its own.
local function draw(stored, proposal)
  local wanted = micros()
  if proposal then
    wanted = math.max(wanted - 100000, math.min(wanted + 100000, proposal))
  end
  return math.max((tonumber(stored) or 0) + 1, wanted)
end
