-- +goose Up

-- What the registry knows of each subscriber. Keys are sealed; sqn is the
-- last sequence number that a challenge was made with, index included.
create table carrier_subscriber (
	imsi       text    not null primary key,
	iccid      text    not null,
	algorithm  bigint  not null check (algorithm in (1, 2, 3)),
	keys       bytea   not null,
	attach     boolean not null,
	data       boolean not null,
	sms        boolean not null,
	networks   text    not null, -- JSON list of "MCC/MNC", empty for everywhere
	sqn        bigint  not null check (sqn >= 0 and sqn < 281474976710656),
	created_at bigint  not null,
	updated_at bigint  not null
);
create index carrier_subscriber_iccid on carrier_subscriber (iccid);
