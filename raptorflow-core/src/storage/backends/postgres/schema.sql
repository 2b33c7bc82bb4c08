-- Format 1 of a raptorflow store, inside of a schema of its own that is the only one on the search path.
-- Names are compared by their bytes, hence COLLATE "C".
CREATE TABLE raptorflow_format (version integer NOT NULL);

-- Versions of keys and tokens of leases come from one sequence each: they grow also over a removal.
CREATE SEQUENCE versions;
CREATE SEQUENCE tokens;

CREATE TABLE entries (
    tenant text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    checksum integer NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (tenant, key)
);

-- A stream has a row here as long as it has records. The free space lets an append replace its row in place.
CREATE TABLE streams (
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    length bigint NOT NULL,
    PRIMARY KEY (tenant, name)
) WITH (fillfactor = 70);

-- A record belongs to a tenant through its stream.
CREATE TABLE records (
    stream bigint NOT NULL,
    sequence bigint NOT NULL,
    checksum integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (stream, sequence)
);

CREATE TABLE leases (
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    token bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    expires bigint NOT NULL,
    PRIMARY KEY (tenant, name)
) WITH (fillfactor = 70);

-- The last batch of each writer and how its steps ended: a batch that is sent again is told and not done again.
CREATE TABLE writers (
    id text COLLATE "C" PRIMARY KEY,
    batch bigint NOT NULL,
    outcomes bigint[] NOT NULL,
    seen timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);

-- Checksums are made by the client, which does not know the number of a row yet; the server mixes it in.
CREATE FUNCTION placed(checksum integer, number bigint) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT $1 # ($2 & 2147483647)::integer $$;

-- Gives a key or a lease that does not exist to one transaction, so that its number is drawn after the number
-- of whoever made and removed it before. A hash that meets another one costs a wait.
CREATE FUNCTION alone(tenant text, name text) RETURNS void
LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 1380338775)) $$;

