-- +goose Up

-- The addresses of devices in open data sessions: whose a datagram is.
create table usage_address (
	address text not null,
	nas     text not null,
	id      text not null,
	primary key (address, nas, id),
	foreign key (nas, id) references usage_session (nas, id) on delete cascade
);
create index usage_address_session on usage_address (nas, id);

-- What lies between blanks, one by one.
insert into usage_address (address, nas, id)
with recursive part (nas, id, address, rest) as (
	select nas, id, '', addresses from usage_session where is_open
	union all
	select nas, id, substr(rest, 1, length(rest) - length(ltrim(rest, '0123456789abcdef:.'))), ltrim(ltrim(rest, '0123456789abcdef:.'), ' ')
	from part where rest <> '' and length(ltrim(ltrim(rest, '0123456789abcdef:.'), ' ')) < length(rest)
)
select distinct address, nas, id from part where address <> '';

drop index usage_session_address;
drop index usage_session_addresses;

-- +goose Down
create index usage_session_address on usage_session (addresses) where is_open;
create index usage_session_addresses on usage_session (last_at) where is_open and addresses like '% %';
drop table usage_address;
