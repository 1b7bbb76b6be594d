-- The rest of release.lua, whose header it shares, after the snippets that it uses: there are waiters, or the
-- lock is not the owner's.
if both[1] == ARGV[1] then
  local named, ttl, lasts, channel, waited = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
  -- MGET passes over a queue of another type.
  if not is_known(both[2]) then
    redis.call('DEL', KEYS[1])
    return named and -2 or 1
  end
  if leaves_free() then
    redis.call('DEL', KEYS[1])
    forget_unclaimed()
    tidy()
    return named and -2 or 1
  end
  local named_is_first, first = false, nil
  if named then
    named_is_first, first = is_first(named, waited)
  end
  if named_is_first then
    local fence = give(named, ttl, lasts)
    if fence == nil then
      redis.call('DEL', KEYS[1])
    end
    forget_unclaimed()
    tidy()
    return fence == nil and -2 or {2, fence}
  end
  if hand_over(first) then
    return named and enqueue(named, waited, ttl, lasts, channel) and -2 or 1
  end
  redis.call('DEL', KEYS[1])
  forget_unclaimed()
  tidy()
  return named and -2 or 1
end
if both[2] and is_known(both[2]) and remove(ARGV[1]) then
  tidy()
  return 1
end
if not both[1] then
  redis.call('GET', KEYS[1]) -- fails if the lock is of another type, which MGET passes over
end
