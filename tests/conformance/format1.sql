-- A small store as format 1 had it.
PRAGMA journal_mode = WAL;
-- A tenant's name is kept once; every other row belongs to exactly one tenant through its key.
CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- The newest version of a removed key and the newest token of a released lease: later ones start above.
    version_floor INTEGER NOT NULL DEFAULT 0,
    token_floor INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE entries (
    tenant INTEGER NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT;

-- A stream has a row here as long as it has records.
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

-- id is stream << 32 | sequence: one tree, so that an append touches one page and a replay reads neighbors.
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE leases (
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    token INTEGER NOT NULL,
    owner TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 1380338775;
PRAGMA user_version = 1;
INSERT INTO tenants (id, name, version_floor, token_floor) VALUES (1, 'default', 1, 7);
INSERT INTO entries (tenant, key, version, checksum, value) VALUES (1, 'key', 2, 275678230, x'76616c7565');
INSERT INTO streams (id, tenant, name) VALUES (1, 1, 'old');
INSERT INTO records (id, checksum, data) VALUES
    (4294967296, 3911926636, x'6669727374'),
    (4294967297, 2590000022, x'7365636f6e64');
