-- Snippet: the format of wait queues and their times, for scripts that begin with it. See queue.lua.
-- KEYS: none.

local VERSION = '3'
-- How long a queue outlasts a lease that is handed over to the last waiter that asked, in ms, and by how much
-- of that it may fall short, so that not every question writes it.
local QUEUE_TTL, SLACK = 10000, 3000
-- A waiter that has not asked for this long is passed over, in us. Waiters ask every 1.2 s.
local SILENCE = 3600000
-- How long a waiter that was handed the lock has time to claim it, in us.
local CLAIM_WITHIN = 2000000
-- The fields of the entries for the unclaimed hand-over, and for other libraries.
local UNCLAIMED, FOREIGN = 'unclaimed', 'foreign'
