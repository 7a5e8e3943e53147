-- +goose Up

-- The job that has claimed a row, by its number. Where its process dies, the job
-- is worked again, and what it held need not wait for the end of its lease.
alter table esim_profile add column holder bigint not null default 0;
alter table sim_change add column holder bigint not null default 0;
alter table settings_update add column holder bigint not null default 0;
alter table ip_command add column holder bigint not null default 0;

-- +goose Down
alter table ip_command drop column holder;
alter table settings_update drop column holder;
alter table sim_change drop column holder;
alter table esim_profile drop column holder;
