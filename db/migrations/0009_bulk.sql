-- Repeated requests, prices and charges, orders of many profiles.

-- +goose Up

-- A request that came with an Idempotency-Key and changed something. The row is
-- written in the transaction of the change, the answer right after it.
create table request_once (
	account_sid  text   not null,
	key          text   not null,
	digest       bytea  not null, -- of method, path and body
	subject      text   not null, -- SID of what was made
	status       bigint not null, -- HTTP status of the answer; 0 when it was not kept
	content_type text   not null,
	body         bytea,
	created_at   bigint not null,
	primary key (account_sid, key)
);
create index request_once_age on request_once (created_at);

-- What a profile costs. Empty account: every account's; empty type: every
-- type's. The most particular row counts.
create table price (
	account_sid  text   not null,
	profile_type text   not null,
	amount       bigint not null check (amount >= 0), -- millionths of the currency's unit
	currency     text   not null,
	updated_at   bigint not null,
	primary key (account_sid, profile_type)
);

-- The ledger: one entry for each profile that became available. The profile's
-- SID is the entry's, so there can be no second one. Entries never change.
create table charge (
	sid          text   not null primary key,
	account_sid  text   not null,
	sim_sid      text   not null,
	iccid        text   not null,
	profile_type text   not null,
	order_sid    text   not null, -- '' for a single reservation
	amount       bigint not null,
	currency     text   not null,
	created_at   bigint not null
);
create index charge_page on charge (account_sid, created_at, sid);

-- An order of many profiles. Numbers of profiles are kept as chunks end.
create table bulk_order (
	sid             text    not null primary key,
	account_sid     text    not null,
	status          text    not null check (status in ('queued', 'running', 'canceling', 'completed', 'canceled')),
	label           text    not null,
	total           bigint  not null,
	available       bigint  not null,
	failed          bigint  not null,
	canceled        bigint  not null, -- profiles that were given up before they were begun
	chunks          bigint  not null,
	chunks_ended    bigint  not null,
	wants_code      boolean not null, -- lines with an EID get a matching ID too
	callback_url    text    not null,
	callback_method text    not null,
	callback_per    text    not null check (callback_per in ('order', 'profile')),
	created_at      bigint  not null,
	updated_at      bigint  not null
);
create index bulk_order_page on bulk_order (account_sid, created_at, sid);

-- What an order asks for, chunk by chunk. It is stored while the request is
-- read, before there is an order; what no order claims is swept away.
create table bulk_lines (
	order_sid  text   not null,
	number     bigint not null, -- from 0
	lines      text   not null, -- JSON
	created_at bigint not null,
	primary key (order_sid, number)
);

-- A chunk is what one transaction reserves of an order.
create table bulk_chunk (
	order_sid text   not null,
	number    bigint not null, -- from 0
	first     bigint not null, -- item of the order that it begins with, from 1
	items     bigint not null,
	state     text   not null check (state in ('waiting', 'reserved', 'done', 'canceled')),
	lease     bigint not null, -- until when a job holds it, or waits before it tries again
	primary key (order_sid, number)
);
create index bulk_chunk_waiting on bulk_chunk (lease, number) where state in ('waiting', 'reserved');

alter table esim_profile add column order_sid text;
alter table esim_profile add column order_item bigint;
create unique index esim_profile_order on esim_profile (order_sid, order_item) where order_sid is not null;

-- +goose Down
drop index esim_profile_order;
alter table esim_profile drop column order_item;
alter table esim_profile drop column order_sid;
drop table bulk_chunk;
drop table bulk_lines;
drop table bulk_order;
drop table charge;
drop table price;
drop table request_once;
