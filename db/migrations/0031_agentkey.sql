-- +goose Up

-- The key that an agent signed with, where it signed in the eUICC's place: a
-- device that has lost its state gets another one.
alter table eim_result add column agent_key bytea; -- SubjectPublicKeyInfo; null where no agent signed, and before there was this column

-- +goose Down
alter table eim_result drop column agent_key;
