-- Records take the place of the tables for single things. Keys and secrets are sealed from now on:
-- the root key comes back from its file or the environment, and receipt handles are made anew.

DROP TABLE access_key;
DROP TABLE secret;

-- A version is the number of the edit that wrote it.
CREATE TABLE record (
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, account_id, name)
) WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES ('edits', 0), ('latest_edit', 0);
