-- +goose Up

-- What has changed for an eUICC in the last minutes, for nodes that remember
-- which eUICCs nothing waits for. Written on PostgreSQL alone: on SQLite there is
-- one node. A transaction's number says who has not seen it yet.
create table eim_change (
    tx  bigint not null,
    eid text   not null,
    primary key (tx, eid)
);

-- Lists in the order of ICCIDs, of one status, and of many ICCIDs in the order of
-- carriers: found in the index alone.
drop index device_profile_iccid;
create index device_profile_iccid on device_profile (account_sid, iccid, created_at, status, carrier_folded);

-- +goose Down
drop index device_profile_iccid;
create index device_profile_iccid on device_profile (account_sid, iccid, created_at);
drop table eim_change;
