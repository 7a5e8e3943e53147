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

create table api_key (
	sid         text   primary key,
	account_sid text   not null references account (sid),
	name        text   not null,
	secret_hash bytea  not null, -- SHA-256 of 128 random bits needs no salt
	created_at  bigint not null
);
create index api_key_account on api_key (account_sid, created_at, sid);

create table event (
	id            bigint primary key, -- grows with time
	txid          bigint not null,    -- PostgreSQL's transaction; 0 on SQLite
	kind          text   not null,
	subject       text   not null,
	account       text   not null,    -- '' for the operator's own
	at            bigint not null,
	data          text   not null,    -- JSON
	evidence      bytea,
	evidence_kind text   not null
);
create index event_subject on event (subject, id);
create index event_account on event (account, id);
create index event_feed on event (txid, id) where txid > 0;

create table callback_delivery (
	sid         text    primary key,
	account     text    not null, -- whose token signs
	subject     text    not null, -- what it tells about
	url         text    not null, -- as it was given, with the fragment
	method      text    not null check (method in ('GET', 'POST')),
	form        text    not null, -- the parameters, URL-encoded
	token       text    not null, -- the same on every attempt
	endpoint    text    not null, -- scheme, host and port
	state       text    not null check (state in ('due', 'delivered', 'failed')),
	apart       boolean not null, -- waits in the line of its endpoint, which is slow
	attempts    bigint  not null,
	allowed     bigint  not null, -- attempts, before it is given up
	due_at      bigint  not null, -- next attempt; while one is under way, when to suppose that it died
	last_status bigint  not null, -- HTTP status of the last attempt, 0 for none
	last_error  text    not null,
	created_at  bigint  not null,
	updated_at  bigint  not null
);
create index callback_due on callback_delivery (due_at) where state = 'due' and not apart;
create index callback_apart on callback_delivery (endpoint, due_at) where state = 'due' and apart;
create index callback_account on callback_delivery (account, created_at, sid);
create index callback_subject on callback_delivery (subject, created_at, sid);

create table callback_attempt (
	delivery_sid text   not null references callback_delivery (sid) on delete cascade,
	number       bigint not null,
	at           bigint not null,
	duration     bigint not null, -- microseconds
	status       bigint not null, -- 0 when there was no answer
	error        text   not null, -- in words, '' when delivered
	primary key (delivery_sid, number)
);

-- +goose Down
drop table callback_attempt;
drop table callback_delivery;
drop table event;
drop table api_key;
drop table account;
