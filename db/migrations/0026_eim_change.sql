-- +goose Up

-- What has changed for an eUICC in the last minutes, for nodes that remember
-- which eUICCs nothing waits for. Written on PostgreSQL alone: on SQLite there is
-- one node. A transaction's number says who has not seen it yet.
create table eim_change (
    tx  bigint not null,
    eid text   not null,
    primary key (tx, eid)
);

-- +goose Down
drop table eim_change;
