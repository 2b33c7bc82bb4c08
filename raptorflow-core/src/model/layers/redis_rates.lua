-- Counts calls or corrects what was counted, as `Rate` in rate.rs does it, on the server's own clock.
-- KEYS: one counter each. ARGV: `take`, then algorithm, limit, period, capacity and calls of each counter; or `correct`,
-- the time of the take and what was used, then the same.
-- Answers the time, the number of the first counter that refuses, from 1, or 0, and how long it asks to wait,
-- in microseconds; -1 for ever.
local SLOTS, RING = 8, 9
-- Kept for a second longer than needed, so that a clock that is set back a little forgets nothing.
local SLACK = 1000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local cells = {}
-- A cell is its time, slot or period, and then what it lacks or holds; windows that slide have nine slots.
local function cell_of(key)
  local cell = cells[key]
  if not cell then
    cell = { at = 0, held = {} }
    local text = redis.call('GET', key)
    if text then
      local words = {}
      for word in string.gmatch(text, '%d+') do words[#words + 1] = tonumber(word) end
      cell.at = words[1]
      for position = 2, #words do cell.held[position - 1] = words[position] end
    end
    for position = #cell.held + 1, RING do cell.held[position] = 0 end
    cells[key] = cell
  end
  return cell
end

local function position(slot) return slot % RING + 1 end

local function turn_to(cell, length)
  local slot = math.max(math.floor(now / length), cell.at)
  for passed = math.max(cell.at + 1, slot - RING + 1), slot do cell.held[position(passed)] = 0 end
  cell.at = slot
  return slot
end

local function pay(cell, rule)
  cell.held[1] = math.max(0, cell.held[1] - math.max(0, now - cell.at) * rule.limit)
  cell.at = math.max(cell.at, now)
end

local function begin(cell, rule)
  local period = math.floor(now / rule.per)
  if period > cell.at then cell.at, cell.held[1] = period, 0 end
end

-- Each gives how long to wait, or nothing when the calls were counted.
local take = {}

function take.token_bucket(cell, rule, calls)
  pay(cell, rule)
  local debt, most = cell.held[1] + calls * rule.per, rule.capacity * rule.per
  if debt > most then return math.ceil((debt - most) / rule.limit) end
  cell.held[1] = debt
end

function take.sliding_window(cell, rule, calls)
  local length = math.ceil(rule.per / SLOTS)
  local slot, sum = turn_to(cell, length), 0
  for _, held in ipairs(cell.held) do sum = sum + held end
  local missing = sum + calls - rule.limit
  if missing <= 0 then
    cell.held[position(slot)] = cell.held[position(slot)] + calls
    return
  end
  for old = math.max(0, slot - SLOTS), slot do
    missing = missing - cell.held[position(old)]
    if missing <= 0 then return math.max(0, (old + SLOTS + 1) * length - now) end
  end
end

function take.fixed_window(cell, rule, calls)
  begin(cell, rule)
  if cell.held[1] + calls > rule.limit then return math.max(0, (cell.at + 1) * rule.per - now) end
  cell.held[1] = cell.held[1] + calls
end

local correct = {}

function correct.token_bucket(cell, rule, more)
  pay(cell, rule)
  cell.held[1] = math.max(0, cell.held[1] + more * rule.per)
end

function correct.sliding_window(cell, rule, more, at)
  local length = math.ceil(rule.per / SLOTS)
  local slot = more > 0 and turn_to(cell, length) or math.min(math.floor(at / length), cell.at)
  if cell.at - slot < RING then
    cell.held[position(slot)] = math.max(0, cell.held[position(slot)] + more)
  end
end

function correct.fixed_window(cell, rule, more, at)
  if more > 0 then begin(cell, rule) end
  if more > 0 or math.floor(at / rule.per) >= cell.at then
    cell.held[1] = math.max(0, cell.held[1] + more)
  end
end

-- From when on the cell is as good as a new one.
local quiet = {}
function quiet.token_bucket(cell, rule) return cell.at + math.ceil(cell.held[1] / rule.limit) end
function quiet.sliding_window(cell, rule) return (cell.at + SLOTS + 1) * math.ceil(rule.per / SLOTS) end
function quiet.fixed_window(cell, rule) return (cell.at + 1) * rule.per end

local function whole(number) return string.format('%.0f', number) end

local function save(key, cell, rule)
  local words = { whole(cell.at) }
  local count = rule.algorithm == 'sliding_window' and RING or 1
  for at = 1, count do words[at + 1] = whole(cell.held[at]) end
  local ttl = math.max(0, math.ceil((quiet[rule.algorithm](cell, rule) - now) / 1000)) + SLACK
  redis.call('SET', key, table.concat(words, ' '), 'PX', whole(ttl))
end

local first = ARGV[1] == 'take' and 2 or 4
local rules = {}
for number = 1, #KEYS do
  local from = first + (number - 1) * 5
  rules[number] = {
    algorithm = ARGV[from],
    limit = tonumber(ARGV[from + 1]),
    per = tonumber(ARGV[from + 2]),
    capacity = tonumber(ARGV[from + 3]),
    calls = tonumber(ARGV[from + 4]),
  }
end

for number, rule in ipairs(rules) do
  local cell = cell_of(KEYS[number])
  if ARGV[1] == 'take' then
    local wait = rule.calls > rule.capacity and -1 or take[rule.algorithm](cell, rule, rule.calls)
    -- Nothing has been written yet.
    if wait then return { now, number, wait } end
  else
    correct[rule.algorithm](cell, rule, tonumber(ARGV[3]) - rule.calls, tonumber(ARGV[2]))
  end
end
for number, rule in ipairs(rules) do save(KEYS[number], cells[KEYS[number]], rule) end
return { now, 0, 0 }