-- Does the steps of one batch. The steps come sorted by what they touch, and every batch of every process takes
-- its locks in this order, so that no two of them wait for each other.
--
-- The outcome is: whether somebody listens for appends, then for each step a status and a number.
-- Status 0 is done, 1 another version or length than expected or a lease that is held, 2 a token that was passed.
CREATE FUNCTION commit_batch(
    writer text,
    batch_number bigint,
    room integer,
    kinds smallint[],
    tenants text[],
    names text[],
    a bigint[],
    b bigint[],
    c bigint[],
    d bigint[],
    owners text[],
    contents bytea[],
    record_steps integer[],
    record_places integer[],
    record_checksums integer[],
    record_data bytea[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    total integer := cardinality(kinds);
    answer bigint[] := array_fill(0::bigint, ARRAY[1 + 2 * total]);
    -- Of a check: the newest token of its lease. Of an append: its stream, and the length before.
    newest bigint[] := array_fill(0::bigint, ARRAY[total]);
    targets bigint[] := array_fill(NULL::bigint, ARRAY[total]);
    starts bigint[] := array_fill(0::bigint, ARRAY[total]);
    step record;
    held record;
    status bigint;
    result bigint;
    target bigint;
    erased bigint[];
    tried boolean;
BEGIN
    SELECT w.batch, w.outcomes INTO held FROM writers w WHERE w.id = writer FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the writer is not registered' USING ERRCODE = 'RF001';
    ELSIF held.batch = batch_number THEN
        RETURN held.outcomes;
    ELSIF held.batch > batch_number THEN
        RAISE EXCEPTION 'a later batch was committed' USING ERRCODE = 'RF002';
    END IF;
    -- Whoever listens holds this lock shared.
    IF NOT pg_try_advisory_xact_lock(1380338775, room) THEN
        answer[1] := 1;
    END IF;

    FOR step IN
        SELECT * FROM unnest(kinds, tenants, names, a, b, c, d, owners, contents) WITH ORDINALITY
            AS s(kind, tenant, name, a, b, c, d, owner, content, place)
    LOOP
        status := 0;
        result := 0;
        tried := false;
        CASE step.kind
        WHEN 0 THEN
            -- Check: the lease is not granted anew until the transaction ends.
            SELECT l.token INTO result FROM leases l
                WHERE l.tenant = step.tenant AND l.name = step.name FOR KEY SHARE;
            newest[step.place] := coalesce(result, 0);

        WHEN 1 THEN
            -- Acquire: a is now, b the end.
            LOOP
                SELECT l.owner = step.owner OR l.expires <= step.a AS free INTO held FROM leases l
                    WHERE l.tenant = step.tenant AND l.name = step.name FOR UPDATE;
                EXIT WHEN FOUND OR tried;
                PERFORM alone(step.tenant, step.name);
                tried := true;
            END LOOP;
            IF NOT FOUND THEN
                result := nextval('tokens');
                INSERT INTO leases (tenant, name, token, owner, expires)
                    VALUES (step.tenant, step.name, result, step.owner, step.b);
            ELSIF held.free THEN
                result := nextval('tokens');
                UPDATE leases l SET token = result, owner = step.owner, expires = step.b
                    WHERE l.tenant = step.tenant AND l.name = step.name;
            ELSE
                status := 1;
            END IF;

        WHEN 2 THEN
            -- Renew: a is the token, b the end.
            UPDATE leases l SET expires = step.b
                WHERE l.tenant = step.tenant AND l.name = step.name AND l.token = step.a;
            IF NOT FOUND THEN
                status := 2;
                SELECT l.token INTO result FROM leases l WHERE l.tenant = step.tenant AND l.name = step.name;
            END IF;

        WHEN 3 THEN
            -- Release: a is the token.
            DELETE FROM leases l WHERE l.tenant = step.tenant AND l.name = step.name AND l.token = step.a;

        WHEN 4 THEN
            -- Append: a is the expected length or -1, b the step of the check or 0, c its token, d how many records.
            IF step.b > 0 AND newest[step.b] <> step.c THEN
                status := 2;
                result := newest[step.b];
            ELSE
                LOOP
                    IF step.d > 0 THEN
                        UPDATE streams s SET length = s.length + step.d
                            WHERE s.tenant = step.tenant AND s.name = step.name
                                AND (step.a < 0 OR s.length = step.a)
                            RETURNING s.id, s.length INTO target, result;
                        EXIT WHEN FOUND;
                    END IF;
                    SELECT s.length INTO result FROM streams s
                        WHERE s.tenant = step.tenant AND s.name = step.name;
                    tried := FOUND;
                    result := coalesce(result, 0);
                    IF step.a >= 0 AND result <> step.a THEN
                        status := 1;
                    END IF;
                    EXIT WHEN status > 0 OR step.d = 0;
                    -- A stream that has come in between is appended to after all.
                    CONTINUE WHEN tried;
                    INSERT INTO streams (tenant, name, length) VALUES (step.tenant, step.name, step.d)
                        ON CONFLICT DO NOTHING RETURNING id, length INTO target, result;
                    EXIT WHEN FOUND;
                END LOOP;
                IF status = 0 AND step.d > 0 THEN
                    targets[step.place] := target;
                    starts[step.place] := result - step.d;
                END IF;
            END IF;

        WHEN 5 THEN
            -- Remove a stream.
            DELETE FROM streams s WHERE s.tenant = step.tenant AND s.name = step.name RETURNING s.id INTO target;
            IF FOUND THEN
                DELETE FROM records r WHERE r.stream = target;
                result := 1;
            END IF;

        WHEN 8 THEN
            DELETE FROM leases l WHERE l.tenant = step.tenant;
            GET DIAGNOSTICS result = ROW_COUNT;

        WHEN 9 THEN
            -- The streams first: that waits for appends of others, whose records are seen then.
            WITH gone AS (DELETE FROM streams s WHERE s.tenant = step.tenant RETURNING s.id)
                SELECT count(*), array_agg(id) INTO result, erased FROM gone;
            DELETE FROM records r WHERE r.stream = ANY (erased);

        WHEN 10 THEN
            DELETE FROM entries e WHERE e.tenant = step.tenant;
            GET DIAGNOSTICS result = ROW_COUNT;

        ELSE
            -- Put and delete: a is the expected version, 0 for an absent key, -1 for any; b the checksum of a put.
            LOOP
                SELECT e.version INTO result FROM entries e
                    WHERE e.tenant = step.tenant AND e.key = step.name FOR UPDATE;
                EXIT WHEN FOUND OR tried OR step.a > 0 OR step.kind = 7;
                PERFORM alone(step.tenant, step.name);
                tried := true;
            END LOOP;
            tried := FOUND;
            result := coalesce(result, 0);
            IF step.a >= 0 AND result <> step.a THEN
                status := 1;
            ELSIF step.kind = 7 THEN
                DELETE FROM entries e WHERE e.tenant = step.tenant AND e.key = step.name;
                result := tried::integer;
            ELSE
                result := nextval('versions');
                INSERT INTO entries (tenant, key, version, checksum, value)
                    VALUES (step.tenant, step.name, result, placed(step.b::integer, result), step.content)
                    ON CONFLICT (tenant, key) DO UPDATE
                        SET version = excluded.version, checksum = excluded.checksum, value = excluded.value;
            END IF;
        END CASE;
        answer[2 * step.place] := status;
        answer[2 * step.place + 1] := coalesce(result, 0);
    END LOOP;

    INSERT INTO records (stream, sequence, checksum, data)
        SELECT targets[r.step], starts[r.step] + r.place, placed(r.checksum, starts[r.step] + r.place), r.data
        FROM unnest(record_steps, record_places, record_checksums, record_data) AS r(step, place, checksum, data)
        WHERE targets[r.step] IS NOT NULL;
    UPDATE writers w SET batch = batch_number, outcomes = answer, seen = now() WHERE w.id = writer;
    RETURN answer;
END $$;
