-- Where a sealed body that was moved comes from, with a MAC; null when it never was elsewhere.
ALTER TABLE message ADD COLUMN provenance BLOB;

-- A digest of what is sealed would tell what is in it.
ALTER TABLE message_body DROP COLUMN body_md5;
