-- Accounts and their credentials, events, callbacks.

-- +goose Up
create table account (
	sid          text   primary key,
	parent_sid   text   references account (sid), -- null for the main account
	name         text   not null,
	status       text   not null check (status in ('active', 'suspended', 'closed')),
	token_hash   bytea  not null, -- SHA-256, for checking who calls
	token_sealed bytea  not null, -- recoverable, for signing callbacks
	created_at   bigint not null,
	updated_at   bigint not null
);
create index account_parent on account (parent_sid, created_at, sid);

-- +goose Down
drop table account;
