-- The rest of release.lua, whose header it shares, after the snippets that it uses: there are waiters, or the
-- lock is not the owner's.
if both[1] == ARGV[1] then
  -- MGET passes over a queue of another type. GET does not, and entries_of knows no version of it.
  local entries, named = entries_of(both[2] or redis.pcall('GET', KEYS[2])), nil
  if not entries then
    redis.call('DEL', KEYS[1])
    return ARGV[2] and -2 or 1
  end
  if ARGV[2] then
    named = string.sub(ARGV[2], 1, 36)
    entries = with(entries, ARGV[2], ARGV[3])
  end
  if not KEYS[3] and wants_token(entries) then
    return -1
  end
  local successor, rest, fence = hand_over(entries, named)
  if not successor then
    redis.call('DEL', KEYS[1])
  end
  write(rest)
  if not successor then
    return named and -2 or 1
  end
  if successor == named then
    return {2, fence}
  end
  return 1
end
if not both[1] then
  redis.call('GET', KEYS[1]) -- fails if the lock is of another type, which MGET passes over
end
if both[2] then
  local entries = entries_of(both[2])
  local rest = entries and without(entries, ARGV[1])
  if rest ~= entries then
    write(rest)
    return 1
  end
end
