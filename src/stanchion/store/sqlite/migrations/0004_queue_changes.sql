-- The number of the latest change of each queue, by which others notice it.

ALTER TABLE queue ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deleted_queue ADD COLUMN change INTEGER NOT NULL DEFAULT 0;

CREATE INDEX queue_by_change ON queue (change);
CREATE INDEX deleted_queue_by_change ON deleted_queue (change);

INSERT INTO meta (name, value) VALUES ('queue_changes', 0);
