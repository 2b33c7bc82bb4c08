-- What format 2 added.
-- New records of all streams in the order of their arrival: many callers at once touch one page and not one each.
-- The writer moves them to `records` before they are many, so a read looks through few.
CREATE TABLE arrivals (
    -- Counts all records that the store ever took.
    serial INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    -- The epoch of the seal that was the newest then.
    epoch INTEGER NOT NULL,
    -- Over the numbers of the row, as `checksum` is over its data and the name of its stream.
    seal INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

-- One row that shows whether the others belong together: lost, older and misplaced rows change the digest.
CREATE TABLE seal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Grows with every change of this row.
    epoch INTEGER NOT NULL,
    -- The newest arrival that is in `records` or removed, and the newest one when this was written.
    moved INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    -- The sum of the hashes of all rows of the other tables but `arrivals`.
    digest INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
