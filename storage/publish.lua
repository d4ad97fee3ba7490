-- Append signed batches to the stream, unless one is an exact replay or the stream is full, and keep account of
-- which of a device's seqs have been seen. One script, so that accounts and entries are durable together; many batches
-- a call, because a call costs its caller more than a batch costs here.
--
-- KEYS[1] the scan stream   KEYS[2] hash: device number -> account   KEYS[3] the sink's hash
-- ARGV[1] most bytes that may wait for the sink; then four for each batch: its device's number, its replay key
-- (32 hex digits), its seqs as sorted disjoint runs "lo-hi,lo-hi", the entry.
-- Returns for each batch { entry id or '', replayed 0/1, seqs known before as runs, next seq expected, highest seq
-- seen }, or { 'FULL' }.
--
-- The account is "runs|replay keys": the seen seqs as runs, lowest first, and the latest signatures, newest first.

-- A device that uploads in wild disorder leaves many runs. Beyond this many the shortest is forgotten, so that its
-- seqs may be asked for again but none is ever called a duplicate that is not. The log is the truth.
local RUNS_MAX = 512
local REPLAYS_MAX = 8

local function parse(text)
  local runs = {}
  for lo, hi in string.gmatch(text, '(%d+)-(%d+)') do
    runs[#runs + 1] = { tonumber(lo), tonumber(hi) }
  end
  return runs
end

local function render(runs)
  local parts = {}
  for i, run in ipairs(runs) do
    parts[i] = string.format('%.0f-%.0f', run[1], run[2])
  end
  return table.concat(parts, ',')
end

local function overlap(a, b)
  local found, i, j = {}, 1, 1
  while i <= #a and j <= #b do
    local lo, hi = math.max(a[i][1], b[j][1]), math.min(a[i][2], b[j][2])
    if lo <= hi then found[#found + 1] = { lo, hi } end
    if a[i][2] < b[j][2] then i = i + 1 else j = j + 1 end
  end
  return found
end

local function union(a, b)
  local all, i, j = {}, 1, 1
  while i <= #a or j <= #b do
    local run
    if j > #b or (i <= #a and a[i][1] <= b[j][1]) then
      run = a[i]; i = i + 1
    else
      run = b[j]; j = j + 1
    end
    local last = all[#all]
    if last and run[1] <= last[2] + 1 then
      last[2] = math.max(last[2], run[2])
    else
      all[#all + 1] = { run[1], run[2] }
    end
  end
  return all
end

-- In one pass: everybody else waits for this script.
local function pruned(runs)
  local surplus = #runs - RUNS_MAX
  if surplus <= 0 then return runs end
  local by_length = {}
  for i = 1, #runs - 1 do by_length[i] = i end
  table.sort(by_length, function(i, j)
    local one, other = runs[i][2] - runs[i][1], runs[j][2] - runs[j][1]
    if one ~= other then return one < other end
    return i < j
  end)
  local forgotten, kept = {}, {}
  for k = 1, surplus do forgotten[by_length[k]] = true end
  for i, run in ipairs(runs) do
    if not forgotten[i] then kept[#kept + 1] = run end
  end
  return kept
end

local function position(runs)
  if #runs == 0 then return '1', '0' end
  local first_gap = runs[1][1] > 1 and 1 or runs[1][2] + 1
  return string.format('%.0f', first_gap), string.format('%.0f', runs[#runs][2])
end

local bytes_max = tonumber(ARGV[1])
local flow = redis.call('HMGET', KEYS[3], 'bytes_in', 'bytes_out')
local waiting = tonumber(flow[1] or 0) - tonumber(flow[2] or 0)
local appended, replayed = 0, 0

local function append(device, replay_key, text, payload)
  local account = redis.call('HGET', KEYS[2], device) or '|'
  local split = string.find(account, '|', 1, true)
  if not split then account, split = '|', 1 end -- damaged: begun anew
  local seen = parse(string.sub(account, 1, split - 1))
  local replays = string.sub(account, split + 1)
  if string.find(replays, replay_key, 1, true) then
    replayed = replayed + 1
    local next_seq, seen_to = position(seen)
    return { '', 1, '', next_seq, seen_to }
  end
  if waiting + appended >= bytes_max then return { 'FULL' } end

  local fresh = parse(text)
  local known = overlap(seen, fresh)
  local merged = pruned(union(seen, fresh))
  local entry = redis.call('XADD', KEYS[1], '*', 'e', payload)
  appended = appended + #payload
  redis.call('HSET', KEYS[2], device, render(merged) .. '|' .. string.sub(replay_key .. replays, 1, 32 * REPLAYS_MAX))
  local next_seq, seen_to = position(merged)
  return { entry, 0, render(known), next_seq, seen_to }
end

local answers = {}
for i = 2, #ARGV, 4 do
  answers[#answers + 1] = append(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
if appended > 0 then redis.call('HINCRBY', KEYS[3], 'bytes_in', appended) end
-- Written so that who waits for replicas waits for what was found written before, too.
if replayed > 0 then redis.call('HINCRBY', KEYS[3], 'replayed', replayed) end
return answers
