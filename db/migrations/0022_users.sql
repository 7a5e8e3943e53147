-- Users of the Remote Manager, their API keys, and the numbers of accounts.

-- +goose Up
create table customer (
	account_sid text    primary key references account (sid),
	id          bigint  not null unique, -- customer_id
	api_keys    boolean not null         -- whether users may have API keys
);
insert into customer (account_sid, id, api_keys)
	select sid, 1000 + row_number() over (order by created_at, sid), false from account;

create table login_user (
	name            text   primary key, -- in small letters: it logs in, whatever its account
	account_sid     text   not null references account (sid),
	role            text   not null check (role in ('administrator', 'user', 'read-only user', 'application', 'read-only application')),
	password_hash   text   not null,    -- argon2id, in the PHC string format
	password_sealed bytea,              -- recoverable, of the installation's own user alone
	created_at      bigint not null,
	updated_at      bigint not null
);
create index login_user_account on login_user (account_sid, created_at, name);

create table user_key (
	id          text   primary key,
	user_name   text   not null references login_user (name) on delete cascade,
	description text   not null,
	secret_hash bytea  not null, -- SHA-256 of random bits needs no salt
	created_at  bigint not null,
	expires_at  bigint not null
);
create index user_key_user on user_key (user_name, created_at, id);
